"""The golden pair: an input made by a formula, and what the artifact answers to it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from lgg_runtime.contract import Golden
from lgg_runtime.golden import SHAPE, STEP, golden_input
from lgg_runtime.volume import Pixels, Probability


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
