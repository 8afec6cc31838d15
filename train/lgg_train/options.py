"""The options of a training run, shared by the commands that train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lgg_train.recipes import RECIPES


def _take_recipe(context: click.Context, _: click.Parameter, name: str | None) -> None:
    """A recipe's options become the defaults of this call, so that given ones go first."""
    context.default_map = {**(context.default_map or {}), **RECIPES.get(name or "", {})}


_OPTIONS = (
    click.option("--recipe", type=click.Choice(tuple(RECIPES)), is_eager=True, expose_value=False,
                 callback=_take_recipe, help="A declared set of the options below."),
    click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Budget in epochs."),
    click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Budget in minutes."),
    click.option("--features", type=click.IntRange(1), default=16,
                 help="Channels of the first level."),
    click.option("--depth", type=click.IntRange(1, 4), default=4, help="Levels below the first."),
    click.option("--stride", type=click.IntRange(1, 4), default=1,
                 help="2 or 4: the first level at that fraction of the size."),
    click.option("--mirror", is_flag=True, help="Average each slice with its mirror image in use."),
    click.option("--batch", type=click.IntRange(1), default=16, help="Crops a step."),
    click.option("--tumour", type=click.IntRange(1), default=10,
                 help="Crops of them from tumour slices."),
    click.option("--crop", type=click.IntRange(16), default=192, help="Pixels a side of a crop."),
    click.option("--rate", type=float, default=2e-3, help="Peak learning rate."),
    click.option("--precision", type=click.Choice(("bf16", "fp16", "fp32")), default="bf16"),
    click.option("--device", type=click.Choice(("auto", "cpu", "cuda")), default="auto"),
    click.option("--compile/--no-compile", "compiled", default=False, help="torch.compile: about a "
                 "minute at the start, a tenth faster after it."),
    click.option("--seed", type=int, default=0, help="Of weights, batches and augmentation."),
    click.option("--validations", type=click.IntRange(1), default=6, help="How often to validate."),
    click.option("--split-seed", type=int, default=20),
    click.option("--tensorboard", is_flag=True, help="Write TensorBoard events too."),
    click.option("--no-progress", is_flag=True),
)  # fmt: skip


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
