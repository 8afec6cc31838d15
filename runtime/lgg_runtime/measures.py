"""Lengths of a mask in mm."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.volume import Mask


def axes_mm(mask: Mask, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Longest diameter within a slice, and the extent of that slice's mask perpendicular to it.

    mask: (S, H, W) bool. Both are between pixel centres of the slice's outline, of all components,
    plus one pixel's mean side, so that a single pixel has its own width. Zeros without a tumour.
    """
    best = (0.0, 0.0)
    pixel = float(np.mean(spacing_mm[1:]))
    for plane in mask:
        if not plane.any():
            continue
        points = _outline_mm(plane, spacing_mm)
        apart = points[:, None] - points[None]
        # Rounded, so that the last digit of a spacing does not choose between equal diameters.
        lengths = np.linalg.norm(apart, axis=-1).round(6)
        a, b = np.unravel_index(int(lengths.argmax()), lengths.shape)
        longest = float(lengths[a, b])
        if longest + pixel <= best[0]:
            continue
        across = 0.0
        if longest > 0:
            direction = apart[a, b] / longest
            side = points @ np.array((-direction[1], direction[0]))
            across = float(side.max() - side.min())
        best = (longest + pixel, across + pixel)
    return best


def _outline_mm(
    plane: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    """Corners of the convex hull of a slice's mask, (N, 2): columns, rows in mm."""
    rows, columns = np.nonzero(plane)
    hull = cv2.convexHull(np.stack((columns, rows), axis=1).astype(np.int32))
    scale = np.array((spacing_mm[2], spacing_mm[1]))
    return np.asarray(hull.reshape(-1, 2) * scale, np.float64)
