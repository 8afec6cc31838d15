"""Whether a picture looks like what the model was trained on: slices of a head in brain MRI.

A network answers to anything. A few statistics of shape and intensity, which do not depend on the
scale of the values or on the size in pixels, are compared with their ranges over the slices of
the training and validation patients. The check warns and never refuses; it cannot tell a good scan
from a bad one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.volume import FLAIR, Mask

WIDTH = 96
MOST_SLICES = 12
_OUTLINE = 0.25  # of the 95th percentile: above it is the object, below it its background
_DEAD = 0.02  # of the brightest channel: below it a channel holds nothing
_EDGE_STEPS = 4  # of erosion: what remains of the outline is its core
_UNUSUAL = 3  # statistics beyond their inner bounds that together are a doubt
_NONE = 9.0  # a ratio whose denominator is no part of the picture

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PlausibilitySettings:
    """Four bounds of each statistic, in rising order, or the two outer ones alone.

    A slice is doubted where a statistic is beyond the outer bounds, or three are beyond the inner.
    Inner: the quantiles 0.002 and 0.998 over the slices of training and validation patients that
    hold a head; outer: 1.4 times as far from the median. The lean has outer bounds alone, which
    no head comes near.

    Of FLAIR at a width of 96 pixels. Shape of its largest object: frame: share of the picture's
    border that it covers; outside: mean beside it over the median in it; solidity: of its convex
    hull that it fills; oval: axes' ratio; ellipse: its area over that of the ellipse of its
    moments; lean: skewness of its rows. Intensity in its core: median, over the bright level;
    dark: 5th percentile, spread: 10th to 90th, rim: 90th of the outline's edge, each over the
    median; mode: share of the fullest of 32 levels; rough: mean step between neighbours over the
    deviation; flat: share of steps below 0.004; tail: mean step over its root mean square; mirror:
    correlation with the mirror image; grain: mean step over that of the picture smoothed by a
    Gaussian of 1 pixel, as speckle has it. agree: lowest correlation of two channels.
    """

    frame: tuple[float, ...] = (0.0, 0.0, 0.768, 1.08)
    outside: tuple[float, ...] = (-0.0227, 0.00275, 0.534, 0.721)
    solidity: tuple[float, ...] = (0.265, 0.469, 0.995, 1.0)
    oval: tuple[float, ...] = (0.114, 0.312, 0.989, 1.06)
    ellipse: tuple[float, ...] = (0.125, 0.374, 0.999, 1.0)
    lean: tuple[float, ...] = (-2.0, 4.0)
    median: tuple[float, ...] = (0.0657, 0.154, 0.842, 1.03)
    dark: tuple[float, ...] = (-0.0373, 0.057, 0.804, 1.01)
    spread: tuple[float, ...] = (0.0162, 0.301, 3.68, 4.75)
    rim: tuple[float, ...] = (0.156, 0.781, 5.83, 7.23)
    mode: tuple[float, ...] = (0.0194, 0.0567, 0.43, 0.542)
    rough: tuple[float, ...] = (0.0731, 0.156, 0.544, 0.617)
    flat: tuple[float, ...] = (0.0132, 0.0339, 0.198, 0.242)
    tail: tuple[float, ...] = (0.399, 0.465, 0.784, 0.845)
    mirror: tuple[float, ...] = (-0.253, -0.0368, 0.969, 1.16)
    agree: tuple[float, ...] = (-0.869, -0.441, 1.0, 1.15)
    grain: tuple[float, ...] = (0.947, 1.24, 3.79, 4.52)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def find_doubts(pixels: npt.NDArray[Any], settings: PlausibilitySettings) -> tuple[str, ...]:
    """Why a volume (S, H, W, 3) of any real type does not look like brain MRI; empty if it does.

    It is doubted where most of its slices are; of a long volume, twelve evenly spaced ones are
    measured. The one line names the statistics that are out of range most often.
    """
    chosen = np.unique(np.linspace(0, len(pixels) - 1, min(len(pixels), MOST_SLICES)).round())
    found = [judge_slice(pixels[int(index)], settings) for index in chosen]
    doubted = [names for names in found if names]
    if 2 * len(doubted) <= len(found):
        return ()
    counted = sorted({n: sum(n in names for names in doubted) for names in doubted for n in names})
    often = max(sum(name in names for names in doubted) for name in counted)
    most = [n for n in counted if 2 * sum(n in names for names in doubted) > often][:4]
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
        "outside": float(beside.mean()) / median if beside.size > 20 else _NONE,
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
    for turned in (False, True):
        ours = plane.T if turned else plane
        where, inner = (outline.T, core.T) if turned else (outline, core)
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
