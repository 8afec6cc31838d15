"""Clean-up of a thresholded volume: small 3-D components away from the main finding go."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.plural import count
from lgg_runtime.volume import Mask


@dataclass(frozen=True)
class CleanupSettings:
    """Which 3-D components stay; the values are chosen on patients that did not train.

    smallest_fraction: a component stays if it has at least this fraction of the voxels of the
        volume's largest one; 0 keeps all, 1 keeps the largest alone.
    smallest_voxels: components with fewer voxels go, the largest one too.
    """

    smallest_fraction: float = 0.0
    smallest_voxels: int = 0

    def describe(self) -> str:
        """For a person: which components stay."""
        fraction, least = self.smallest_fraction, count(self.smallest_voxels, "voxel")
        if fraction == 1:
            enough = f", if it has at least {least}" if self.smallest_voxels else ""
            return f"the largest 3-D component stays{enough}"
        bounds = [f"{fraction:g} of the largest"] if fraction else []
        bounds += [least] if self.smallest_voxels else []
        if not bounds:
            return "none"
        return f"3-D components of at least {' and '.join(bounds)} stay"

    def keeps(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of a volume's components, of so many voxels each, stay: (N,) bool."""
        # Divided: 0.07 x 100 is a little more than 7.
        shares = sizes / sizes.max(initial=1)
        enough = sizes >= max(self.smallest_voxels, 1)
        return np.asarray(enough & (shares >= self.smallest_fraction))


def label_components(mask: Mask) -> tuple[npt.NDArray[np.int32], int]:
    """Label the connected components of a volume.

    mask: (S, H, W) bool. Pixels connect to their eight neighbours within a slice and to the
    same pixel of the slices before and after. Returns labels (S, H, W) int32, 0 for background
    and 1..n, and n.
    """
    labels = np.zeros(mask.shape, np.int32)
    where = _extent(mask)
    if where is None:
        return labels, 0
    labels[where], number = _label(mask[where])
    return labels, number


def component_sizes(mask: Mask) -> npt.NDArray[np.int64]:
    """Voxels of each component of `label_components`, (N,), in the order of their labels."""
    where = _extent(mask)
    if where is None:
        return np.zeros(0, np.int64)
    return np.bincount(_label(mask[where])[0].ravel())[1:]


def clean_up(mask: Mask, settings: CleanupSettings) -> Mask:
    """Drop the small components of a volume, (S, H, W) bool; the input is not changed."""
    return drop_small(mask, settings)[0]


def drop_small(mask: Mask, settings: CleanupSettings) -> tuple[Mask, float]:
    """`clean_up`, and the voxels of the largest component that it drops as a fraction of the
    volume's largest one, 0 where all stay.
    """
    where = _extent(mask)
    if where is None:
        return mask.copy(), 0.0
    labels, _ = _label(mask[where])
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    keeps = settings.keeps(sizes)
    stays: Mask = np.zeros(mask.shape, bool)
    stays[where] = keeps[labels]
    return stays, float(sizes[~keeps].max() / sizes.max())


def _extent(mask: Mask) -> tuple[slice, ...] | None:
    """The part of a volume that holds every True, mostly a small one; None without any."""
    flat = np.asarray(mask.any(axis=0))
    sides = (mask.any(axis=(1, 2)), flat.any(axis=1), flat.any(axis=0))
    if not sides[0].any():
        return None
    held = map(np.flatnonzero, sides)
    return tuple(slice(int(places[0]), int(places[-1]) + 1) for places in held)


def _label(mask: Mask) -> tuple[npt.NDArray[np.int32], int]:
    labels = np.zeros(mask.shape, np.int32)
    total = 0
    pairs: list[npt.NDArray[np.int32]] = []
    for index, plane in enumerate(mask):
        if not plane.any():
            continue
        number, found = cv2.connectedComponents(plane.astype(np.uint8), connectivity=8)
        labels[index] = np.where(found > 0, found + total, 0)
        total += number - 1
        if index and mask[index - 1].any():
            both = plane & mask[index - 1]
            touching = np.stack((labels[index - 1][both], labels[index][both]), axis=1)
            # Neighbours mostly touch the same pair: to drop those that repeat is enough, and a
            # tenth of the time of sorting them.
            is_new = np.ones(len(touching), bool)
            is_new[1:] = (touching[1:] != touching[:-1]).any(axis=1)
            pairs.append(touching[is_new])
    parent = np.arange(total + 1, dtype=np.int32)
    for first, second in np.concatenate(pairs) if pairs else ():
        a, b = _root(parent, first), _root(parent, second)
        parent[max(a, b)] = min(a, b)
    roots = np.array([_root(parent, label) for label in range(total + 1)], np.int32)
    _, numbered = np.unique(roots, return_inverse=True)
    return np.asarray(numbered[labels], np.int32), int(numbered.max(initial=0))


def _root(parent: npt.NDArray[np.int32], label: int) -> int:
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return int(label)
