"""What a command's option lets choose, typed there so that --help loads nothing heavy, is what the
code has a table of.
"""

from __future__ import annotations

from collections.abc import Iterable

import click
import pytest

from lgg_bench.cli import command as bench
from lgg_export.cli import command as export
from lgg_export.precision import PRECISIONS
from lgg_export.quantise import TARGETS
from lgg_runtime.backends.engine import LIBRARIES
from lgg_train.cli import command as train
from lgg_train.dataset import DRAWS
from lgg_train.device import AUTOCAST
from lgg_train.phantom_scan import PLANES
from lgg_train.splits import PARTS, SPLIT_BY


def choices_of(command: click.Command, path: str, option: str) -> set[str]:
    """path: the subcommand's name."""
    assert isinstance(command, click.Group)
    command = command.commands[path]
    (found,) = [parameter for parameter in command.params if option in parameter.opts]
    assert isinstance(found.type, click.Choice)
    return set(found.type.choices)


@pytest.mark.parametrize(
    ("command", "path", "option", "table"),
    [
        (train, "train", "--split-by", SPLIT_BY),
        (train, "train", "--precision", ("auto", *AUTOCAST)),
        (train, "cv", "--precision", ("auto", *AUTOCAST)),
        (train, "train", "--draw", DRAWS),
        (train, "evaluate", "--split", PARTS),
        (train, "phantom", "--plane", PLANES),
        (export, "run", "--precision", PRECISIONS),
        (export, "run", "--target", TARGETS),
        (export, "engine", "--format", LIBRARIES),
        (bench, "parity", "--split", PARTS),
    ],
)
def test_an_option_lets_choose_what_its_table_holds(
    command: click.Command, path: str, option: str, table: Iterable[str]
) -> None:
    assert choices_of(command, path, option) == set(table)
