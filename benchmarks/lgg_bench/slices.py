"""Slices to measure speed with: drawn by code, with the content of real ones."""

from __future__ import annotations

import numpy as np

from lgg_runtime.intensity import IntensitySettings, normalise
from lgg_runtime.volume import Pixels
from lgg_train.phantom import PhantomSettings, make_phantom

DRAWN = 24


def phantom_slices(count: int, size: int) -> Pixels:
    """Slices from the middle of a phantom patient, normalised, (count, size, size, 3) uint8.

    More than the patient's 24 repeat in order.
    """
    pixels, _ = make_phantom(0, PhantomSettings(1, DRAWN, size))
    start = max(0, (DRAWN - count) // 2)
    chosen = np.arange(start, start + count) % DRAWN
    return np.ascontiguousarray(normalise(pixels, IntensitySettings())[chosen])
