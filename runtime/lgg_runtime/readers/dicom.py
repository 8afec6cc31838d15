"""A DICOM study as a volume on its FLAIR series' own grid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError
from lgg_runtime.grid import plane_of
from lgg_runtime.readers.dicom_choice import Chosen, choose
from lgg_runtime.readers.dicom_files import read_header
from lgg_runtime.readers.dicom_frames import SOP_CLASSES, Frame, read_frames
from lgg_runtime.readers.dicom_geometry import Grid
from lgg_runtime.readers.dicom_pixels import read_pixels
from lgg_runtime.readers.dicom_series import ROLE_NAMES, ROLES, SeriesChoice, stack_frames
from lgg_runtime.readers.resample import Lattice, coverage, is_same, resample
from lgg_runtime.redact import without_uids
from lgg_runtime.volume import Volume

# Less of the FLAIR volume than this inside a T1 series, and FLAIR takes its place.
LEAST_COVERAGE = 0.9


@dataclass(frozen=True, eq=False)
class DicomSource:
    """The FLAIR frames that a volume was read from, in the volume's order."""

    frames: tuple[Frame, ...]

    @property
    def headers(self) -> list[Any]:
        """The data sets, one a file, in the order of their first slice."""
        return list({frame.path: frame.header for frame in self.frames}.values())


def read_dicom(files: Sequence[Path], choice: SeriesChoice | None = None) -> Volume:
    """Read the files of one study: FLAIR on its own grid, T1 before and after contrast on it.

    Objects that are no MR images are passed over. Values are those of the scanner after
    RescaleSlope: int16, uint16 or float32. Notes say what was used, replaced and dropped.
    Raises InputError for a damaged file, or a study with no usable FLAIR.
    """
    choice = choice or SeriesChoice()
    frames, notes = _read_frames(files, choice)
    stacks, dropped = stack_frames(frames)
    if dropped:
        notes.append(f"{dropped} localizer or derived frames dropped")
    chosen = choose(stacks, choice)
    grid = chosen.flair.grid()
    flair = read_pixels(chosen.flair.frames)
    plane = plane_of(grid.affine)
    notes.append(f"FLAIR is {chosen.flair.describe()}, {grid.spacing_mm[0]:.2f} mm apart")
    if not plane.endswith("axial"):
        notes.append(f"FLAIR is {plane}, segmented in axial reformats; unvalidated")
    pixels, more = _gather(flair, grid, chosen)
    names = tuple(f"slice_{number:03d}" for number in range(1, len(flair) + 1))
    source = DicomSource(chosen.flair.frames)
    return Volume(pixels, names, grid.spacing_mm, grid.affine, source, (*notes, *more))


def _read_frames(files: Sequence[Path], choice: SeriesChoice) -> tuple[list[Frame], list[str]]:
    frames: list[Frame] = []
    seen: dict[str, str] = {}
    others, copies = 0, 0
    for path in files:
        header = read_header(path)
        _refuse_cut(path, header)
        series = str(header.get("SeriesInstanceUID", ""))
        if choice.series_uids and series not in choice.series_uids:
            continue
        if str(header.get("SOPClassUID")) not in SOP_CLASSES:
            others += 1
            continue
        instance = str(header.get("SOPInstanceUID", ""))
        if instance in seen:
            if _digest(path) != seen[instance]:
                name = without_uids(path.name)
                raise InputError(f"{name}: another file has its SOPInstanceUID and other content")
            copies += 1
            continue
        seen[instance] = _digest(path)
        frames += read_frames(path, header)
    if not frames:
        raise InputError(
            "no MR image in it" + (" of the series chosen" if choice.series_uids else "")
        )
    told = ((others, "objects that are no MR images passed over"), (copies, "identical copies"))
    return frames, [f"{count} {what}" for count, what in told if count]


def _refuse_cut(path: Path, header: Any) -> None:
    """A file that ends between two attributes is no error to a parser."""
    claimed = header.file_meta.get("MediaStorageSOPClassUID")
    needed = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows")
    if claimed is None or (
        claimed in SOP_CLASSES and any(header.get(keyword) is None for keyword in needed)
    ):
        raise InputError(f"{without_uids(path.name)}: its DICOM header is cut short or damaged")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _gather(
    flair: npt.NDArray[Any], grid: Grid, chosen: Chosen
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """(S, H, W, 3) with FLAIR where a T1 is missing, and the notes on that."""
    notes = list(chosen.notes)
    target = Lattice(grid.affine, grid.shape)
    channels = []
    for role in ROLES:
        channel = flair
        if role in chosen.others:
            stack = chosen.others[role]
            t1_grid = stack.grid()
            source = Lattice(t1_grid.affine, t1_grid.shape)
            share = coverage(source, target)
            if share < LEAST_COVERAGE:
                what = f"{stack.describe()} covers {share:.0%} of FLAIR"
                notes.append(f"{what}; FLAIR in its place")
            else:
                channel = read_pixels(stack.frames)
                notes.append(f"{ROLE_NAMES[role]} is {stack.describe()}")
                if not is_same(source, target):
                    channel = resample(channel, source, target, "dicom")
                    notes[-1] += ", resampled onto FLAIR's grid"
        channels.append(channel)
    return np.stack(channels, axis=-1), tuple(notes)
