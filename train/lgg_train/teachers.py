"""Teachers: finished networks whose probability a run learns beside the masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lgg_runtime.contract import Training
from lgg_runtime.errors import UsageError
from lgg_runtime.intensity import IntensitySettings
from lgg_train.trained import TrainedModel, check_same_training, load_model
from lgg_train.unet import UNet


@dataclass(frozen=True)
class Teacher:
    """A finished run's folder and its model."""

    run: Path
    model: TrainedModel


def load_teachers(runs: Sequence[Path], crop: int) -> list[Teacher]:
    """The models of finished runs, of any width, depth and stride.

    crop: pixels a side of what they will be shown. Raises UsageError for a network that cannot
    take it, InputError for a folder without a model.
    """
    teachers = [Teacher(run, load_model(run)) for run in runs]
    for teacher in teachers:
        multiple = teacher.model.network.settings.size_multiple
        if crop % multiple:
            raise UsageError(
                f"--teacher {teacher.run}: that network expects a multiple of {multiple}, "
                f"--crop is {crop}"
            )
    return teachers


def check_teachers(
    teachers: Sequence[Teacher], training: Training, intensity: IntensitySettings
) -> None:
    """Raises InputError where a teacher saw other patients, whose masks it would pass on."""
    for teacher in teachers:
        check_same_training(f"--teacher {teacher.run}", teacher.model, training, intensity)


def without_mirror(network: UNet) -> UNet:
    """A copy in evaluation mode that looks at each slice once, without gradients."""
    plain = UNet(replace(network.settings, mirror=False))
    plain.load_state_dict(network.state_dict())
    return plain.eval().requires_grad_(False)


@torch.no_grad()
def mean_probability(networks: Sequence[UNet], x: torch.Tensor) -> torch.Tensor:
    """Mean of the networks' probabilities: (N, channels, H, W) in 0..1 to (N, 1, H, W) float32."""
    return torch.stack([torch.sigmoid(network(x).float()) for network in networks]).mean(0)
