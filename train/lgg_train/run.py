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

import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from lgg_runtime import strict_json
from lgg_runtime.errors import InputError, ModelError
from lgg_runtime.readers.regular import read_text
from lgg_runtime.writers.atomic import remove, write_atomically
from lgg_train.cases import Case
from lgg_train.splits import PARTS

SPLIT_FILE, CONFIG_FILE, MODEL_FILE, LAST_FILE = "split.json", "config.json", "model.pt", "last.pt"
TRAINING_LOCK = ".lgg-train.lock"
# Entries of config.json that are read back.
_RECORDED: dict[str, type | tuple[type, ...]] = {
    "data": str, "training": dict, "settings": dict, "options": dict,
    "decided": (dict, NoneType), "digests": dict,
}  # fmt: skip
DECISION_FILE = "decision.json"
FLAIR_ONLY = "_flair_only"  # ends the name of a part that was scored with FLAIR alone


def is_kept(folder: Path, name: str) -> bool:
    """Whether the folder holds something of that name, a file or not. Raises InputError where one
    may not look into it.
    """
    try:
        return (folder / name).exists()
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
