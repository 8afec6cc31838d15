"""Checkpoints: written whole or not at all, and loaded without running any pickled code."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import torch

from lgg_runtime.errors import InputError, OutOfMemoryError, first_line
from lgg_runtime.readers.regular import why_unread
from lgg_runtime.writers.atomic import write_atomically
from lgg_train.device import within_memory

SCHEMA = 1
# Entries that hold tensors. All others are plain values, which are compared and tested for truth,
# as a tensor cannot be.
_OF_TENSORS = {"model", "averaged", "optimiser", "weights"}
_MOST_VALUES = 1_000_000  # of plain ones; of a run of days its history has some thousand


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write atomically. Raises ResourceError where the disk refuses, OutOfMemoryError; the old
    checkpoint stays.
    """
    # Into memory first: a signal as PyTorch ends a write to a file may be an abort() of its C++.
    written = io.BytesIO()
    with within_memory("free some"):
        torch.save({"schema": SCHEMA, **state}, written)
    write_atomically(path, written.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Raises InputError for a file that is missing, cannot be read or is damaged, for another
    schema, for what is no plain value in the place of one, and for pickled code; OutOfMemoryError
    where the memory does not suffice.
    """
    try:
        with path.open("rb") as stream:
            is_archive = zipfile.is_zipfile(stream)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not is_archive:
        raise InputError(f"{path}: not a checkpoint of tensors (cut short, or another format)")
    try:
        with within_memory("free some"):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OutOfMemoryError:
        raise
    except Exception as error:
        # Damaged bytes lead the unpickler to any error: KeyError, IndexError, UnicodeDecodeError.
        damage = f"not a checkpoint of tensors ({first_line(error)})"
        raise InputError(f"{path}: {why_unread(error, damage)}") from error
    state: dict[str, Any] = loaded if isinstance(loaded, dict) else {}
    schema = state.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        found = schema if schema is None or type(schema) is int else type(schema).__name__
        raise InputError(f"{path}: expected checkpoint schema {SCHEMA}, found {found}")
    plain = {name: held for name, held in state.items() if name not in _OF_TENSORS}
    try:
        _count_values(plain)
        json.dumps(plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a checkpoint of this version ({error})") from error
    return state


def _count_values(plain: object) -> None:
    """Raises ValueError for more values than any run holds: forty lists, each of which holds the
    one before twice, are a few hundred bytes here and a million millions in JSON.
    """
    left = _MOST_VALUES
    held: list[Any] = [plain]
    while held:
        value = held.pop()
        left -= 1
        if left < 0:
            raise ValueError(f"more than {_MOST_VALUES} values")
        if isinstance(value, dict):
            held += value.values()
        elif isinstance(value, (list, tuple)):
            held += value
