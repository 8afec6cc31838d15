"""Checkpoints: written whole or not at all, and loaded without running any pickled code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from lgg_runtime.errors import InputError, ResourceError, first_line
from lgg_runtime.writers.atomic import open_atomically

SCHEMA = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write atomically. Raises ResourceError where the disk refuses; the old checkpoint stays."""
    try:
        with open_atomically(path) as stream:
            torch.save({"schema": SCHEMA, **state}, stream)
    except RuntimeError as error:  # PyTorch's own, of its archive's writer
        raise ResourceError(f"{path.name}: cannot be written ({error})") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Raises InputError for a missing or damaged file, another schema, or pickled code."""
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a checkpoint of tensors (cut short, or another format)")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Damaged bytes lead the unpickler to any error: KeyError, IndexError, UnicodeDecodeError.
        raise InputError(f"{path}: not a checkpoint of tensors ({first_line(error)})") from error
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        found = state.get("schema") if isinstance(state, dict) else None
        raise InputError(f"{path}: expected checkpoint schema {SCHEMA}, found {found}")
    return state
