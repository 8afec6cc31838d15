"""Slices through a backend: boxes of one size together, padded to what the network takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from lgg_runtime.backends import Backend
from lgg_runtime.crop import Box, Boxes
from lgg_runtime.volume import Pixels, Probability


def run_boxes(
    backend: Backend,
    slices: Pixels,
    boxes: Boxes,
    batch: int,
    before_batch: Callable[[], object] | None = None,
) -> Probability:
    """The boxes of normalised slices (S, H, W, 3) to probabilities (S, H, W), 0 outside of them."""
    out: Probability = np.zeros(slices.shape[:3], np.float32)
    fill_boxes(backend, slices, boxes, batch, out, before_batch)
    return out


def fill_boxes(
    backend: Backend,
    slices: Pixels,
    boxes: Boxes,
    batch: int,
    out: Probability,
    before_batch: Callable[[], object] | None,
) -> None:
    """Put the boxes' probabilities in their places in `out`, (S, H, W).

    A run takes up to `batch` boxes of one size. Borders are padded with zeros to the contract's
    size multiple, and the result is cut back. before_batch: called before each run; what it raises
    ends this.
    """
    multiple = backend.contract.size_multiple
    for chosen in _batches(boxes, batch):
        if before_batch is not None:
            before_batch()
        height, width = chosen[0][1].size
        padded = (height + -height % multiple, width + -width % multiple)
        first, last = chosen[0][0], chosen[-1][0]
        if (height, width) == padded == slices.shape[1:3] and last - first < len(chosen):
            part = slices[first : last + 1]  # whole frames in a row need no copy
        else:
            part = np.zeros((len(chosen), *padded, slices.shape[3]), np.uint8)
            for target, (index, box) in zip(part, chosen, strict=True):
                target[:height, :width] = box.cut(slices[index])
        for found, (index, box) in zip(backend.run(part), chosen, strict=True):
            box.restore(found[:height, :width], out[index])


def _batches(boxes: Boxes, batch: int) -> Iterator[list[tuple[int, Box]]]:
    """Slices' numbers and boxes, at most `batch` of one size together."""
    by_size: dict[tuple[int, int], list[tuple[int, Box]]] = defaultdict(list)
    for index, box in enumerate(boxes):
        if box is not None:
            by_size[box.size].append((index, box))
    for same in by_size.values():
        yield from (same[start : start + batch] for start in range(0, len(same), batch))
