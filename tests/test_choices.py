"""What a command's option lets choose or lies between, typed there so that --help loads nothing
heavy, is what the code has a table or a bound of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import click
import pytest

from lgg_bench.cli import command as bench
from lgg_export.cli import command as export
from lgg_export.limits import LIMITS
from lgg_export.quantise import TARGETS
from lgg_runtime.backends.engine import LIBRARIES
from lgg_runtime.cli import command as infer
from lgg_runtime.contract import LEAST_THRESHOLD
from lgg_runtime.errors import UsageError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.pacs.config import Model
from lgg_runtime.providers import CPU_PRECISIONS
from lgg_runtime.writers.formats import OUTPUTS, SCAN_OUTPUTS
from lgg_train.cli import command as train
from lgg_train.dataset import DRAWS
from lgg_train.device import AUTOCAST
from lgg_train.options import RECIPES
from lgg_train.phantom_scan import PLANES
from lgg_train.splits import PARTS, SPLIT_BY


def type_of(command: click.Command, path: str, option: str) -> click.ParamType:
    """path: the subcommand's name, empty for a command without any."""
    if path:
        assert isinstance(command, click.Group)
        command = command.commands[path]
    (found,) = [parameter for parameter in command.params if option in parameter.opts]
    return found.type


@pytest.mark.parametrize(
    ("command", "path", "option", "table"),
    [
        (train, "train", "--split-by", SPLIT_BY),
        (train, "train", "--precision", ("auto", *AUTOCAST)),
        (train, "cv", "--precision", ("auto", *AUTOCAST)),
        (train, "train", "--draw", DRAWS),
        (train, "evaluate", "--split", PARTS),
        (train, "phantom", "--plane", PLANES),
        (export, "run", "--precision", LIMITS),
        (export, "run", "--target", TARGETS),
        (export, "engine", "--format", LIBRARIES),
        (bench, "parity", "--split", PARTS),
        (bench, "latency", "--cpu-precision", CPU_PRECISIONS),
        (infer, "", "--cpu-precision", CPU_PRECISIONS),
        (infer, "", "--output-type", ("mask", *SCAN_OUTPUTS)),
    ],
)
def test_an_option_lets_choose_what_its_table_holds(
    command: click.Command, path: str, option: str, table: Iterable[str]
) -> None:
    found = type_of(command, path, option)
    assert isinstance(found, click.Choice)
    assert set(found.choices) == set(table)


def test_each_picture_has_an_option_of_its_own() -> None:
    names = {parameter.name for parameter in infer.params}
    assert names >= OUTPUTS.keys() - {"mask"}


@pytest.mark.parametrize("name", ["train", "cv"])
def test_a_recipe_sets_options_that_there_are(name: str) -> None:
    assert isinstance(train, click.Group)
    options = {parameter.name for parameter in train.commands[name].params}
    assert all(recipe.keys() <= options for recipe in RECIPES.values())


def test_an_option_lies_between_what_the_settings_take() -> None:
    batch, threshold = (type_of(infer, "", option) for option in ("--batch", "--threshold"))
    assert isinstance(batch, click.IntRange)
    assert isinstance(threshold, click.FloatRange)
    assert (threshold.min, threshold.max, threshold.max_open) == (LEAST_THRESHOLD, 1, True)
    (of_node,) = [field for field in dataclasses.fields(Model) if field.name == "batch"]
    most, takes = int(batch.max or 0), of_node.metadata["rule"].holds
    assert takes(most) and not takes(most + 1)
    LoadSettings(batch=most)
    with pytest.raises(UsageError, match="batch"):
        LoadSettings(batch=most + 1)
