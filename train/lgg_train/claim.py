"""A run's folder, held by one training at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lgg_runtime.errors import InputError, UsageError
from lgg_runtime.lock import lock_output
from lgg_runtime.writers.atomic import find_nearest, make_folder
from lgg_train.run import (
    LAST_FILE,
    TRAINING_LOCK,
    is_begun,
    is_cross_validation,
    is_finished,
    is_kept,
)


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Make the folder and hold it; the operating system frees what a killed training held.

    Raises OutputConflictError where another training holds it, ResourceError where it cannot be
    written or locked.
    """
    make_folder(folder)
    with lock_output(folder, TRAINING_LOCK):
        yield


def check_unclaimed(folder: Path) -> None:
    """Raises OutputConflictError where a training holds the folder, ResourceError where one may not
    look into it.

    Asked before long work that ends in `claim`; nothing is made.
    """
    lock = folder / TRAINING_LOCK
    if find_nearest(lock) == lock:
        with lock_output(folder, TRAINING_LOCK):
            return


def require_begun(folder: Path) -> None:
    """Raises InputError for a folder without a run to go on with."""
    if not is_begun(folder):
        raise InputError(f"{folder}: no run to go on with; leave --resume out to begin one")


def require_checkpoint(folder: Path) -> None:
    """Raises InputError for a run that left none to go on from. Asked where no training is at work,
    which may not have written its first.
    """
    if not is_kept(folder, LAST_FILE):
        finished = "it is finished, choose another folder"
        remedy = finished if is_finished(folder) else "leave --resume out to begin it anew"
        raise InputError(f"{folder}: no {LAST_FILE} to go on from; {remedy}")


def require_no_run(folder: Path) -> None:
    """Raises UsageError for a folder with a run's checkpoint or model, or with runs of folds."""
    if is_cross_validation(folder):
        raise UsageError(f"{folder} holds a cross-validation; choose another folder")
    if is_kept(folder, LAST_FILE):
        raise UsageError(
            f"{folder} holds a run already; --resume goes on with it, another folder begins anew"
        )
    if is_finished(folder):
        raise UsageError(f"{folder} holds a finished run; choose another folder")
