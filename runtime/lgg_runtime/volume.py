"""The two values that travel through the runtime: a volume goes in, a segmentation comes out."""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError

CHANNELS = ("pre-contrast", "FLAIR", "post-contrast")
FLAIR = CHANNELS.index("FLAIR")
# Of the largest value: float32 rounds smaller ones away and does not hold larger ones.
_LEAST, _MOST = 1e-30, 1e30
# What the readers take; a spacing that needs more on the model's grid is no patient's.
MAX_SIDE = 4096
MAX_VOXELS = 1 << 27
# From this fraction of the largest component on, one that the clean-up dropped is told of.
LARGE_DROPPED = 0.25
# By how much of itself a spacing may differ from what the affine says: both come rounded.
_SAME_LENGTH = 0.01
# Of the directions of the axes: 1 where they are perpendicular, 0 where they lie in one plane.
_LEAST_DETERMINANT = 1e-3
_REAL = (int, float, np.integer, np.floating)

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Probability = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices of one study in anatomical order.

    pixels: (S, H, W, 3) uint8 or another real type; channels pre-contrast, FLAIR, post-contrast.
        On any scale, but air is about 0.
    names: one name a slice, for messages and file names.
    spacing_mm: distance between slices, rows and columns, or None where it is unknown: the affine's
        where that is given; kept as floats.
    affine: (4, 4), from (slice, row, column, 1) to mm leftwards, backwards and upwards of the
        patient (LPS, as DICOM has it), or None where it is unknown; kept as float64.
    source: what a writer needs of the files that were read to refer to them, None for pictures.
    notes: what was decided while reading, without patient data.
    Raises InputError when the shape is not that of a volume, an array is masked, a value is no
    finite number, spacing_mm or affine is invalid or they contradict each other, or of a channel
    of floats that are not all 0, the largest absolute value is below 1e-30 or above 1e30.
    """

    pixels: npt.NDArray[np.generic]
    names: tuple[str, ...] = ()
    spacing_mm: tuple[float, float, float] | None = None
    affine: npt.NDArray[np.float64] | None = None
    source: object | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.pixels, np.ndarray):
            raise InputError(f"volume: expected an array, found {type(self.pixels).__name__}")
        shape = self.pixels.shape
        if len(shape) != 4 or shape[3] != len(CHANNELS) or 0 in shape:
            raise InputError(f"volume: expected (slices, rows, columns, 3), found {shape}")
        _require_numbers(self.pixels)
        if not isinstance(self.names, (tuple, list)):
            raise InputError(f"volume: expected a tuple of names, found {self.names!r}")
        if self.names and len(self.names) != shape[0]:
            raise InputError(f"volume: {shape[0]} slices but {len(self.names)} names")
        spacing = self.spacing_mm
        if spacing is not None:
            object.__setattr__(self, "spacing_mm", _read_lengths(spacing))
        if self.affine is not None and not _is_placement(self.affine):
            raise InputError(
                "volume: expected an affine as a (4, 4) array whose axes have a length and span a "
                "volume, and whose last row is 0, 0, 0, 1"
            )
        if self.affine is not None:
            object.__setattr__(self, "affine", self.affine.astype(np.float64))
            lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
            if spacing is None:
                object.__setattr__(self, "spacing_mm", tuple(lengths.tolist()))
            elif not np.allclose(lengths, spacing, rtol=_SAME_LENGTH, atol=0):
                placed = ", ".join(f"{length:g}" for length in lengths)
                raise InputError(
                    f"volume: spacing {tuple(spacing)} is not that of its affine, ({placed}); "
                    "both are of slices, rows and columns, in mm"
                )

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    def __repr__(self) -> str:
        """Without the pixels, and without the source, which holds a DICOM study's patient."""
        shape, kind = self.pixels.shape, self.pixels.dtype
        return f"Volume(shape={shape}, dtype={kind}, spacing_mm={self.spacing_mm})"


