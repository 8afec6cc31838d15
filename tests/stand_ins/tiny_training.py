"""A training of twelve steps on eight slices, with a checkpoint after each; as a command, too."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.volume import Volume
from lgg_train.cases import Case
from lgg_train.dataset import SampleSettings, TrainingSlices
from lgg_train.loop import train
from lgg_train.schedule import Budget
from lgg_train.settings import Machinery, Origin, TrainSettings
from lgg_train.trained import load_model
from lgg_train.unet import UNetSettings

STEPS = 12
# Eight slices in batches of four: two steps an epoch; validated after 4, 8 and 12.
SETTINGS = TrainSettings(
    Budget(epochs=STEPS / 2),
    UNetSettings(features=4, depth=2),
    SampleSettings(batch=4, tumour=3, crop=16, seed=1),
    peak_rate=0.01,
    precision="fp32",
    validations=3,
)
# Zero minutes between checkpoints: one after each step.
EACH_STEP = Machinery(torch.device("cpu"), checkpoint_minutes=0, progress=False)


def make_slices() -> TrainingSlices:
    """Bright squares in six slices are tumour: a task for a network of any size."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(40, 90, (8, 32, 32, 3), dtype=np.uint8)
    masks = np.zeros((8, 32, 32), bool)
    for index in range(6):
        masks[index, 8:20, 10 : 16 + index] = True
    pixels[masks] += 110
    case = Case("A", Volume(pixels), masks, "")
    used = {"A": tuple(range(8))}
    return TrainingSlices([case], used, IntensitySettings(), SETTINGS.samples)


def no_scores(_network: Any) -> dict[str, float]:
    return {"dice_mean": 0.5}


class Probe:
    """A validation that says how much the weights add up to, and can break off at one call."""

    def __init__(self, break_at: int | None = None):
        self.calls, self.break_at = 0, break_at

    def __call__(self, network: Any) -> dict[str, float]:
        self.calls += 1
        if self.calls == self.break_at:
            raise KeyboardInterrupt
        assert not network.training
        return {"sum": sum(float(p.detach().double().sum()) for p in network.parameters())}


def read_rows(folder: Path) -> list[dict[str, float]]:
    """The run's history.csv."""
    with (folder / "history.csv").open(newline="") as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def weights_of(run: Path) -> dict[str, Any]:
    """The weights in a finished run's `model.pt`, by name."""
    return load_model(run).network.state_dict()


def assert_same_weights(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def main() -> None:
    """Arguments: the folder. Goes on from its last checkpoint where there is one."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    origin = Origin(resume=(folder / "last.pt").exists())
    train(make_slices(), SETTINGS, EACH_STEP, folder, no_scores, origin)
