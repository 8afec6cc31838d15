"""The stacks of a study: frames of one series that lie on each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lgg_runtime.errors import InputError
from lgg_runtime.grid import plane_of
from lgg_runtime.readers.dicom_frames import Frame
from lgg_runtime.readers.dicom_geometry import Grid, sort_frames, span_grid
from lgg_runtime.readers.dicom_recognition import is_derived, recognise

ROLE_NAMES = {"t1": "pre-contrast T1", "flair": "FLAIR", "t1c": "post-contrast T1"}
# Planes of a series that are fewer than this beside a larger stack of it are its localizer.
SMALLEST_STACK = 4
# Direction cosines of one stack are equal but for this: scanners round them, slice by slice.
ORIENTATION_TOLERANCE = 0.01


@dataclass(frozen=True)
class SeriesChoice:
    """What a person chose by hand; all empty leaves it to the rules.

    series_uids: read no other series; flair, t1, t1c: a SeriesNumber or a SeriesInstanceUID.
    """

    series_uids: tuple[str, ...] = ()
    flair: str | None = None
    t1: str | None = None
    t1c: str | None = None


@dataclass(frozen=True, eq=False)
class Stack:
    """Sorted frames of one series, orientation, size and frame of reference."""

    frames: tuple[Frame, ...]
    role: str | None

    @property
    def first(self) -> Frame:
        return self.frames[0]

    @property
    def uid(self) -> str:
        return str(self.first.header.get("SeriesInstanceUID", ""))

    @property
    def number(self) -> str:
        """SeriesNumber, '?' where it is not a number: it is printed, and may hold any text."""
        try:
            return str(int(str(self.first.get("SeriesNumber"))))
        except ValueError:
            return "?"

    @property
    def frame_of_reference(self) -> str:
        return str(self.first.header.get("FrameOfReferenceUID", ""))

    def grid(self) -> Grid:
        """Raises InputError, `series N: reason`, where the frames span none."""
        try:
            return span_grid(self.frames)
        except InputError as error:
            raise InputError(f"series {self.number}: {error}") from error

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
    """Group frames by series, frame of reference, size and orientation.

    Also returns the number of frames dropped as localizers and derived pictures.
    """
    groups: dict[tuple[Any, ...], list[list[Frame]]] = defaultdict(list)
    for frame in frames:
        header = frame.header
        key = (
            str(header.get("SeriesInstanceUID", "")),
            str(header.get("FrameOfReferenceUID", "")),
            frame.size,
        )
        for group in groups[key]:
            if _are_parallel(frame, group[0]):
                group.append(frame)
                break
        else:
            groups[key].append([frame])
    largest: dict[str, int] = defaultdict(int)
    for key, parallel in groups.items():
        largest[key[0]] = max(largest[key[0]], *map(len, parallel))
    stacks, dropped = [], 0
    ordered = sorted(
        ((key, group) for key, parallel in groups.items() for group in parallel),
        key=lambda item: (item[0], item[1][0].orientation),
    )
    for key, group in ordered:
        is_remainder = len(group) < SMALLEST_STACK and len(group) < largest[key[0]]
        if is_remainder or is_derived(group[0]):
            dropped += len(group)
        else:
            stacks.append(Stack(tuple(sort_frames(group)), recognise(group[0])))
    return stacks, dropped


def _are_parallel(one: Frame, other: Frame) -> bool:
    pairs = zip(one.orientation, other.orientation, strict=True)
    return all(abs(a - b) <= ORIENTATION_TOLERANCE for a, b in pairs)
