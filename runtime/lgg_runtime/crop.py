"""Head crop: the box of each slice that its head lies in, so that air is not computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.volume import Mask, Pixels, Probability


@dataclass(frozen=True)
class CropSettings:
    """Constants of the crop; they stand in the contract.

    line_fraction: a row or a column holds head where at least this fraction of its pixels is
        head, which the noise around a head does not reach.
    margin: pixels that a box has beyond the head, because the network sees zeros outside of it.
    step: sides of boxes are multiples of it, so that an engine meets few shapes.
    """

    line_fraction: float = 0.125
    margin: int = 8
    step: int = 16

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Box:
    """Part of a slice: its first row and column, and how many of them it has."""

    top: int
    left: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    def cut(self, slice_: Pixels) -> Pixels:
        """The box of a slice (H, W, 3), as a view."""
        return slice_[self.top : self.top + self.height, self.left : self.left + self.width]

    def restore(self, part: Probability, frame: Probability) -> None:
        """Put what was found in the box (height, width) where it belongs in a frame (H, W)."""
        frame[self.top : self.top + self.height, self.left : self.left + self.width] = part


def find_boxes(head: Mask, settings: CropSettings) -> tuple[Box | None, ...]:
    """The box of each slice's head, None for a slice without one.

    head: (S, H, W) bool. A box reaches from the first to the last row and column that hold head,
    with the margin, cut to the slice. Its sides grow, on both ends alike, to the next multiple of
    the step or to the whole side.
    """
    height, width = head.shape[1:]
    levels = np.ascontiguousarray(head).view(np.uint8)
    rows = _hold_head(levels.sum(axis=2, dtype=np.int32), width, settings)
    columns = _hold_head(levels.sum(axis=1, dtype=np.int32), height, settings)
    boxes: list[Box | None] = []
    for in_rows, in_columns in zip(rows, columns, strict=True):
        if not (in_rows.any() and in_columns.any()):
            boxes.append(None)
            continue
        top, tall = _span(in_rows, settings)
        left, wide = _span(in_columns, settings)
        boxes.append(Box(top, left, tall, wide))
    return tuple(boxes)


def whole_frames(count: int, height: int, width: int) -> tuple[Box, ...]:
    """The boxes of slices that are not cropped."""
    return (Box(0, 0, height, width),) * count


def _hold_head(
    counts: npt.NDArray[np.int32], length: int, settings: CropSettings
) -> npt.NDArray[np.bool_]:
    return np.asarray(counts >= max(1.0, settings.line_fraction * length))


def _span(holds: npt.NDArray[np.bool_], settings: CropSettings) -> tuple[int, int]:
    """Start and length of a side that holds every True."""
    found = np.flatnonzero(holds)
    start = max(int(found[0]) - settings.margin, 0)
    stop = min(int(found[-1]) + 1 + settings.margin, len(holds))
    length = min(-(-(stop - start) // settings.step) * settings.step, len(holds))
    start -= (length - (stop - start)) // 2
    return min(max(start, 0), len(holds) - length), length
