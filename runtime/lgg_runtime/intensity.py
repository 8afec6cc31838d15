"""Intensity normalisation: each channel of a volume is brought to one scale over the head.

The scale of MR intensities means nothing: between patients of the training data the median FLAIR
of the head differs by a factor of three. The statistics are ratios and percentiles, so the same
function serves 8-bit slices and raw scanner values of any range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.volume import Mask, Pixels

# Distance between the 10th and the 90th percentile of a standard normal distribution.
NORMAL_P10_P90 = 2.5631031310892007
# OpenCV counts in float32, which is exact up to 2**24.
_COUNTED_AT_ONCE = 2**23
# Of the bright level, how far air may lie below 0. Volumes of the training data in units of their
# deviation from their mean (z-scores) stay within 0.58 and keep their masks (Dice 0.97 and more);
# at 0.75 Dice was down to 0.89, at 1 to 0.13.
_AIR_BELOW = 0.6
_STRAY = 0.01  # share of the values, which may lie anywhere
_FEW = 0.005  # share of the values: with no more above 0, a channel has no bright level


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


def bright_levels(pixels: npt.NDArray[Any], settings: IntensitySettings) -> tuple[float, ...]:
    """Of each channel of (S, H, W, 3): its `bright_percentile`, or its maximum where that is 0."""
    channels = range(pixels.shape[3])
    levels = _percentiles(pixels, channels, (settings.bright_percentile,))
    return tuple(
        level if level > 0 else float(pixels[..., c].max())
        for c, (level,) in zip(channels, levels, strict=True)
    )


def is_air_below_0(pixels: npt.NDArray[Any], bright: Sequence[float]) -> bool:
    """Whether air, which the normalisation takes for 0, is far below it in any channel that is not
    constant. bright: the `bright_levels`.
    """
    if pixels.dtype.kind == "u" or pixels.min() >= 0:
        return False
    for channel, level in enumerate(bright):
        values = pixels[..., channel]
        is_lit = _share(values > 0) > _FEW
        below = _share(values < (-_AIR_BELOW * level if is_lit else 0))
        if below > _STRAY and values.min() < values.max():
            return True
    return False


def head_mask(
    pixels: npt.NDArray[Any],
    settings: IntensitySettings,
    bright: Sequence[float] | None = None,
) -> Mask:
    """Where the head is: (S, H, W) bool for (S, H, W, C) of any real type.

    True where any channel exceeds `head_fraction` of its bright level. All False for a volume
    without signal. bright: the `bright_levels`, where they are known already.
    """
    bright = bright_levels(pixels, settings) if bright is None else bright
    if pixels.dtype == np.uint8:
        tops = [min(255, math.floor(settings.head_fraction * b)) if b > 0 else 255 for b in bright]
        # One pass over the interleaved channels; as boolean operations it takes ten times as long.
        dark = cv2.inRange(_as_picture(pixels), (0,) * len(tops), tuple(tops))
        return np.asarray(dark == 0).reshape(pixels.shape[:3])
    head: Mask = np.zeros(pixels.shape[:3], bool)
    for channel, level in enumerate(bright):
        if level > 0:
            head |= pixels[..., channel] > settings.head_fraction * level
    return head


def normalise(
    pixels: npt.NDArray[Any],
    settings: IntensitySettings,
    head: Mask | None = None,
    bright: Sequence[float] | None = None,
) -> Pixels:
    """Bring a volume to the scale that the network was trained on.

    pixels: (S, H, W, 3) of any real type; head, bright: its `head_mask` and `bright_levels`, where
    they are known already.
    Returns (S, H, W, 3) uint8: `round(gain * v + (centre - gain * median))` cut to 0..255, where
    gain is `scale / spread`, and median and spread (distance of the 10th and 90th percentile over
    2.563) are the channel's over the head. A channel without signal becomes 0.
    """
    bright = bright_levels(pixels, settings) if bright is None else bright
    head = head_mask(pixels, settings, bright) if head is None else head
    lit = [c for c, level in enumerate(bright) if level > 0 and head.any()]
    of_head = dict(zip(lit, _percentiles(pixels, lit, (10, 50, 90), head), strict=True))
    lines = {c: _line(of_head[c], bright[c], settings) for c in lit}
    if pixels.dtype == np.uint8:
        tables = np.zeros((1, 256, pixels.shape[3]), np.uint8)
        for c, (gain, offset) in lines.items():
            tables[0, :, c] = _to_8bit(np.arange(256), gain, offset)
        return np.asarray(cv2.LUT(_as_picture(pixels), tables), np.uint8).reshape(pixels.shape)
    out: Pixels = np.zeros(pixels.shape, np.uint8)
    for c, (gain, offset) in lines.items():
        out[..., c] = _to_8bit(pixels[..., c], gain, offset)
    return out


def level_percentile(levels: Pixels, percent: float) -> float:
    """np.percentile of 8-bit values (S, H, W), by counting them."""
    (counts,) = _count_levels(np.ascontiguousarray(levels)[..., None], (0,), None)
    return _percentile_of_counts(counts, percent)


def _share(where: Mask) -> float:
    return np.count_nonzero(where) / where.size


def _line(
    percentiles: tuple[float, ...], bright: float, settings: IntensitySettings
) -> tuple[float, float]:
    """Gain and offset of a channel, from its 10th, 50th and 90th percentile over the head."""
    low, median, high = percentiles
    spread = max((high - low) / NORMAL_P10_P90, settings.smallest_spread * bright)
    gain = settings.scale / spread
    return gain, settings.centre - gain * median


def _to_8bit(values: npt.NDArray[Any], gain: float, offset: float) -> Pixels:
    return np.clip(np.rint(values * gain + offset), 0, 255).astype(np.uint8)


def _percentiles(
    pixels: npt.NDArray[Any],
    channels: Sequence[int],
    percents: Sequence[float],
    where: Mask | None = None,
) -> list[tuple[float, ...]]:
    """Percentiles of each of the channels, over `where`, interpolated linearly."""
    if pixels.dtype == np.uint8:
        counts = _count_levels(pixels, channels, where)
        return [tuple(_percentile_of_counts(c, p) for p in percents) for c in counts]
    found = []
    for c in channels:
        values = pixels[..., c] if where is None else pixels[..., c][where]
        found.append(tuple(float(v) for v in np.percentile(values, percents)))
    return found


def _count_levels(
    pixels: Pixels, channels: Sequence[int], where: Mask | None
) -> list[npt.NDArray[np.int64]]:
    """How often each of the 256 levels stands in each channel."""
    picture = _as_picture(pixels)
    chosen = None if where is None else _as_picture(where).view(np.uint8)
    counts = np.zeros((len(channels), 256), np.int64)
    rows = max(1, _COUNTED_AT_ONCE // picture.shape[1])
    for start in range(0, len(picture), rows):
        part = picture[start : start + rows]
        mask = None if chosen is None else chosen[start : start + rows]
        for index, channel in enumerate(channels):
            found = cv2.calcHist([part], [channel], mask, [256], [0, 256])
            counts[index] += found.ravel().astype(np.int64)
    return list(counts)


def _percentile_of_counts(counts: npt.NDArray[np.int64], percent: float) -> float:
    """What np.percentile gives for the counted values, to the last bit."""
    place = (int(counts.sum()) - 1) * (percent / 100)
    below = int(place)
    ends = np.cumsum(counts)
    low, high = (int(np.searchsorted(ends, n, side="right")) for n in (below, below + 1))
    fraction = place - below
    high = low if fraction == 0 else high
    if fraction >= 0.5:
        return high - (high - low) * (1 - fraction)
    return low + (high - low) * fraction


def _as_picture(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """All slices below each other, (S * H, W) or (S * H, W, C), as OpenCV takes them."""
    return np.ascontiguousarray(values).reshape(-1, *values.shape[2:])
