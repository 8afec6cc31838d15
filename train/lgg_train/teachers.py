"""Teachers: finished networks whose probability a run learns beside the masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lgg_runtime.contract import Training
from lgg_runtime.errors import UsageError
from lgg_runtime.intensity import IntensitySettings
from lgg_train.settings import TrainSettings
from lgg_train.trained import TrainedModel, check_same_training, load_model
from lgg_train.unet import UNet


@dataclass(frozen=True)
class Teacher:
    """A finished run's folder and its model."""

    run: Path
    model: TrainedModel


def load_teachers(runs: Sequence[Path], pupil: TrainSettings) -> list[Teacher]:
    """The models of finished runs, of any width, depth and stride.

    Raises UsageError for a network that cannot take what the pupil's batches hold, InputError for a
    folder without a model.
    """
    teachers = [Teacher(run, load_model(run)) for run in runs]
    for teacher in teachers:
        theirs, crop = teacher.model.network.settings, pupil.samples.crop
        if crop % theirs.size_multiple:
            raise UsageError(
                f"--teacher {teacher.run}: that network expects a multiple of "
                f"{theirs.size_multiple}, --crop is {crop}"
            )
        if theirs.symmetry and not pupil.unet.symmetry:
            raise UsageError(
                f"--teacher {teacher.run}: that network sees the other side too; give --symmetry"
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
    """Mean of the networks' probabilities: (N, channels, H, W) in 0..1 to (N, 1, H, W) float32.

    x: with the other side behind the slices where one of them sees it.
    """
    logits = [network(x[:, : network.channels_seen]).float() for network in networks]
    return torch.sigmoid(torch.stack(logits)).mean(0)
