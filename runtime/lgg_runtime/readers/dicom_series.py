"""The stacks of a study: frames of one series that lie on each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lgg_runtime.errors import InputError, UsageError, naming
from lgg_runtime.grid import plane_of
from lgg_runtime.plural import count
from lgg_runtime.readers.dicom_frames import Frame
from lgg_runtime.readers.dicom_geometry import Grid, count_continuing, sort_frames, span_grid
from lgg_runtime.readers.dicom_recognition import UNTOLD_T1, is_derived, recognise

ROLE_NAMES = {
    "t1": "pre-contrast T1",
    "flair": "FLAIR",
    "t1c": "post-contrast T1",
    UNTOLD_T1: "T1, with or without contrast",
}
UNNUMBERED = "?"
# Planes of a series that are fewer than this beside a larger stack of it are its localizer.
SMALLEST_STACK = 4
# Direction cosines of one stack are equal but for this: scanners round them, slice by slice.
ORIENTATION_TOLERANCE = 0.01


@dataclass(frozen=True)
class SeriesChoice:
    """What a person chose by hand; all empty leaves it to the rules.

    series_uids: read no other series; flair, t1, t1c: a SeriesNumber or a SeriesInstanceUID.
    flair_only: read no T1 of any study. Raises UsageError for a T1 chosen all the same.
    """

    series_uids: tuple[str, ...] = ()
    flair: str | None = None
    t1: str | None = None
    t1c: str | None = None
    flair_only: bool = False

    def __post_init__(self) -> None:
        if self.flair_only and (self.t1 or self.t1c):
            raise UsageError("--flair-only reads no T1; leave --t1 and --t1c out")


@dataclass(frozen=True, eq=False)
class Stack:
    """Sorted frames of one series, orientation, size and frame of reference.

    torn: how many frames of the series continue them in another orientation or frame of reference.
    """

    frames: tuple[Frame, ...]
    role: str | None
    torn: int

    @property
    def first(self) -> Frame:
        return self.frames[0]

    @property
    def uid(self) -> str:
        return str(self.first.header.get("SeriesInstanceUID", ""))

    @property
    def number(self) -> str:
        """SeriesNumber, UNNUMBERED where it is no number: it is printed, and may hold any text."""
        try:
            return str(int(str(self.first.get("SeriesNumber"))))
        except ValueError:
            return UNNUMBERED

    @property
    def frame_of_reference(self) -> str:
        return str(self.first.header.get("FrameOfReferenceUID", ""))

    def grid(self) -> Grid:
        """Raises InputError, `series N: reason`, where the frames span none, or a part of one."""
        with naming(f"series {self.number}"):
            if self.torn:
                raise InputError(
                    f"{count(self.torn, 'slice continues', 'slices continue')} it in another "
                    "orientation or frame of reference; choose another series"
                )
            return span_grid(self.frames)

    @property
    def plane(self) -> str:
        row, column = self.first.orientation[:3], self.first.orientation[3:]
        return plane_of(np.column_stack((self.first.normal, column, row)))

    def describe(self) -> str:
        rows, columns = self.first.size
        kind = ROLE_NAMES.get(self.role or "", "another sequence")
        return (
            f"series {self.number} ({kind}, {self.plane}, {len(self.frames)} x {rows} x {columns})"
        )


def stack_frames(frames: Sequence[Frame]) -> tuple[list[Stack], int]:
    """Group frames by series, frame of reference, size, orientation and whether they are derived.

    Also returns the number of frames dropped as localizers and derived pictures.
    """
    alike: dict[tuple[Any, ...], list[Frame]] = defaultdict(list)
    # In an order of their own: the first one of a group decides which others are parallel to it.
    for frame in sorted(frames, key=lambda frame: frame.orientation):
        header = frame.header
        key = (
            str(header.get("SeriesInstanceUID", "")),
            str(header.get("FrameOfReferenceUID", "")),
            frame.size,
            is_derived(frame),
        )
        alike[key].append(frame)
    series: dict[str, list[list[Frame]]] = defaultdict(list)
    for key in sorted(alike):
        series[key[0]] += _part_by_orientation(alike[key])
    stacks = [stack for parts in series.values() for stack in _stack_parts(parts)]
    return stacks, len(frames) - sum(len(stack.frames) for stack in stacks)


def _stack_parts(parts: Sequence[Sequence[Frame]]) -> list[Stack]:
    """The stacks among the parallel frames of one series; small parts beside a larger are none."""
    least = min(SMALLEST_STACK, max(map(len, parts)))
    images = [sort_frames(part) for part in parts if not is_derived(part[0])]
    torn = count_continuing(images)
    return [
        Stack(tuple(part), recognise(part[0]), others)
        for part, others in zip(images, torn, strict=True)
        if len(part) >= least
    ]


def _part_by_orientation(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Parts of the frames that are parallel to their first, in the order of these.

    With whole arrays: a file may hold thousands of frames, each turned in its own way.
    """
    orientations = np.array([frame.orientation for frame in frames])
    left, parts = np.arange(len(frames)), []
    while len(left):
        apart = np.abs(orientations[left] - orientations[left[0]])
        is_parallel = (apart <= ORIENTATION_TOLERANCE).all(axis=1)
        parts.append([frames[index] for index in left[is_parallel]])
        left = left[~is_parallel]
    return parts
