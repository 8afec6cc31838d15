"""Synthetic patients as a scanner would place them: volumes with a world, and the truth in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.volume import Mask
from lgg_train.phantom import PhantomSettings, make_phantom

# The phantoms' unit of length; see the module that draws them.
UNIT_MM = 0.9
HEAD_UNITS = (188.0, 256.0, 256.0)

Affine = npt.NDArray[np.float64]

# Axes of an axial volume (upwards, backwards, leftwards) as slice, row and column axis, and
# whether each is turned round, so that slices run along row direction x column direction.
PLANES: dict[str, tuple[tuple[int, int, int], tuple[bool, bool, bool]]] = {
    "axial": ((0, 1, 2), (False, False, False)),
    "mirrored": ((0, 1, 2), (True, False, True)),
    "coronal": ((1, 0, 2), (False, True, False)),
    "sagittal": ((2, 0, 1), (True, True, False)),
    "oblique": ((0, 1, 2), (False, False, False)),
}
OBLIQUE_DEGREES = (17.0, -9.0, 24.0)


@dataclass(frozen=True)
class ScanSettings:
    """How a phantom is scanned.

    plane: of the slices; mirrored is axial with columns that run to the right, oblique is axial
        and turned about all three axes. anisotropic: columns twice as wide as rows.
    reversed: files numbered against the slice order. gap: one inner slice is missing.
    """

    plane: str = "axial"
    anisotropic: bool = False
    reversed: bool = False
    gap: bool = False


@dataclass(frozen=True, eq=False)
class Scan:
    """pixels: (S, H, W, 3); mask: (S, H, W); affine: (slice, row, column) to LPS mm."""

    pixels: npt.NDArray[Any]
    mask: Mask
    affine: Affine

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        s, r, c = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return s, r, c

    def truth(self) -> dict[str, Any]:
        """Where the lesion is: centroid in LPS mm, None without one; volume in mL; the grid."""
        voxels = np.argwhere(self.mask)
        centroid = None
        if len(voxels):
            centroid = (self.affine[:3, :3] @ voxels.mean(0) + self.affine[:3, 3]).tolist()
        return {
            "centroid_lps_mm": centroid,
            "volume_ml": float(len(voxels) * np.prod(self.spacing_mm) / 1000),
            "voxels": len(voxels),
            "shape": list(self.mask.shape),
            "affine_lps": self.affine.tolist(),
        }


def make_scan(index: int, phantoms: PhantomSettings, settings: ScanSettings) -> Scan:
    """Patient `index` of `make_phantom`, placed with the middle of the volume at 0 mm."""
    return place_scan(*make_phantom(index, phantoms), settings)


def place_scan(pixels: npt.NDArray[Any], mask: Mask, settings: ScanSettings) -> Scan:
    """Axial slices, base to top, nose up and the patient's right on the left, as a scan."""
    spacing = np.array(HEAD_UNITS) * UNIT_MM / mask.shape
    affine = np.eye(4)
    # The last axis runs leftwards, x; the first upwards, z.
    affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(mask.shape) - 1) / 2)
    scan = _turn(Scan(pixels, mask, affine), *PLANES[settings.plane])
    if settings.plane == "oblique":
        turned = scan.affine.copy()
        turned[:3] = _rotation(OBLIQUE_DEGREES) @ turned[:3]
        scan = replace(scan, affine=turned)
    return _widen(scan) if settings.anisotropic else scan


def _turn(scan: Scan, axes: tuple[int, int, int], turned: tuple[bool, bool, bool]) -> Scan:
    """Other axes over the same world."""
    affine = scan.affine.copy()
    affine[:3, :3] = scan.affine[:3, list(axes)]
    against = tuple(axis for axis in range(3) if turned[axis])
    for axis in against:
        affine[:3, 3] += affine[:3, axis] * (scan.mask.shape[axes[axis]] - 1)
        affine[:3, axis] *= -1
    pixels = np.flip(scan.pixels.transpose(*axes, 3), against)
    mask = np.flip(scan.mask.transpose(*axes), against)
    return Scan(np.ascontiguousarray(pixels), np.ascontiguousarray(mask), affine)


def _widen(scan: Scan) -> Scan:
    """Every second column, twice as wide."""
    affine = scan.affine.copy()
    affine[:3, 2] *= 2
    return Scan(scan.pixels[:, :, ::2], scan.mask[:, :, ::2], affine)


def _rotation(degrees: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        about = np.eye(3)
        about[one, one] = about[other, other] = np.cos(angle)
        about[one, other], about[other, one] = -np.sin(angle), np.sin(angle)
        matrix = about @ matrix
    return matrix
