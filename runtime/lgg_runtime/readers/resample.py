"""One sequence onto the grid of another, with SimpleITK."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.extras import import_extra
from lgg_runtime.volume import Mask

# A grid is the same where corners lie within this fraction of a voxel of each other.
SAME_GRID = 0.05
_NO_MEMORY = "Failed to allocate memory"


@dataclass(frozen=True)
class Lattice:
    """Where the voxels of a volume lie: affine (4, 4), (slice, row, column) to mm; its shape."""

    affine: npt.NDArray[np.float64]
    shape: tuple[int, int, int]

    def points(self, fractions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """World positions (N, 3) of fractions (N, 3) of the way from first to last voxel."""
        voxels = fractions * (np.array(self.shape) - 1)
        return np.asarray(voxels @ self.affine[:3, :3].T + self.affine[:3, 3])

    def voxels(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Voxel coordinates (N, 3) of world positions (N, 3)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3], np.float64)


def is_same(one: Lattice, other: Lattice) -> bool:
    """Whether the shapes are equal and the corners lie within SAME_GRID voxels of each other."""
    if one.shape != other.shape:
        return False
    corners = np.array(list(product((0.0, 1.0), repeat=3)))
    voxels = corners * (np.array(one.shape) - 1)
    return bool(np.abs(one.voxels(other.points(corners)) - voxels).max() <= SAME_GRID)


def coverage(of: Lattice, over: Lattice, where: Mask) -> float:
    """Fraction of the voxels of `over`, of those that are True in `where` (S, H, W), which some
    are, whose centres lie within `of`.
    """
    to = np.linalg.inv(of.affine) @ over.affine
    rows, columns = np.ogrid[: over.shape[1], : over.shape[2]]
    edge = 0.5 + SAME_GRID
    count = 0
    for index in range(over.shape[0]):  # one at a time, for the memory's sake
        inside: npt.NDArray[np.bool_] = np.ones(over.shape[1:], bool)
        for (per_slice, per_row, per_column, start), size in zip(to[:3], of.shape, strict=True):
            voxels = (start + per_slice * index + per_row * rows) + per_column * columns
            inside &= (voxels >= -edge) & (voxels <= size - 1 + edge)
        count += int(np.count_nonzero(inside & where[index]))
    return count / int(np.count_nonzero(where))


def resample(
    pixels: npt.NDArray[Any], source: Lattice, target: Lattice, extra: str
) -> npt.NDArray[np.float32]:
    """(S, H, W) linearly interpolated onto the target's voxels, float32.

    Outside of the source it is air: 0, or the source's minimum where that is less.
    extra: the one that installs SimpleITK for the caller's format. Raises MemoryError.
    """
    sitk = import_extra("SimpleITK", extra)
    try:
        return _resample(sitk, pixels, source, target)
    except RuntimeError as error:  # SimpleITK's only kind
        if _NO_MEMORY in str(error):
            raise MemoryError from error
        raise


def _resample(
    sitk: Any, pixels: npt.NDArray[Any], source: Lattice, target: Lattice
) -> npt.NDArray[np.float32]:
    reference = _image(sitk, np.zeros((1, 1, 1), np.float32), target)
    resampler = sitk.ResampleImageFilter()
    resampler.SetOutputSpacing(reference.GetSpacing())
    resampler.SetOutputDirection(reference.GetDirection())
    resampler.SetOutputOrigin(reference.GetOrigin())
    resampler.SetSize([int(n) for n in reversed(target.shape)])
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetDefaultPixelValue(min(0.0, float(pixels.min())))
    moved = resampler.Execute(_image(sitk, pixels.astype(np.float32), source))
    return np.asarray(sitk.GetArrayFromImage(moved), np.float32)


def _image(sitk: Any, pixels: npt.NDArray[np.float32], lattice: Lattice) -> Any:
    """ITK counts axes column, row, slice, and its world is LPS."""
    image = sitk.GetImageFromArray(pixels)
    axes = lattice.affine[:3, [2, 1, 0]]
    lengths = np.linalg.norm(axes, axis=0)
    image.SetSpacing(lengths.tolist())
    image.SetDirection((axes / lengths).ravel().tolist())
    image.SetOrigin(lattice.affine[:3, 3].tolist())
    return image
