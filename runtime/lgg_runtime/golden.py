"""The golden pair of a contract: an input made by a formula, and what the artifact answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lgg_runtime.contract import Golden
from lgg_runtime.errors import ModelError
from lgg_runtime.volume import Pixels, Probability

SHAPE = (1, 64, 64, 3)
STEP = 16


def golden_input(shape: tuple[int, ...] = SHAPE) -> Pixels:
    """(7 n + 11 y + 13 x + 5 c + x y // 8) mod 256, as the contract's docstring states it."""
    n, y, x, c = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    return ((7 * n + 11 * y + 13 * x + 5 * c + x * y // 8) % 256).astype(np.uint8)


def check_golden(run: Callable[[Pixels], Probability], golden: Golden) -> float:
    """The largest difference from the golden samples.

    Raises ModelError where it is over the contract's tolerance: this device, driver or library
    does not compute what the model was proven to compute.
    """
    found = run(golden_input(golden.shape))[0, ::STEP, ::STEP].ravel()
    difference = float(np.abs(found - np.array(golden.samples, np.float32)).max())
    if not difference <= golden.tolerance:
        raise ModelError(
            f"the answer to the golden input differs by {difference:.3g}, expected at most "
            f"{golden.tolerance:g}: this device does not compute what was measured"
        )
    return difference
