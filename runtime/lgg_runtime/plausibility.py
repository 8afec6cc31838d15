"""Whether a picture looks like what the model was trained on: slices of a head in brain MRI.

A network answers to anything. A few statistics of shape and intensity, which do not depend on the
scale of the values or on the size in pixels, are compared with their ranges over the slices of
the training and validation patients. The check warns and never refuses; it cannot tell a good scan
from a bad one.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.intensity import IntensitySettings, bright_levels, is_air_below_0
from lgg_runtime.volume import FLAIR, Mask

WIDTH = 96
MOST_SLICES = 12
_OUTLINE = 0.25  # of the 95th percentile: above it is the object, below it its background
_DEAD = 0.02  # of the brightest channel: below it a channel holds nothing
_EDGE_STEPS = 4  # of erosion: what remains of the outline is its core
_UNUSUAL = 3  # statistics beyond their inner bounds that together are a doubt
_NOTHING_OUTSIDE = 9.0  # recorded as `outside` where the hull leaves no background

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PlausibilitySettings:
    """Four bounds of each statistic, in rising order, or the two outer ones alone.

    A slice is doubted where a statistic is beyond the outer bounds, or three are beyond the inner.
    Inner: the quantiles 0.002 and 0.998 over the slices of training and validation patients that
    hold a head; outer: 1.4 times as far from the median. The lean has outer bounds alone, which
    no head comes near.

    All but `agree` are of FLAIR, its longer side 96 pixels, in units of its 99.5th percentile.
    Outline: the largest object brighter than a quarter of the 95th percentile, holes filled.
    Core: the outline eroded by 4 pixels, or all of it where next to nothing would remain. Step:
    absolute difference of neighbouring pixels of the core.
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

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def find_doubts(
    pixels: npt.NDArray[Any],
    settings: PlausibilitySettings,
    bright: Sequence[float] | None = None,
) -> tuple[str, ...]:
    """Why a volume (S, H, W, 3) of any real type is unlike the training data; empty if it is not.

    It is doubted where air is far below 0, and where most of its slices are: of a long volume,
    twelve evenly spaced ones are measured. That line names the statistics that are out of range
    most often. bright: its `bright_levels`, where they are known already.
    """
    bright = bright_levels(pixels, IntensitySettings()) if bright is None else bright
    # `measure_slice` shifts air to 0 and cannot tell.
    scale = ("air is far below 0; it should be about 0",) if is_air_below_0(pixels, bright) else ()
    return (*scale, *_doubt_slices(pixels, settings))


def _doubt_slices(pixels: npt.NDArray[Any], settings: PlausibilitySettings) -> tuple[str, ...]:
    chosen = np.unique(np.linspace(0, len(pixels) - 1, min(len(pixels), MOST_SLICES)).round())
    found = [judge_slice(pixels[int(index)], settings) for index in chosen]
    doubted = [names for names in found if names]
    if 2 * len(doubted) <= len(found):
        return ()
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


def measure_slice(pixels: npt.NDArray[Any]) -> dict[str, float] | None:
    """The statistics of a slice (H, W, 3), by name; None for one without contrast."""
    levels = _bring_to_levels(pixels)
    if levels is None:
        return None
    plane = levels[..., _base_channel(levels)]
    outline = _find_outline(np.asarray(cv2.GaussianBlur(plane, (0, 0), 1.0), np.float32))
    if outline is None:
        return None
    core = _erode(outline)
    return _measure_shape(plane, outline) | _measure_core(plane, outline, core, levels)


