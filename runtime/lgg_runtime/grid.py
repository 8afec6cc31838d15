"""The grid that the model works on, and the way back from it.

The network saw axial slices, the nose up and the patient's right on the left, of one scale. A
volume that knows where it lies is turned so, without interpolation, and its slices are resampled
in their plane alone; probabilities come back onto the volume's own voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.contract import TRAINED_PIXEL_MM
from lgg_runtime.errors import InputError
from lgg_runtime.volume import MAX_SIDE, MAX_VOXELS, Mask, Probability, Volume

# Within this fraction of the model's scale slices are taken as they are: heads in the training
# data vary as much.
SCALE_TOLERANCE = 0.15
# Below a 32nd of the model's pixel, 4096 pixels would not span a head.
LEAST_SCALE = 1 / 32
MOST_SLICE_MM = 100.0

_AXIAL = (2, 1, 0)  # world axis (0 leftwards, 1 backwards, 2 upwards) of slices, rows, columns
# Where each world axis comes from, and where it leads to.
_SIDES = (("right", "left"), ("front", "back"), ("feet", "head"))


@dataclass(frozen=True)
class ModelGrid:
    """How a volume's voxels (slice, row, column) become the model's, and back.

    axes: the volume's axis that is the model's slice, row and column axis.
    flipped: whether each of the model's axes runs against the volume's.
    shape: of the volume, (S, H, W).
    size: rows and columns of the model's slices.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    shape: tuple[int, int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, volume: Volume, pixel_mm: float = TRAINED_PIXEL_MM) -> ModelGrid:
        """The grid for a volume; as it is where its place or its spacing is unknown.

        pixel_mm: side of the model's pixels, the contract's. Raises InputError, the reason alone,
        for a spacing that would make too many or next to none of them of a slice.
        """
        shape = volume.pixels.shape[:3]
        axes, flipped = (0, 1, 2), (False, False, False)
        if volume.affine is not None:
            axes, flipped = _towards_axial(volume.affine)
        size = [shape[axis] for axis in axes[1:]]
        if volume.spacing_mm is not None:
            spacing = [volume.spacing_mm[axis] for axis in axes[1:]]
            _check_spacing(shape[axes[0]], size, spacing, pixel_mm)
            if not (between := volume.spacing_mm[axes[0]]) <= MOST_SLICE_MM:
                raise InputError(
                    f"slices {between:g} mm apart: expected at most {MOST_SLICE_MM:g}; "
                    "correct its spacing"
                )
            size = [_scaled(n, mm / pixel_mm) for n, mm in zip(size, spacing, strict=True)]
        return cls(axes, flipped, shape, (size[0], size[1]))

    @property
    def is_identity(self) -> bool:
        return self.axes == (0, 1, 2) and not any(self.flipped) and self.size == self.shape[1:]

    def to_model(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(S, H, W, 3) of the volume to (S', H', W', 3) of the model's grid.

        Integers of more than 16 bits become float32 where slices are resampled.
        """
        turned = np.flip(pixels.transpose(*self.axes, 3), self._flips())
        if turned.shape[1:3] == self.size:
            return np.ascontiguousarray(turned)
        if turned.dtype not in (np.uint8, np.uint16, np.int16, np.float32):
            turned = turned.astype(np.float32)
        return np.stack([_resize(plane, self.size) for plane in turned])

    def to_volume(self, values: Probability) -> Probability:
        """(S', H', W') float32 on the model's grid to (S, H, W) on the volume's."""
        turned = [self.shape[axis] for axis in self.axes]
        size = (turned[1], turned[2])
        if values.shape[1:] != size:
            values = np.stack([_resize(plane, size) for plane in values])
        back = np.flip(values, self._flips()).transpose(*np.argsort(self.axes))
        return np.ascontiguousarray(back)

    def bring_back(
        self, mask: Mask, probability: Probability, threshold: float
    ) -> tuple[Mask, Probability]:
        """Mask and probability of the model's grid, (S', H', W'), on the volume's, (S, H, W).

        The mask is where the interpolated probability of what stayed in `mask` reaches the
        threshold, so that edges are as smooth as the model drew them.
        """
        if self.is_identity:
            return mask, probability
        dropped = (probability >= threshold) & ~mask
        stayed = np.where(dropped, np.float32(0), probability)
        return self.to_volume(stayed) >= threshold, self.to_volume(probability)

    def _flips(self) -> tuple[int, ...]:
        return tuple(axis for axis, against in enumerate(self.flipped) if against)


def plane_of(affine: npt.NDArray[np.float64]) -> str:
    """axial, coronal or sagittal, by the slice axis; `oblique` before it beyond 10 degrees.

    affine: (slice, row, column) to LPS; (3, 3) suffices, of any lengths.
    """
    axes, _ = _towards_axial(affine)
    plane = ("axial", "coronal", "sagittal")[axes.index(0)]
    along = np.abs(affine[:3, 0]) / np.linalg.norm(affine[:3, 0])
    return plane if along.max() > np.cos(np.deg2rad(10)) else f"oblique {plane}"


def sides_of(affine: npt.NDArray[np.float64]) -> tuple[str, str]:
    """The patient's side that lies on the left of a slice's picture, and the one at its top.

    affine: as in `plane_of`.
    """
    axes, against = _towards_axial(affine)
    left, top = (axes.index(axis) for axis in (2, 1))
    return _SIDES[_AXIAL[left]][against[left]], _SIDES[_AXIAL[top]][against[top]]


def _towards_axial(
    affine: npt.NDArray[np.float64],
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Axes and flips that bring the voxel axes nearest to those of axial slices."""
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)

    def fit(axes: tuple[int, ...]) -> float:
        return float(sum(abs(cosines[w, a]) for w, a in zip(_AXIAL, axes, strict=True)))

    # The first of equals is the identity, so that a tilt of 45 degrees turns nothing.
    a, b, c = max(permutations(range(3)), key=lambda axes: round(fit(axes), 6))
    against = [bool(cosines[w, x] < 0) for w, x in zip(_AXIAL, (a, b, c), strict=True)]
    return (a, b, c), (against[0], against[1], against[2])


def _check_spacing(
    slices: int, size: Sequence[int], spacing_mm: Sequence[float], pixel_mm: float
) -> None:
    """size, spacing_mm: of the rows and columns that become the model's."""
    found = f"{size[0]} x {size[1]} pixels of {spacing_mm[0]:g} x {spacing_mm[1]:g} mm"
    if not min(spacing_mm) >= LEAST_SCALE * pixel_mm:
        raise InputError(
            f"{found}: expected {LEAST_SCALE * pixel_mm:.2g} mm or more; correct its spacing"
        )
    rows, columns = (n * mm / pixel_mm for n, mm in zip(size, spacing_mm, strict=True))
    if not (max(rows, columns) <= MAX_SIDE and slices * rows * columns <= MAX_VOXELS):
        raise InputError(
            f"{found} are {slices} slices of {rows:.5g} x {columns:.5g} of the model's "
            f"{pixel_mm:g} mm: expected at most {MAX_SIDE} a side and {MAX_VOXELS} voxels; "
            "correct its spacing"
        )


def _scaled(pixels: int, scale: float) -> int:
    if abs(scale - 1) <= SCALE_TOLERANCE:
        return pixels
    return max(1, round(pixels * scale))


def _resize(plane: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """(H, W) or (H, W, C) to other rows and columns over the same extent, one axis at a time.

    Shrinking averages, so that nothing thin is lost; growing interpolates.
    """
    rows, columns = size
    for target in ((plane.shape[1], rows), (columns, rows)):
        if target[0] < plane.shape[1] or target[1] < plane.shape[0]:
            whole = np.ascontiguousarray(plane)
            plane = cv2.resize(whole, target, interpolation=cv2.INTER_AREA)
        elif target != (plane.shape[1], plane.shape[0]):
            plane = _grow(plane, target)
    return plane


def _grow(plane: npt.NDArray[Any], target: tuple[int, int]) -> npt.NDArray[Any]:
    """In float32, integers rounded half to even: OpenCV's own way with 8 bits is a level off in a
    pixel of eight, otherwise along rows than along columns.
    """
    floats = plane.astype(np.float32, order="C")
    grown = cv2.resize(floats, target, interpolation=cv2.INTER_LINEAR)
    return grown if plane.dtype.kind == "f" else np.rint(grown).astype(plane.dtype)
