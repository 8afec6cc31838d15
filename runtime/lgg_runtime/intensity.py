"""Intensity normalisation: each channel of a volume is brought to one scale over the head.

The scale of MR intensities means nothing: between patients of the training data the median FLAIR
of the head differs by a factor of three. The statistics are ratios and percentiles, so the same
function serves 8-bit slices and raw scanner values of any range.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.volume import Mask, Pixels

# Distance between the 10th and the 90th percentile of a standard normal distribution.
NORMAL_P10_P90 = 2.5631031310892007


@dataclass(frozen=True)
class IntensitySettings:
    """Constants of the normalisation; they stand in the contract.

    centre, scale: 8-bit value of the head's median, and of one robust standard deviation.
    head_fraction: a pixel belongs to the head where any channel exceeds this fraction of the
        channel's bright level (its `bright_percentile`).
    smallest_spread: lower bound of the robust standard deviation, as a fraction of the bright
        level, so that a constant picture gives no infinity.
    """

    centre: float = 80.0
    scale: float = 40.0
    head_fraction: float = 0.12
    bright_percentile: float = 99.5
    smallest_spread: float = 0.05

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def head_mask(pixels: npt.NDArray[Any], settings: IntensitySettings) -> Mask:
    """Where the head is: (S, H, W) bool for (S, H, W, 3) of any real type.

    True where any channel exceeds `head_fraction` of its bright level. All False for a volume
    without signal.
    """
    head: Mask = np.zeros(pixels.shape[:3], bool)
    for channel in range(pixels.shape[3]):
        bright = _bright_level(pixels[..., channel], settings)
        if bright > 0:
            head |= pixels[..., channel] > settings.head_fraction * bright
    return head


def normalise(pixels: npt.NDArray[Any], settings: IntensitySettings) -> Pixels:
    """Bring a volume to the scale that the network was trained on.

    pixels: (S, H, W, 3) of any real type. Returns (S, H, W, 3) uint8:
    `round(centre + scale * (v - median) / spread)` cut to 0..255, where median and spread
    (distance of the 10th and 90th percentile over 2.563) are the channel's over the head.
    A channel without signal becomes 0.
    """
    head = head_mask(pixels, settings)
    out: Pixels = np.zeros(pixels.shape, np.uint8)
    for channel in range(pixels.shape[3]):
        values = pixels[..., channel]
        bright = _bright_level(values, settings)
        if bright <= 0 or not head.any():
            continue
        low, median, high = np.percentile(values[head], (10, 50, 90))
        spread = max((high - low) / NORMAL_P10_P90, settings.smallest_spread * bright)
        gain = settings.scale / spread
        offset = settings.centre - gain * median
        if pixels.dtype == np.uint8:
            table = _to_8bit(np.arange(256), gain, offset)
            flat = np.ascontiguousarray(values).reshape(values.shape[0], -1)
            out[..., channel] = cv2.LUT(flat, table).reshape(values.shape)
        else:
            out[..., channel] = _to_8bit(values, gain, offset)
    return out


def _to_8bit(values: npt.NDArray[Any], gain: float, offset: float) -> Pixels:
    return np.clip(np.rint(values * gain + offset), 0, 255).astype(np.uint8)


def _bright_level(values: npt.NDArray[Any], settings: IntensitySettings) -> float:
    level = float(np.percentile(values, settings.bright_percentile))
    return level if level > 0 else float(values.max())
