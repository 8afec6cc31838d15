"""One sequence onto the grid of another, with SimpleITK."""

from __future__ import annotations

from collections.abc import Sequence
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


def corners_of(shape: Sequence[int]) -> npt.NDArray[np.float64]:
    """The coordinates of a volume's corner voxels, (8, 4), each with the 1 that an affine takes."""
    ends = [(0, size - 1) for size in shape]
    return np.array([[*corner, 1] for corner in product(*ends)], np.float64)


def is_same(one: Lattice, other: Lattice) -> bool:
    """Whether the shapes are equal and the corners lie within SAME_GRID voxels of each other."""
    if one.shape != other.shape:
        return False
    apart = np.linalg.inv(one.affine) @ other.affine - np.eye(4)
    return bool(np.abs(corners_of(one.shape) @ apart.T).max() <= SAME_GRID)


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