def _bring_to_levels(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
    """At the common width, each channel over its bright level, 0..1; dead channels are 0."""
    values = pixels.astype(np.float32)
    values -= min(0.0, float(values.min()))
    scale = WIDTH / max(values.shape[:2])
    size = tuple(max(8, round(side * scale)) for side in values.shape[1::-1])
    values = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
    # Each channel on its own in memory, which numpy reduces several times faster.
    channels = np.ascontiguousarray(values.reshape(-1, values.shape[2]).T)
    bright = np.percentile(channels, 99.5, axis=1)
    if bright.max() <= 0 or np.ptp(channels, axis=1).max() <= 0:
        return None
    alive = bright > _DEAD * bright.max()
    levels = np.minimum(values / np.where(alive, bright, 1), 1) * alive
    return np.asarray(levels, np.float32)


def _base_channel(levels: npt.NDArray[np.float32]) -> int:
    """FLAIR, or where it holds nothing the channel that holds most."""
    return FLAIR if levels[..., FLAIR].any() else int(levels.mean((0, 1)).argmax())


def _find_outline(plane: Plane) -> Mask | None:
    """The largest object with its holes filled."""
    above = (plane > _OUTLINE * np.percentile(plane, 95)).astype(np.uint8)
    contours, _ = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    return _fill(max(contours, key=cv2.contourArea), plane.shape)


def _fill(contour: npt.NDArray[Any], shape: tuple[int, ...]) -> Mask:
    drawn = cv2.drawContours(np.zeros(shape, np.uint8), [contour], -1, 1, -1)
    return np.asarray(drawn > 0)


def _erode(outline: Mask) -> Mask:
    core = cv2.erode(outline.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=_EDGE_STEPS)
    return np.asarray(core > 0) if np.count_nonzero(core) >= 40 else outline


def _measure_shape(plane: Plane, outline: Mask) -> dict[str, float]:
    rows, columns = np.nonzero(outline)
    area = len(rows)
    border = np.ones(outline.shape, bool)
    border[2:-2, 2:-2] = False
    contours, _ = cv2.findContours(
        outline.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    hull = _fill(cv2.convexHull(np.concatenate(contours)), outline.shape)
    spread = np.cov(np.stack([columns, rows]).astype(np.float64)) if area > 1 else np.zeros((2, 2))
    small, large = np.sqrt(np.maximum(np.linalg.eigvalsh(spread), 1e-6))
    away = rows - rows.mean()
    median = max(float(np.median(plane[outline])), 1e-3)
    beside = plane[~hull]
    return {
        "frame": float(outline[border].mean()),
        "outside": float(beside.mean()) / median if beside.size > 20 else _NOTHING_OUTSIDE,
        "solidity": area / max(int(np.count_nonzero(hull)), 1),
        "oval": float(small / large),
        "ellipse": float(area / max(4 * np.pi * small * large, 1)),
        "lean": float((away**3).mean() / max(float(away.std()), 1e-3) ** 3),
    }


def _measure_core(
    plane: Plane, outline: Mask, core: Mask, levels: npt.NDArray[np.float32]
) -> dict[str, float]:
    values = plane[core]
    p5, p10, p50, p90 = np.percentile(values, (5, 10, 50, 90))
    median = max(float(p50), 1e-2)
    edge = plane[outline & ~core]
    steps = np.concatenate(list(_steps(plane, core)))
    smooth = np.asarray(cv2.GaussianBlur(plane, (0, 0), 1.0), np.float32)
    smooth_steps = np.concatenate(list(_steps(smooth, core)))
    root = float(np.sqrt(np.mean(steps**2))) if steps.size else 0.0
    mean = float(steps.mean()) if steps.size else 0.0
    fullest = np.bincount(np.minimum(values * 32, 31).astype(int), minlength=32).max()
    return {
        "median": float(p50),
        "dark": float(p5) / median,
        "spread": float(p90 - p10) / median,
        "rim": float(np.percentile(edge, 90)) / median if edge.size else 1.0,
        "mode": float(fullest) / values.size,
        "rough": mean / (float(values.std()) + 0.01),
        "flat": float((steps < 0.004).mean()) if steps.size else 1.0,
        "tail": mean / max(root, 1e-4),
        "grain": mean / (float(smooth_steps.mean()) + 1e-3) if steps.size else 1.0,
        "mirror": _mirror(plane, outline, core),
        "agree": min(_correlations(levels[core]), default=1.0),
    }


def _steps(plane: Plane, core: Mask) -> Iterator[npt.NDArray[np.float32]]:
    """Differences of neighbours that both lie in the core."""
    yield np.abs(np.diff(plane, axis=0))[core[1:] & core[:-1]]
    yield np.abs(np.diff(plane, axis=1))[core[:, 1:] & core[:, :-1]]


def _mirror(plane: Plane, outline: Mask, core: Mask) -> float:
    """The better correlation of the core with its mirror image, left-right or up-down."""
    best = -1.0
    for ours, where, inner in ((plane, outline, core), (plane.T, outline.T, core.T)):
        centre = float(np.nonzero(where)[1].mean())
        flip = np.array([[-1, 0, 2 * centre], [0, 1, 0]], np.float32)
        size = (ours.shape[1], ours.shape[0])
        theirs = cv2.warpAffine(np.ascontiguousarray(ours), flip, size)
        both = inner & (cv2.warpAffine(inner.astype(np.uint8), flip, size) > 0)
        best = max([best, *_correlations(np.stack([ours[both], theirs[both]], 1))])
    return best


def _correlations(columns: npt.NDArray[np.float32]) -> Iterator[float]:
    """Between every two columns that vary."""
    alive = [c for c in columns.T if c.size > 20 and float(c.std()) > 1e-3]
    for index, first in enumerate(alive):
        for second in alive[index + 1 :]:
            yield float(np.corrcoef(first, second)[0, 1])
