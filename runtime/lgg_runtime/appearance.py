"""What a slice looks like in numbers: a few statistics of its shape and its intensities, which do
not depend on the scale of the values or on the size in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.volume import FLAIR, Mask

WIDTH = 96
_OUTLINE = 0.25  # of the 95th percentile: above it is the object, below it its background
_DEAD = 0.02  # of the brightest channel: below it a channel holds nothing
_EDGE_STEPS = 4  # of erosion: what remains of the outline is its core
_NOTHING_OUTSIDE = 9.0  # recorded as `outside` where the hull leaves no background

Plane = npt.NDArray[np.float32]


def measure_slice(pixels: npt.NDArray[Any]) -> dict[str, float] | None:
    """The statistics of a slice (H, W, 3) of any real type, by name; None without contrast.

    All but `agree` are of FLAIR, its longer side 96 pixels, in units of its 99.5th percentile.
    Outline: the largest object brighter than a quarter of the 95th percentile, holes filled.
    Core: the outline eroded by 4 pixels, or all of it where next to nothing would remain. Step:
    absolute difference of neighbouring pixels of the core. What each name stands for is written
    at its bounds, in `plausibility.PlausibilitySettings`.
    """
    levels = _bring_to_levels(pixels)
    if levels is None:
        return None
    plane = np.ascontiguousarray(levels[..., _base_channel(levels)])
    smooth = np.asarray(cv2.GaussianBlur(plane, (0, 0), 1.0), np.float32)
    outline = _find_outline(smooth)
    if outline is None:
        return None
    core = _erode(outline)
    return {
        **_measure_shape(plane, outline),
        **_measure_core(plane, outline, core),
        **_measure_texture(plane, smooth, core),
        "mirror": _mirror(plane, outline, core),
        "agree": min(_correlations(levels[core].T), default=1.0),
    }


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
    filled = outline.astype(np.uint8)
    border = np.ones(outline.shape, bool)
    border[2:-2, 2:-2] = False
    contours, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = _fill(cv2.convexHull(np.concatenate(contours)), outline.shape)
    moments = cv2.moments(filled, binaryImage=True)
    area = moments["m00"]
    across, both, down = (moments[name] / max(area - 1, 1) for name in ("mu20", "mu11", "mu02"))
    axes = np.linalg.eigvalsh(np.array([[across, both], [both, down]]))
    small, large = np.sqrt(np.maximum(axes, 1e-6))
    median = max(float(np.median(plane[outline])), 1e-3)
    beside = plane[~hull]
    return {
        "frame": float(outline[border].mean()),
        "outside": float(beside.mean()) / median if beside.size > 20 else _NOTHING_OUTSIDE,
        "solidity": area / max(int(np.count_nonzero(hull)), 1),
        "oval": float(small / large),
        "ellipse": float(area / max(4 * np.pi * small * large, 1)),
        "lean": moments["mu03"] / area / max((moments["mu02"] / area) ** 0.5, 1e-3) ** 3,
    }


def _measure_core(plane: Plane, outline: Mask, core: Mask) -> dict[str, float]:
    values = plane[core]
    p5, p10, p50, p90 = (float(p) for p in np.percentile(values, (5, 10, 50, 90)))
    median = max(p50, 1e-2)
    edge = plane[outline & ~core]
    fullest = np.bincount(np.minimum(values * 32, 31).astype(int), minlength=32).max()
    return {
        "median": p50,
        "dark": p5 / median,
        "spread": (p90 - p10) / median,
        "rim": float(np.percentile(edge, 90)) / median if edge.size else 1.0,
        "mode": float(fullest) / values.size,
    }


def _measure_texture(plane: Plane, smooth: Plane, core: Mask) -> dict[str, float]:
    """smooth: the plane after a Gaussian of 1 pixel."""
    inside = core[1:] & core[:-1], core[:, 1:] & core[:, :-1]
    steps = _steps(plane, inside)
    if not steps.size:
        return {"rough": 0.0, "flat": 1.0, "tail": 0.0, "grain": 1.0}
    mean = float(steps.mean())
    root = float(np.sqrt(np.mean(steps**2)))
    return {
        "rough": mean / (float(plane[core].std()) + 0.01),
        "flat": float((steps < 0.004).mean()),
        "tail": mean / max(root, 1e-4),
        "grain": mean / (float(_steps(smooth, inside).mean()) + 1e-3),
    }


def _steps(plane: Plane, inside: tuple[Mask, Mask]) -> npt.NDArray[np.float32]:
    """Differences of neighbours, down and across, where both lie in the core."""
    down, across = inside
    steps = np.concatenate((np.diff(plane, axis=0)[down], np.diff(plane, axis=1)[across]))
    return np.asarray(np.abs(steps), np.float32)


def _mirror(plane: Plane, outline: Mask, core: Mask) -> float:
    """The better correlation of the core with its mirror image, left-right or up-down."""
    best = -1.0
    for ours, where, inner in ((plane, outline, core), (plane.T, outline.T, core.T)):
        centre = float(np.nonzero(where)[1].mean())
        flip = np.array([[-1, 0, 2 * centre], [0, 1, 0]], np.float32)
        size = (ours.shape[1], ours.shape[0])
        theirs = cv2.warpAffine(np.ascontiguousarray(ours), flip, size)
        both = inner & (cv2.warpAffine(inner.astype(np.uint8), flip, size) > 0)
        best = max([best, *_correlations((ours[both], theirs[both]))])
    return best


def _correlations(columns: Iterable[npt.NDArray[Any]]) -> Iterator[float]:
    """Pearson's, between every two columns that vary."""
    centred = [column.astype(np.float64) - column.mean() for column in columns if column.size > 20]
    lengths = [float(np.sqrt(column @ column)) for column in centred]
    for first, second in combinations(range(len(centred)), 2):
        # The standard deviations are above 0.001.
        if min(lengths[first], lengths[second]) > 1e-3 * len(centred[first]) ** 0.5:
            yield float(centred[first] @ centred[second]) / (lengths[first] * lengths[second])
