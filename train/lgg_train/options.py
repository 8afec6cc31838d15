"""The options of a training run, shared by the commands that train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from lgg_runtime.errors import InputError
from lgg_train.augmentations import AUGMENTATIONS

# The declared recipes, each a row of the results table by its name: options by their parameter's
# name; what the command line says goes first.
RECIPES: dict[str, dict[str, Any]] = {
    "standard": {"features": 32, "depth": 3, "stride": 2, "mirror": True, "augmentation": "flair"},
    "lite": {"features": 16, "depth": 3, "stride": 2, "augmentation": "flair"},
    "tiny": {"features": 16, "depth": 2, "stride": 4},
}


def _take_recipe(context: click.Context, _: click.Parameter, name: str | None) -> None:
    """A recipe's options become the defaults of this call, so that given ones go first."""
    context.default_map = {**(context.default_map or {}), **RECIPES.get(name or "", {})}


def _tell_recipes() -> str:
    """What each sets, from the recipes themselves."""
    told = {
        name: ", ".join(key if value is True else f"{key} {value}" for key, value in recipe.items())
        for name, recipe in RECIPES.items()
    }
    return "; ".join(f"{name}: {options}" for name, options in told.items())


def _read_stride(value: Any) -> int:
    """A number, or the text of one: a recipe and an earlier run's record give a number."""
    return int(click.Choice(("1", "2", "4")).convert(str(value), None, None))


# Each way to divide the data; the file says all that the others would.
_SPLIT_OPTIONS = ("split_by", "split_seed", "folds", "fold", "split_file")

_PATH = click.Path(path_type=Path)
_SEED = click.IntRange(0, 2**63 - 1)  # PyTorch's generators take no more
NO_PROGRESS = click.option("--no-progress", is_flag=True, help="No progress bar.")
_OPTIONS = (
    click.option("--recipe", type=click.Choice(tuple(RECIPES)), is_eager=True, expose_value=False,
                 callback=_take_recipe, help=f"Sets options below. {_tell_recipes()}. "
                 "An option that is given goes before it."),
    click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Budget in epochs."),
    click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Budget in minutes."),
    click.option("--features", type=click.IntRange(1), default=16,
                 help="Channels of the first level."),
    click.option("--depth", type=click.IntRange(1, 4), default=4, help="Levels below the first."),
    click.option("--stride", type=_read_stride, default=1, metavar="[1|2|4]",
                 help="2 or 4: the first level at that fraction of the size."),
    click.option("--mirror/--no-mirror", default=False,
                 help="Average each slice with its mirror image in use."),
    click.option("--symmetry/--no-symmetry", default=False, help="Show the network the head's "
                 "other side too: each slice's mirror image about its middle."),
    click.option("--batch", type=click.IntRange(1), default=16, help="Crops in a step."),
    click.option("--tumour", type=click.IntRange(0), default=10,
                 help="How many of them come from tumour slices."),
    click.option("--crop", type=click.IntRange(16), default=192, help="Pixels a side of a crop."),
    click.option("--augmentation", type=click.Choice(tuple(AUGMENTATIONS)),
                 default="plain", help="mild: flips, turns, small changes of size and intensity, "
                 "never FLAIR alone; plain: FLAIR stands for all sequences in 30 % of the crops; "
                 "flair: in 40 %; strong: that, and wider ranges of all else."),
    click.option("--draw", type=click.Choice(("slice", "patient")), default="slice",
                 help="What comes equally often: each slice, or each patient and then each slice "
                 "of theirs."),
    click.option("--rate", type=float, default=2e-3, help="Peak learning rate."),
    click.option("--precision", type=click.Choice(("auto", "bf16", "fp16", "fp32")),
                 default="auto", help="Arithmetic of training; auto: bf16 where the device "
                 "computes in it, else fp32."),
    click.option("--device", type=click.Choice(("auto", "cpu", "cuda")), default="auto",
                 help="Of the machine, not of the run: --resume does not recall it."),
    click.option("--workers", type=click.IntRange(0), default=0,
                 help="Processes that augment, for a GPU; 0 is a thread. Of the machine, not "
                 "of the run: --resume does not recall it."),
    click.option("--compile/--no-compile", "compiled", default=False, help="torch.compile: about a "
                 "minute at the start, a tenth faster after it."),
    click.option("--seed", type=_SEED, default=0,
                 help="Of weights, batches and augmentation."),
    click.option("--validations", type=click.IntRange(1), default=6, help="How often to validate."),
    click.option("--start", type=_PATH, help="Begin with that finished run's weights: same data "
                 "and split (or --split-by all), a network of the same size; for cv a folder of "
                 "as many folds."),
    click.option("--teacher", "teachers", type=_PATH, multiple=True,
                 help="Learn that finished run's probability half and half with the masks: same "
                 "data and split (or --split-by all), a network of any size; for cv a folder of "
                 "as many folds. Several are averaged."),
    click.option("--split-seed", type=_SEED, default=20,
                 help="Seed of the draw of the split."),
    click.option("--tensorboard/--no-tensorboard", default=False,
                 help="Write TensorBoard events too."),
    NO_PROGRESS,
)  # fmt: skip


def recall_options(recorded: dict[str, Any], context: click.Context) -> dict[str, Any]:
    """What a run recorded (TrainingRequest.options) and this call does not give, converted as on
    the command line; a budget given in epochs or in minutes stands for both.

    Raises InputError for what the option cannot be.
    """
    given = {
        name
        for name in recorded
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    budget = {"epochs", "minutes"}
    if not given.isdisjoint(budget):
        given |= budget
    parameters = {parameter.name: parameter for parameter in context.command.params}
    recalled = {}
    for name, value in recorded.items():
        if name in given or value is None:
            continue
        try:
            recalled[name] = parameters[name].type_cast_value(context, value)
        except (AttributeError, TypeError, click.BadParameter) as error:
            path = context.params["out"] / "config.json"
            raise InputError(
                f"{path}: no option of a run: {name} {value!r}; train it again"
            ) from error
    return recalled


def refuse_another_split(context: click.Context) -> None:
    """Raises UsageError where a call with --resume, or with a split's file, gives a split beside
    it, be it the default.
    """
    given = [
        name
        for name in _SPLIT_OPTIONS
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    reason = "--resume goes on with the run's own split"
    if not context.params["resume"]:
        reason = "--split names the slices"
        given = [name for name in given if name != "split_file"] if "split_file" in given else []
    if given:
        option = given[0].removesuffix("_file").replace("_", "-")
        raise click.UsageError(f"{reason}; leave --{option} out")


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
