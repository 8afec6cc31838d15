"""A run's slices, drawn by hand, and its results on disk."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from lgg_runtime.lock import LOCK_FILE
from lgg_runtime.run.ledger import JOURNAL_FILE
from lgg_runtime.volume import FLAIR

Draw = Callable[..., np.ndarray]
Write = Callable[[Path, np.ndarray], Path]
Infer = Callable[..., SimpleNamespace]
Saved = Callable[[Any, str | None], Path]
LESION = (slice(10, 16), slice(20, 28))  # rows, columns


def draw_slice(
    lesion: tuple[slice, slice] | None = None, size: tuple[int, int] = (40, 48), bright: int = 200
) -> np.ndarray:
    """A head of 100 on black, (H, W, 3) uint8; where the lesion is, FLAIR is `bright`."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[4:-4, 4:-4] = 100
    if lesion is not None:
        pixels[(*lesion, FLAIR)] = bright
    return pixels


def files(folder: Path) -> list[str]:
    """Results below a folder, without the lock and the journal of lines."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if name not in (LOCK_FILE, JOURNAL_FILE))


def read_run(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_bytes())


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def read_png(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return pixels


BAD = ("a/corrupt.png", "a/empty.tif", "a/sixteen.tif")
