"""The three sequences of a scan on FLAIR's grid: what the readers of scans share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError
from lgg_runtime.grid import plane_of, sides_of
from lgg_runtime.intensity import IntensitySettings, head_mask
from lgg_runtime.readers.resample import Lattice, coverage, is_same, resample
from lgg_runtime.volume import Mask

ROLES = ("t1", "flair", "t1c")  # in the order of a volume's channels
# Less of the head in FLAIR than this inside a T1 sequence, and FLAIR takes its place.
LEAST_COVERAGE = 0.9
AS_ASKED = "FLAIR in the place of the other sequences, as asked"
UNSIZED = "its voxels are of 1 mm from the origin 0, as where size and axes were not known"


class NoFitError(InputError):
    """A sequence whose geometry does not allow its use beside FLAIR."""


@dataclass(frozen=True, eq=False)
class Target:
    """FLAIR, onto whose voxels the other sequences are brought: its pixels (S, H, W)."""

    pixels: npt.NDArray[Any]
    lattice: Lattice

    @cached_property
    def head(self) -> Mask:
        """Where the head is, by the rule of the normalisation; everywhere without any signal."""
        head = head_mask(self.pixels[..., None], IntensitySettings())
        return head if head.any() else ~head


def fits(source: Lattice, target: Lattice, find_head: Callable[[], Mask]) -> bool:
    """Whether a sequence covers enough of the head in FLAIR. find_head: not called without need."""
    return is_same(source, target) or coverage(source, target, find_head()) >= LEAST_COVERAGE


def fit(
    read: Callable[[], npt.NDArray[Any]], name: str, source: Lattice, flair: Target, extra: str
) -> tuple[npt.NDArray[Any], bool]:
    """A sequence's pixels (S, H, W) on FLAIR's voxels, and whether they were resampled for that.

    read: gives the pixels on their own grid, `source`; not called for what does not fit. name: of
    the sequence, for the error. extra: the one that installs SimpleITK for the caller's format.
    Raises NoFitError for a sequence that covers too little of the head in FLAIR.
    """
    if is_same(source, flair.lattice):
        return read(), False
    share = coverage(source, flair.lattice, flair.head)
    if share < LEAST_COVERAGE:
        raise NoFitError(f"{name} covers {int(100 * share)}% of the head in FLAIR")
    return resample(read(), source, flair.lattice, extra), True


def note_view(what: str, affine: npt.NDArray[np.float64]) -> list[str]:
    """The notes on slices that are not axial, and on those whose pictures are not as radiology
    shows them: the patient's right or front on the left, the head or front at the top.
    """
    notes = []
    plane = plane_of(affine)
    if not plane.endswith("axial"):
        notes.append(f"{what} {plane}, segmented in axial reformats; unvalidated")
    left, top = sides_of(affine)
    if left not in ("right", "front") or top not in ("front", "head"):
        notes.append(f"pictures as stored: the patient's {left} on the left, {top} at the top")
    return notes


def name_slices(count: int) -> tuple[str, ...]:
    return tuple(f"slice_{number:03d}" for number in range(1, count + 1))
