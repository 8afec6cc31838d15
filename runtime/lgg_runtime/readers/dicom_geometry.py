"""Frames in anatomical order, and the grid that they span; positions decide, never file names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError
from lgg_runtime.readers.dicom_frames import Frame
from lgg_runtime.readers.resample import Lattice

# Positions are decimal strings, often of a micrometre or a tenth of a percent of a step.
STEP_TOLERANCE = 0.02
# Fraction of a pixel by which slices may lie beside the line that the first and the last span, and
# of a step by which they may lie before or behind their places on it: small differences add up.
SHIFT_TOLERANCE = 0.25
DUPLICATE_MM = 0.01
# Fraction by which the PixelSpacing of slices may differ: half a pixel over 512 of them.
SPACING_TOLERANCE = 1e-3
# Planes beside a stack that are turned by more than this against it are its localizer.
TORN_DEGREES = 10.0


@dataclass(frozen=True)
class Grid:
    """Where the voxels lie, to LPS mm; spacing_mm between slices, rows and columns."""

    lattice: Lattice
    spacing_mm: tuple[float, float, float]


def sort_frames(frames: Sequence[Frame]) -> list[Frame]:
    """The frames in the order of their positions along the slice normal."""
    normal = frames[0].normal
    return sorted(frames, key=lambda frame: float(normal @ np.array(frame.position)))


def span_grid(frames: Sequence[Frame]) -> Grid:
    """The grid of sorted frames of one orientation and size.

    Raises InputError, with the reason alone, where they are one slice, differ in PixelSpacing,
    share a position, leave a gap, are irregular, or shifted against one another.
    """
    if len(frames) < 2:
        raise InputError("one slice alone; a volume needs two positions at least")
    first = frames[0]
    for frame in frames:
        if not np.allclose(frame.spacing, first.spacing, rtol=SPACING_TOLERANCE, atol=0):
            raise InputError(
                f"slices differ in PixelSpacing: {first.spacing} and {frame.spacing} mm; "
                "resample them onto one grid"
            )
    positions = np.array([frame.position for frame in frames])
    along = positions @ first.normal
    steps = np.diff(along)
    step = float(np.median(steps))
    _check_steps(frames, steps, step)
    direction = (positions[-1] - positions[0]) / (len(frames) - 1)
    off = positions - (positions[0] + np.arange(len(frames))[:, None] * direction)
    before = off @ first.normal
    _check_places(before, step)
    aside = np.linalg.norm(off - before[:, None] * first.normal, axis=1)
    tilt = np.linalg.norm(np.cross(direction, first.normal))
    if max(aside.max(), tilt * (len(frames) - 1)) > SHIFT_TOLERANCE * max(first.spacing) + 0.01:
        raise InputError("slices are shifted against one another; resample them onto one grid")
    affine = np.eye(4)
    affine[:3, 0] = direction
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing[0]
    affine[:3, 2] = np.array(first.orientation[:3]) * first.spacing[1]
    affine[:3, 3] = positions[0]
    spacing = (float(np.linalg.norm(direction)), first.spacing[0], first.spacing[1])
    return Grid(Lattice(affine, (len(frames), *first.size)), spacing)


def count_continuing(parts: Sequence[Sequence[Frame]]) -> list[int]:
    """For each of the parts of a series, how many frames the others have that continue it.

    They do with one frame that lies where its next slice would: a step beyond its first or last
    one, of its size, turned by TORN_DEGREES at most. parts: of parallel frames, sorted.
    """
    if not parts:
        return []
    normals = np.array([part[0].normal for part in parts])
    sizes = np.array([part[0].size for part in parts])
    counts = np.array([len(part) for part in parts])
    begins = np.cumsum(counts) - counts
    centres = np.array([_centre(frame) for part in parts for frame in part])
    continuing = []
    for index, normal in enumerate(normals):
        heights = centres @ normal
        own = heights[begins[index] :][: counts[index]]
        step = np.median(np.diff(own)) if len(own) > 1 else 0.0  # then none lies within a step
        beyond = np.maximum(own[0] - heights, heights - own[-1])
        is_next = np.logical_or.reduceat((beyond > 0.5 * step) & (beyond < 1.5 * step), begins)
        is_turned = np.abs(normals @ normal) < np.cos(np.radians(TORN_DEGREES))
        is_next &= (sizes == sizes[index]).all(axis=1) & ~is_turned
        is_next[index] = False
        continuing.append(int(counts[is_next].sum()))
    return continuing


def _centre(frame: Frame) -> npt.NDArray[np.float64]:
    rows, columns = frame.size
    down = np.array(frame.orientation[3:]) * frame.spacing[0] * (rows - 1) / 2
    right = np.array(frame.orientation[:3]) * frame.spacing[1] * (columns - 1) / 2
    return np.asarray(np.array(frame.position) + down + right, np.float64)


def _check_steps(frames: Sequence[Frame], steps: npt.NDArray[np.float64], step: float) -> None:
    shared = int((steps < DUPLICATE_MM).sum())
    if shared:
        raise InputError(
            f"{shared} of {len(frames)} slices share a position with another; "
            "choose one echo, repetition or reconstruction"
        )
    for index, found in enumerate(steps, start=1):
        if abs(found - step) <= STEP_TOLERANCE * step + DUPLICATE_MM:
            continue
        where = f"between slices {index} and {index + 1} of {len(frames)} lie {found:.2f} mm"
        times = found / step
        if times > 1.5 and abs(times - round(times)) < 0.1:
            missing = round(times) - 1
            raise InputError(f"a gap: {where}, elsewhere {step:.2f} mm; {missing} missing")
        raise InputError(f"irregular spacing: {where}, elsewhere {step:.2f} mm")


def _check_places(off: npt.NDArray[np.float64], step: float) -> None:
    """off: how far each slice lies from its place among equal steps, along the normal."""
    index = int(np.abs(off).argmax())
    if (far := abs(float(off[index]))) > SHIFT_TOLERANCE * step:
        raise InputError(
            f"irregular spacing: slice {index + 1} of {len(off)} lies {far:.2f} mm from its place "
            f"among equal steps of about {step:.2f} mm"
        )
