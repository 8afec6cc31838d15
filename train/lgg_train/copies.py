"""Slices that stand twice in the data, as they are, mirrored or turned by quarters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from lgg_runtime.volume import Pixels, Volume

# Of one value at least so much: the rest may be a letter for the side, which all patients share.
_EMPTY = 0.99


class Place(NamedTuple):
    """A slice's patient and its name."""

    patient: str
    name: str


Copies = dict[tuple[str, str], list[tuple[Place, Place]]]


def find_copies(volumes: Iterable[tuple[str, Volume]]) -> Copies:
    """Slices that are one picture, by the two patients that hold them, or a patient and itself.

    volumes: each patient's. Slices that are nearly empty, as beyond the head, are copies of none.
    """
    first_of: dict[bytes, tuple[Place, Pixels]] = {}
    copies: Copies = defaultdict(list)
    for place, pixels in _list_slices(volumes):
        values = np.bincount(pixels.ravel(), minlength=256)
        if values.max() > _EMPTY * pixels.size:
            continue
        # However it is turned, a picture has as many pixels of each value.
        first, shown = first_of.setdefault(values.tobytes(), (place, pixels))
        if first is not place and _is_copy(shown, pixels):
            copies[first.patient, place.patient].append((first, place))
    return copies


def _list_slices(volumes: Iterable[tuple[str, Volume]]) -> Iterator[tuple[Place, Pixels]]:
    for patient, volume in volumes:
        for name, pixels in zip(volume.names, volume.pixels, strict=True):
            yield Place(patient, name), pixels


def _is_copy(one: Pixels, other: Pixels) -> bool:
    return any(
        np.array_equal(one, np.rot90(side, quarters))
        for side in (other, other[:, ::-1])
        for quarters in range(4)
    )