def _require_numbers(pixels: npt.NDArray[Any]) -> None:
    # What the mask hides would be computed with. Who has such an array has loaded numpy.ma; no run
    # of the command has to.
    if "numpy.ma" in sys.modules and isinstance(pixels, np.ma.MaskedArray):
        raise InputError("volume: expected an array without a mask; fill it")
    if pixels.dtype.kind not in "uif":
        raise InputError(f"volume: expected real numbers, found {pixels.dtype}")
    if pixels.dtype.kind == "f":
        for channel in np.moveaxis(pixels, -1, 0):
            _require_magnitude(float(max(channel.max(), -channel.min())))


def _require_magnitude(largest: float) -> None:
    if not math.isfinite(largest):
        raise InputError("volume: expected finite numbers, found NaN or infinity")
    if largest != 0 and not _LEAST <= largest <= _MOST:
        raise InputError(
            f"volume: expected values whose largest is from {_LEAST} to {_MOST}, "
            f"found {largest:.3g}"
        )


def _read_lengths(spacing: object) -> tuple[float, ...]:
    """In float64: sums and products in the type of some would overflow. Raises InputError."""
    is_row = not isinstance(spacing, np.ndarray) or spacing.ndim == 1
    values = spacing if is_row and isinstance(spacing, (tuple, list, np.ndarray)) else ()
    if len(values) == 3 and all(isinstance(value, _REAL) for value in values):
        with contextlib.suppress(OverflowError):  # of a larger int than a float holds
            lengths = tuple(map(float, values))
            if all(0 < length < math.inf for length in lengths):
                return lengths
    raise InputError(f"volume: expected a spacing of three lengths in mm, found {spacing}")


def _is_placement(affine: object) -> bool:
    if not isinstance(affine, np.ndarray) or affine.dtype.kind not in "uif":
        return False
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        return False
    affine = affine.astype(np.float64)  # numpy has no norm and no determinant of some types
    with np.errstate(over="ignore"):  # an infinite length spans nothing
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() <= 0 or affine[3].tolist() != [0, 0, 0, 1]:
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) > _LEAST_DETERMINANT)


def repeat_flair(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(S, H, W, 3) with FLAIR in the place of the other sequences."""
    return np.repeat(pixels[..., FLAIR : FLAIR + 1], len(CHANNELS), axis=-1)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What the model found in a volume.

    mask: (S, H, W) bool, after the decision threshold and the 3-D clean-up.
    probability: (S, H, W) float32 in 0..1, the model's, on the volume's own voxels.
    threshold: the probability at and above which a pixel is tumour before the clean-up.
    spacing_mm: as in the volume; doubts: why the volume does not look like the training data.
    dropped_fraction: voxels of the largest component that the clean-up dropped, as a fraction of
        the largest component's; 0 where all stay.
    """

    mask: Mask
    probability: Probability
    threshold: float
    spacing_mm: tuple[float, float, float] | None = None
    doubts: tuple[str, ...] = ()
    dropped_fraction: float = 0.0

    def __repr__(self) -> str:
        """Without the arrays."""
        return (
            f"Segmentation(shape={self.mask.shape}, tumour_present={self.tumour_present}, "
            f"volume_ml={self.volume_ml}, doubts={self.doubts}, "
            f"dropped_fraction={self.dropped_fraction:.6g})"
        )

    @property
    def drops_much(self) -> bool:
        """Whether the clean-up dropped what may be tumour."""
        return self.dropped_fraction >= LARGE_DROPPED

    @property
    def tumour_present(self) -> bool:
        return bool(self.mask.any())

    @property
    def pixel_area_mm2(self) -> float | None:
        return None if self.spacing_mm is None else self.spacing_mm[1] * self.spacing_mm[2]

    @property
    def volume_ml(self) -> float | None:
        """Tumour volume in millilitres, None where the spacing is unknown."""
        if self.spacing_mm is None:
            return None
        return float(self.mask.sum()) * float(np.prod(self.spacing_mm)) / 1000.0


def describe_drop(fraction: float, tumour_present: bool) -> str:
    """What a clean-up dropped that `drops_much`, in words. fraction: as `dropped_fraction`;
    tumour_present: whether anything stayed.
    """
    region = f"a region of {fraction:.2f} times the largest one's size"
    return region if tumour_present else "all that was found"
