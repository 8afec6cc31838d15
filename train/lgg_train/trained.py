"""What a finished run trained, and what `model.pt` holds of it: written, read back, compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lgg_runtime import strict_json
from lgg_runtime.contract import Training, check_intensity
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import InputError, ModelError, UsageError, first_line
from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.typed_json import build
from lgg_train.checkpoint import load_checkpoint, save_checkpoint
from lgg_train.decision import Decision
from lgg_train.device import within_memory
from lgg_train.run import (
    LAST_FILE,
    MODEL_FILE,
    SPLIT_FILE,
    is_cross_validation,
    is_finished,
    is_kept,
)
from lgg_train.splits import Split
from lgg_train.unet import UNet, UNetSettings, load_weights

# What values of another kind, and PyTorch of weights that do not fit, end with.
_UNFIT = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_PLAIN = ("unet", "decision", "intensity", "training")  # entries of model.pt beside its weights


@dataclass(frozen=True)
class TrainedModel:
    """The averaged network, in evaluation mode, and what decides its use."""

    network: UNet
    decision: Decision
    intensity: IntensitySettings
    training: Training


def describe_training(split: Split, data_digest: str) -> Training:
    """What a model tells of the data that it was trained on."""
    patients = {part: len(members) for part, members in split.parts.items()}
    return Training(data_digest, _digest_split(split), split.by, patients)


def read_split(run: Path, model: TrainedModel) -> Split:
    """The split of a finished run. Raises InputError where it is not the one of its training."""
    split = Split.read(run / SPLIT_FILE)
    if _digest_split(split) != model.training.split:
        raise InputError(f"{run / SPLIT_FILE}: not the split that this model was trained with")
    return split


def _digest_split(split: Split) -> str:
    return hashlib.sha256(split.dumps()).hexdigest()


def save_model(folder: Path, model: TrainedModel) -> None:
    """Write `model.pt`, atomically."""
    state = {
        "unet": asdict(model.network.settings),
        "weights": {k: v.cpu() for k, v in model.network.state_dict().items()},
        "decision": model.decision.to_json(),
        "intensity": asdict(model.intensity),
        "training": asdict(model.training),
    }
    save_checkpoint(folder / MODEL_FILE, state)


def digest_model(folder: Path) -> str:
    """SHA-256 of a finished run's `model.pt`. Raises InputError where it cannot be read."""
    path = folder / MODEL_FILE
    try:
        return digest_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def check_same_training(
    option: str, model: TrainedModel, training: Training, intensity: IntensitySettings
) -> None:
    """Raises InputError, which names the option, for a model of other patients or intensities.

    What saw other patients would make this run's validation and test meaningless. A run on all
    patients has neither, and may go on from any run on the same data.
    """
    same = model.training == training
    if not same and (training.split_by != "all" or model.training.data != training.data):
        raise InputError(f"{option}: that run was trained on other data or another split")
    if model.intensity != intensity:
        raise InputError(f"{option}: that run was trained on other intensities")


def load_model(folder: Path, device: torch.device | None = None) -> TrainedModel:
    """Read `model.pt` of a finished run. Raises InputError where there is none, OutOfMemoryError
    where the memory does not suffice.
    """
    if is_cross_validation(folder):
        raise InputError(f"{folder}: a cross-validation; name the run of a fold, fold_<n> in it")
    if not is_finished(folder):
        if folder.is_file():
            raise InputError(f"{folder}: a file; name the run's folder, {folder.parent}")
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        has_checkpoint = is_kept(folder, LAST_FILE)
        remedy = "finish the training with --resume" if has_checkpoint else "name a finished run"
        raise InputError(f"{folder}: no {MODEL_FILE} in it; {remedy}")
    held = load_checkpoint(folder / MODEL_FILE)
    try:
        plain = strict_json.loads(json.dumps({name: held[name] for name in _PLAIN}))
        with within_memory("the network is too large"):
            network = UNet(build(UNetSettings, plain["unet"], "unet"))
            load_weights(network, held["weights"])
            network.eval().to(device or torch.device("cpu"))
        intensity = build(IntensitySettings, plain["intensity"], "intensity")
        check_intensity(intensity)
        return TrainedModel(
            network,
            Decision.from_json(plain["decision"]),
            intensity,
            build(Training, plain["training"], "training"),
        )
    except (*_UNFIT, InputError, ModelError, UsageError) as error:
        told = f"not a model of this version ({first_line(error)})"
        raise InputError(f"{folder}/{MODEL_FILE}: {told}") from error
