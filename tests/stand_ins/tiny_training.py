"""A training of twelve steps with a checkpoint after each, as a command."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.volume import Volume
from lgg_train.cases import Case
from lgg_train.dataset import SampleSettings, TrainingSlices
from lgg_train.loop import train
from lgg_train.schedule import Budget
from lgg_train.settings import Machinery, Origin, TrainSettings
from lgg_train.unet import UNetSettings

STEPS = 12
SETTINGS = TrainSettings(
    Budget(epochs=STEPS / 2),
    UNetSettings(features=4, depth=2),
    SampleSettings(batch=4, tumour=3, crop=16, seed=1),
    peak_rate=0.01,
    precision="fp32",
    validations=3,
)


def main() -> None:
    """Arguments: the folder. Goes on from its last checkpoint where there is one."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    machinery = Machinery(torch.device("cpu"), checkpoint_minutes=0, progress=False)
    origin = Origin(resume=(folder / "last.pt").exists())
    train(_draw_slices(), SETTINGS, machinery, folder, lambda _network: {"dice_mean": 0.5}, origin)


def _draw_slices() -> TrainingSlices:
    """Eight slices of which six hold a bright square, two steps an epoch."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(40, 90, (8, 32, 32, 3), dtype=np.uint8)
    masks = np.zeros((8, 32, 32), bool)
    for index in range(6):
        masks[index, 8:20, 10 : 16 + index] = True
    pixels[masks] += 110
    case = Case("A", "-", Volume(pixels), masks, "")
    used = {"A": tuple(range(8))}
    return TrainingSlices([case], used, IntensitySettings(), SETTINGS.samples)
