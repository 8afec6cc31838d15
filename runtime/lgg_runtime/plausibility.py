"""Whether a picture looks like what the model was trained on: slices of a head in brain MRI.

A network answers to anything. A few statistics of shape and intensity, which do not depend on the
scale of the values or on the size in pixels, are compared with their ranges over the slices of
the training and validation patients. The check warns and never refuses; it cannot tell a good scan
from a bad one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.appearance import measure_slice
from lgg_runtime.intensity import IntensitySettings, bright_levels, is_air_below_0
from lgg_runtime.volume import FLAIR

MOST_SLICES = 12
_UNUSUAL = 3  # statistics beyond their inner bounds that together are a doubt
_FEWEST_IN_ORDER = 10  # slices: fewer are in order, or out of it, by chance
# Of `_measure_jumps`: the 98 patients have at most 0.43, and 0.83 by ten slices from end to end; of
# folders with a slice each of ten or more of them, 97 % have more.
_UNRELATED = 0.85
_MIXED = "neighbouring slices are no more alike than others; are they of one patient, in order?"
_COARSE = 32  # as many means a side tell one slice from the next, and hold little noise


@dataclass(frozen=True)
class PlausibilitySettings:
    """Four bounds of each statistic of `measure_slice`, in rising order, or the two outer ones
    alone.

    A slice is doubted where a statistic is beyond the outer bounds, or three are beyond the inner.
    Inner: the quantiles 0.002 and 0.998 over the slices of training and validation patients that
    hold a head; outer: 1.4 times as far from the median. The lean has outer bounds alone, which
    no head comes near.
    """

    # share of a band of 2 pixels along the picture's border that the outline covers
    frame: tuple[float, ...] = (0.0, 0.0, 0.768, 1.08)
    # mean outside the outline's convex hull / median inside the outline
    outside: tuple[float, ...] = (-0.0227, 0.00275, 0.534, 0.721)
    # area of the outline / area of its convex hull
    solidity: tuple[float, ...] = (0.265, 0.469, 0.995, 1.0)
    # minor / major axis of the ellipse that has the outline's moments
    oval: tuple[float, ...] = (0.114, 0.312, 0.989, 1.06)
    # area of the outline / area of that ellipse
    ellipse: tuple[float, ...] = (0.125, 0.374, 0.999, 1.0)
    # skewness of the outline's row coordinates
    lean: tuple[float, ...] = (-2.0, 4.0)
    # median of the core
    median: tuple[float, ...] = (0.0657, 0.154, 0.842, 1.03)
    # 5th percentile / median of the core
    dark: tuple[float, ...] = (-0.0373, 0.057, 0.804, 1.01)
    # 90th less 10th percentile / median of the core
    spread: tuple[float, ...] = (0.0162, 0.301, 3.68, 4.75)
    # 90th percentile of the outline without its core / median of the core
    rim: tuple[float, ...] = (0.156, 0.781, 5.83, 7.23)
    # share of the core in the fullest of 32 equal bins
    mode: tuple[float, ...] = (0.0194, 0.0567, 0.43, 0.542)
    # mean step / standard deviation of the core
    rough: tuple[float, ...] = (0.0731, 0.156, 0.544, 0.617)
    # share of steps below 0.004
    flat: tuple[float, ...] = (0.0132, 0.0339, 0.198, 0.242)
    # mean step / root mean square of the steps
    tail: tuple[float, ...] = (0.399, 0.465, 0.784, 0.845)
    # correlation of the core with its mirror image, left-right or up-down, the higher
    mirror: tuple[float, ...] = (-0.253, -0.0368, 0.969, 1.16)
    # lowest correlation between two channels in the core
    agree: tuple[float, ...] = (-0.869, -0.441, 1.0, 1.15)
    # mean step / mean step after a Gaussian of 1 pixel, which takes speckle away
    grain: tuple[float, ...] = (0.947, 1.24, 3.79, 4.52)


def find_doubts(
    pixels: npt.NDArray[Any],
    settings: PlausibilitySettings,
    bright: Sequence[float] | None = None,
) -> tuple[str, ...]:
    """Why a volume (S, H, W, 3) of any real type is unlike the training data; empty if it is not.

    It is doubted where air is far below 0, where FLAIR, without which no tumour is found, has one
    value, where ten slices or more do not follow one another, as those of several people, and
    where most of its slices are: of a long volume, twelve evenly spaced ones are measured. That
    line names the statistics that are out of range most often. bright: its `bright_levels`, where
    they are known already.
    """
    bright = bright_levels(pixels, IntensitySettings()) if bright is None else bright
    # `measure_slice` shifts air to 0 and cannot tell.
    scale = ("air is far below 0; it should be about 0",) if is_air_below_0(pixels, bright) else ()
    flair = pixels[..., FLAIR]
    empty = ("FLAIR has one value throughout; is it missing?",) if np.ptp(flair) == 0 else ()
    is_mixed = len(flair) >= _FEWEST_IN_ORDER and _measure_jumps(flair) > _UNRELATED
    mixed = (_MIXED,) if is_mixed else ()
    return (*scale, *empty, *mixed, *_doubt_slices(pixels, settings))


def _measure_jumps(planes: npt.NDArray[Any]) -> float:
    """Von Neumann's ratio of slices (S, H, W): half the mean square of the differences between
    neighbours, over the variance. Near 0 where they follow one another, about 1 where their order
    says nothing. Each has the same contrast, so that no bright one decides; dim ones stay so.
    """
    rows, columns = (min(side, _COARSE) for side in planes.shape[1:])
    coarse = np.empty((len(planes), rows * columns))
    for plane, row in zip(planes, coarse, strict=True):
        means = cv2.resize(plane.astype(np.float64), (columns, rows), interpolation=cv2.INTER_AREA)
        row[:] = means.ravel() - means.mean()
    contrast = coarse.std(1, keepdims=True)
    scale = np.maximum(contrast, np.median(contrast))
    coarse /= np.where(scale > 0, scale, 1)
    variance = float(coarse.var(0, ddof=1).sum())
    steps = float(np.square(np.diff(coarse, axis=0)).sum(1).mean())
    return steps / 2 / variance if variance else 0.0


def _doubt_slices(pixels: npt.NDArray[Any], settings: PlausibilitySettings) -> tuple[str, ...]:
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), MOST_SLICES)).round()
    doubted: list[tuple[str, ...]] = []
    for number, index in enumerate(chosen, start=1):
        if names := judge_slice(pixels[int(index)], settings):
            doubted.append(names)
        elif 2 * (number - len(doubted)) >= len(chosen):
            return ()  # whatever the rest look like
    counts = Counter(name for names in doubted for name in names)
    often = max(counts.values())
    most = [name for name in sorted(counts) if 2 * counts[name] > often][:4]
    return (f"does not look like brain MRI of the training data ({', '.join(most)})",)


def judge_slice(pixels: npt.NDArray[Any], settings: PlausibilitySettings) -> tuple[str, ...]:
    """Names of the statistics that a slice (H, W, 3) has out of range; `contrast` for none."""
    measured = measure_slice(pixels)
    if measured is None:
        return ("contrast",)
    bounds = vars(settings)
    inner = [name for name, value in measured.items() if _is_beyond(value, bounds[name][1:-1])]
    outer = [name for name, value in measured.items() if _is_beyond(value, bounds[name])]
    return tuple(n for n in measured if n in outer or (n in inner and len(inner) >= _UNUSUAL))


def _is_beyond(value: float, bounds: Sequence[float]) -> bool:
    return bool(bounds) and not bounds[0] <= value <= bounds[-1]
