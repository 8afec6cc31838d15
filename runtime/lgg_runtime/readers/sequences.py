"""The three sequences of a scan on FLAIR's grid: what the readers of scans share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError
from lgg_runtime.grid import plane_of
from lgg_runtime.readers.resample import Lattice, coverage, is_same, resample

ROLES = ("t1", "flair", "t1c")  # in the order of a volume's channels
# Less of the FLAIR volume than this inside a T1 sequence, and FLAIR takes its place.
LEAST_COVERAGE = 0.9
AS_ASKED = "FLAIR in the place of the other sequences, as asked"


class NoFitError(InputError):
    """A sequence whose geometry does not allow its use beside FLAIR."""


def fit(
    read: Callable[[], npt.NDArray[Any]], name: str, source: Lattice, flair: Lattice, extra: str
) -> tuple[npt.NDArray[Any], bool]:
    """A sequence's pixels (S, H, W) on FLAIR's voxels, and whether they were resampled for that.

    read: gives the pixels on their own grid, `source`; not called for what does not fit. name: of
    the sequence, for the error. extra: the one that installs SimpleITK for the caller's format.
    Raises NoFitError for a sequence that covers too little of FLAIR.
    """
    if is_same(source, flair):
        return read(), False
    share = coverage(source, flair)
    if share < LEAST_COVERAGE:
        raise NoFitError(f"{name} covers {int(100 * share)}% of FLAIR")
    return resample(read(), source, flair, extra), True


def note_plane(what: str, affine: npt.NDArray[np.float64]) -> list[str]:
    """The note on slices that are not axial, none on those that are."""
    plane = plane_of(affine)
    if plane.endswith("axial"):
        return []
    return [f"{what} {plane}, segmented in axial reformats; unvalidated"]


def name_slices(count: int) -> tuple[str, ...]:
    return tuple(f"slice_{number:03d}" for number in range(1, count + 1))
