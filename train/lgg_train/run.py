"""A training run's folder: what is in it, how it is written and read back.

config.json  split.json          settings, digests, versions; which slices were used
last.pt      history.csv         to resume from; numbers over time
earlier.csv  tensorboard/        numbers of the rounds that it went on from; events, if asked for
model.pt                         the averaged weights with all that export needs
metrics_<part>.json              scores; curves.png, pr_<part>.png, panels_<part>.png
.lgg-train.lock                  held while a training runs there

A cross-validation's folder holds such a folder of each fold, `fold_<n>`, beside `cv.json`, the
scores of all, and `decision.json`, where one was chosen over all; it has a lock too.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from lgg_runtime import strict_json
from lgg_runtime.contract import Training, check_intensity
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import InputError, ModelError, UsageError, first_line
from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.readers.regular import read_text
from lgg_runtime.typed_json import build
from lgg_runtime.writers.atomic import remove, write_atomically
from lgg_train.cases import Case
from lgg_train.checkpoint import load_checkpoint, save_checkpoint
from lgg_train.decision import Decision
from lgg_train.device import within_memory
from lgg_train.splits import PARTS, Split
from lgg_train.unet import UNet, UNetSettings, load_weights

SPLIT_FILE, CONFIG_FILE, MODEL_FILE, LAST_FILE = "split.json", "config.json", "model.pt", "last.pt"
TRAINING_LOCK = ".lgg-train.lock"
# Entries of config.json that are read back.
_RECORDED: dict[str, type | tuple[type, ...]] = {
    "data": str, "training": dict, "settings": dict, "options": dict,
    "decided": (dict, NoneType), "digests": dict,
}  # fmt: skip
# What values of another kind, and PyTorch of weights that do not fit, end with.
_UNFIT = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_PLAIN = ("unet", "decision", "intensity", "training")  # entries of model.pt beside its weights
DECISION_FILE = "decision.json"
FLAIR_ONLY = "_flair_only"  # ends the name of a part that was scored with FLAIR alone


@dataclass(frozen=True)
class TrainedModel:
    """The averaged network, in evaluation mode, and what decides its use."""

    network: UNet
    decision: Decision
    intensity: IntensitySettings
    training: Training


def is_kept(folder: Path, name: str) -> bool:
    """Whether the folder holds that file. Raises InputError where one may not look into it."""
    try:
        return (folder / name).is_file()
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error


def is_begun(folder: Path) -> bool:
    """Whether a run's settings are in the folder. Raises InputError as `is_kept` does."""
    return is_kept(folder, CONFIG_FILE)


def is_finished(folder: Path) -> bool:
    """Whether a run has been trained to its end. Raises InputError as `is_kept` does."""
    return is_kept(folder, MODEL_FILE)


def clear_scores(folder: Path) -> None:
    """Remove scores and pictures of an earlier model. Raises ResourceError where that cannot be."""
    for part in PARTS:
        for path in (*files_of(folder, part), *files_of(folder, part + FLAIR_ONLY)):
            remove(path)


def files_of(folder: Path, part: str) -> tuple[Path, Path, Path]:
    """The precision-recall curve, the panels and the scores of a part."""
    return folder / f"pr_{part}.png", folder / f"panels_{part}.png", folder / f"metrics_{part}.json"


def fold_of(folder: Path, fold: int) -> Path:
    """Where a cross-validation keeps the run of a fold."""
    return folder / f"fold_{fold}"


def is_cross_validation(folder: Path) -> bool:
    """Whether the folder holds runs of folds, and is no run itself."""
    return not is_begun(folder) and is_begun(fold_of(folder, 0))


def check_finished(option: str, folder: Path, folds: int) -> None:
    """Raises InputError, which names the option, for a cross-validation that lacks a fold's model.

    Asked before the first fold, so that no hours are spent before the last one is missed.
    """
    for fold in range(folds):
        if not is_finished(fold_of(folder, fold)):
            raise InputError(f"{option} {fold_of(folder, fold)}: no {MODEL_FILE} in it")


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """Raises InputError for what cannot be read or no JSON that all readers take for the same."""
    try:
        return strict_json.loads(read_text(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ModelError as error:
        raise InputError(f"{path}: {error}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error


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


def read_config(run: Path, *needed: str) -> dict[str, Any]:
    """What a run recorded of itself; entries that were not kept from the first on may be missing.

    Raises InputError for a file that is missing or no JSON, that lacks an entry that is needed, or
    holds something else in its place.
    """
    path = run / CONFIG_FILE
    config = read_json(path)
    if not isinstance(config, dict):
        raise InputError(f"{path}: not what a run records; train it again")
    wrong = [
        name
        for name, kind in _RECORDED.items()
        if (name in config or name in needed) and not isinstance(config.get(name), kind)
    ]
    if wrong:
        raise InputError(f"{path}: holds no {' and '.join(wrong)} of a run; train it again")
    return config


def check_cases(run: Path, cases: Iterable[Case]) -> None:
    """Raises InputError for a patient who is not, pixel by pixel, the one of the run's data."""
    known = read_config(run, "digests")["digests"]
    if other := [case.patient for case in cases if known.get(case.patient) != case.digest]:
        raise InputError(f"{run}: trained on other data: {', '.join(other[:5])} differ")


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide a run's numbers."""
    names = ("lgg-edge", "albumentations", "numpy", "opencv-python-headless")
    known = {name: version(name) for name in names}
    # Of torch's own account: the metadata of a build for CUDA leave out that it is one.
    return {"python": platform.python_version(), "torch": str(torch.__version__), **known}


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
        raise InputError(f"{folder}: no {MODEL_FILE} in it; finish the training with --resume")
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
