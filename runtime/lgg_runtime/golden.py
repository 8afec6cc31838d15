"""The golden pair of a contract: an input made by a formula, and what the artifact answers.

Export makes it, and whoever loads the artifact checks it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.contract import Golden
from lgg_runtime.errors import ModelError
from lgg_runtime.plural import count
from lgg_runtime.volume import CHANNELS, FLAIR, Pixels, Probability

SHAPE = (1, 128, 128, 3)
STEP = 16
_MOST_SIDE = 512


def golden_input(shape: tuple[int, ...] = SHAPE) -> Pixels:
    """A round head with a round lesion, bright in FLAIR, as the contract's docstring states it: so
    that answers near 1 are among the samples as well as answers near 0.
    """
    n, y, x, c = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    radius, y0, x0 = min(shape[1:3]), shape[1] // 2, shape[2] // 2
    head = (x - x0) ** 2 + (y - y0) ** 2 < (7 * radius // 16) ** 2
    away_x, away_y = x - x0 - radius // 8, y - y0 + radius // 16
    lesion = (away_x**2 + away_y**2 < (radius // 8) ** 2) & (c == FLAIR)
    grain = (7 * n + 7 * y + 13 * x + x * y // 8) % 32
    made: Pixels = np.where(head, grain + np.where(lesion, 192, 64), 0).astype(np.uint8)
    return made


def make_golden(run: Callable[[Pixels], Probability], tolerance: float) -> Golden:
    """The pair of an artifact that was proven; tolerance: what a host's answer may differ by."""
    slices = golden_input()
    probability = run(slices)
    return Golden(
        SHAPE,
        _digest(slices),
        _digest(probability),
        tuple(round(float(p), 6) for p in _sample(probability)),
        tolerance,
    )


def _require_form(golden: Golden) -> None:
    """A contract is a stranger's: before its shape is made, it has to be one that was exported."""
    *slices, height, width, channels = golden.shape if len(golden.shape) == 4 else (0, 0, 0, 0)
    is_small = slices == [1] and channels == len(CHANNELS) and max(height, width) <= _MOST_SIDE
    is_whole = min(height, width) >= STEP and height % STEP == width % STEP == 0
    if not (is_small and is_whole and len(golden.samples) == height * width // STEP**2):
        samples = count(len(golden.samples), "sample")
        raise ModelError(
            f"its golden pair is damaged: shape {golden.shape} and {samples}; expected a slice of "
            f"sides up to {_MOST_SIDE}, and a sample for each {STEP} x {STEP} pixels"
        )


def check_golden(run: Callable[[Pixels], Probability], golden: Golden) -> float:
    """The largest difference from the golden samples.

    Raises ModelError where it is over the contract's tolerance: this device, driver or library
    does not compute what the model was proven to compute, or the file is damaged; and for a pair
    of another form or input.
    """
    _require_form(golden)
    slices = golden_input(golden.shape)
    if _digest(slices) != golden.input_sha256:
        raise ModelError("its golden input is another one than this version makes; export it again")
    found = _sample(run(slices))
    difference = float(np.abs(found - np.array(golden.samples)).max())
    if not difference <= golden.tolerance:
        raise ModelError(
            f"the answer to the golden input differs by {difference:.3g}, expected at most "
            f"{golden.tolerance:g}: this device does not compute what was measured, "
            "or the file is damaged"
        )
    return difference


def _sample(probability: Probability) -> Probability:
    return probability[0, ::STEP, ::STEP].ravel()


def _digest(values: npt.NDArray[Any]) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()
