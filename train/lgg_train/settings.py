"""What a run is told: what decides its numbers, how it is carried out, what it goes on from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from lgg_runtime.contract import Training
from lgg_runtime.errors import UsageError
from lgg_train.dataset import SampleSettings
from lgg_train.schedule import Budget
from lgg_train.unet import UNet, UNetSettings


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides the numbers of a run, kept in its `config.json`.

    peak_rate: the highest learning rate, see `learning_rate`; warm_up: a fraction of the budget.
    clip_norm: of the gradient of all weights, its largest Euclidean length. average_decay: what the
    average keeps of itself at a step, in 0..1; less at the first ones.
    precision: of the forward pass, a name of AUTOCAST. validations: how many, spread evenly.
    start: SHA-256 of the `model.pt` whose weights it began with, None for random ones.
    teachers: SHA-256 of the `model.pt` of each network whose probability its targets hold.
    """

    budget: Budget
    unet: UNetSettings = field(default_factory=UNetSettings)
    samples: SampleSettings = field(default_factory=SampleSettings)
    peak_rate: float = 2e-3
    warm_up: float = 0.04
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    average_decay: float = 0.998
    precision: str = "fp32"
    seed: int = 0
    validations: int = 6
    start: str | None = None
    teachers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        multiple = self.unet.size_multiple
        if self.samples.crop % multiple:
            raise UsageError(
                f"crop {self.samples.crop}: a depth of {self.unet.depth} expects a multiple of "
                f"{multiple}"
            )
        lowest = self.samples.batch * (self.samples.crop // multiple) ** 2
        if lowest < 2:
            raise UsageError(
                f"batch {self.samples.batch}, crop {self.samples.crop}: a depth of "
                f"{self.unet.depth} leaves one pixel, expected two to normalise over; give a "
                "larger --batch or --crop"
            )
        if not 0 < self.peak_rate < math.inf:
            raise UsageError(f"rate {self.peak_rate}: expected above 0, and finite")

    def to_json(self) -> dict[str, Any]:
        """Values as JSON gives them back: the teachers are a list."""
        return asdict(self) | {"teachers": list(self.teachers)}

    def differing(self, recorded: dict[str, Any]) -> list[str]:
        """Names of an earlier run's settings, as `to_json` gave them, that are not these; of a
        group's settings each its own.

        A setting that it did not record, made before there was one, counts as its default.
        """
        ours = _flatten(self.to_json())
        theirs = _flatten(TrainSettings(self.budget).to_json()) | _flatten(recorded)
        other = (key for key, value in theirs.items() if key not in ours or ours[key] != value)
        return list(dict.fromkeys(name for _, name in other))


def _flatten(settings: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """By group, "" for those of none, and name."""
    flat: dict[tuple[str, str], Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= {(name, member): held for member, held in value.items()}
        else:
            flat["", name] = value
    return flat


@dataclass(frozen=True)
class Machinery:
    """How a run is carried out; none of it changes what is computed but for rounding.

    workers: processes that augment, 0 for a thread of this one.
    """

    device: torch.device
    workers: int = 0
    compiled: bool = False
    checkpoint_minutes: float = 3.0
    progress: bool = True
    tensorboard: bool = False


@dataclass(frozen=True)
class Origin:
    """What training begins with: random weights, a network's, or the folder's own checkpoint.

    teachers: networks of any size; the targets are their mean probability mixed with the masks,
    without a teacher the masks alone. training: the data and the split, which a checkpoint tells.
    """

    network: UNet | None = None
    resume: bool = False
    teachers: tuple[UNet, ...] = ()
    training: Training | None = None


ANEW = Origin()
