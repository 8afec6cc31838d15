"""The golden pair: an input made by a formula, and what the artifact answers to it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from lgg_runtime.contract import Golden
from lgg_runtime.volume import Pixels, Probability

SHAPE = (1, 64, 64, 3)
STEP = 16


def golden_input(shape: tuple[int, ...] = SHAPE) -> Pixels:
    """(7 n + 11 y + 13 x + 5 c + x y // 8) mod 256, as the contract's docstring states it."""
    n, y, x, c = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    return ((7 * n + 11 * y + 13 * x + 5 * c + x * y // 8) % 256).astype(np.uint8)


def make_golden(run: Callable[[Pixels], Probability], tolerance: float) -> Golden:
    slices = golden_input()
    probability = run(slices)
    return Golden(
        SHAPE,
        hashlib.sha256(slices.tobytes()).hexdigest(),
        hashlib.sha256(probability.tobytes()).hexdigest(),
        tuple(round(float(p), 6) for p in probability[0, ::STEP, ::STEP].ravel()),
        tolerance,
    )
