"""A DICOM study as a volume on its FLAIR series' own grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.digests import digest_file
from lgg_runtime.errors import InputError, UsageError
from lgg_runtime.plural import count
from lgg_runtime.readers.dicom_choice import ChoiceError, Chosen, FindHead, choose
from lgg_runtime.readers.dicom_files import CUT_HEADER, read_header, refusing_headers
from lgg_runtime.readers.dicom_frames import SOP_CLASSES, Frame, read_frames
from lgg_runtime.readers.dicom_pixels import read_pixels
from lgg_runtime.readers.dicom_series import ROLE_NAMES, SeriesChoice, Stack, stack_frames
from lgg_runtime.readers.same_image import is_same_image
from lgg_runtime.readers.sequences import ROLES, NoFitError, Target, fit, name_slices, note_view
from lgg_runtime.redact import without_uids
from lgg_runtime.volume import Volume


@dataclass(frozen=True, eq=False)
class DicomSource:
    """The FLAIR frames that a volume was read from, in the volume's order."""

    frames: tuple[Frame, ...]

    @property
    def headers(self) -> list[Any]:
        """The data sets, one a file, in the order of their first slice."""
        return list({frame.path: frame.header for frame in self.frames}.values())


def read_dicom(files: Iterable[Path | str], choice: SeriesChoice | None = None) -> Volume:
    """Read the files of one study: FLAIR on its own grid, T1 before and after contrast on it.

    Objects that are no MR images are passed over. Values are those of the scanner after
    RescaleSlope: whole numbers where no image has one and none is resampled, else floats. Notes
    say what was used, replaced and dropped.
    Raises InputError for a damaged file, or a study with no usable FLAIR, MemoryError where the
    memory does not suffice for the volume, UsageError for one path, such as a folder's.
    """
    if isinstance(files, (str, Path)):
        raise UsageError(f"files: expected a list of paths, found one {type(files).__name__}")
    paths = [Path(path) for path in files]
    # pydicom converts a value, and fails in its own ways, where it is first asked for.
    with refusing_headers("a DICOM header of it is damaged"):
        return _read_study(paths, choice or SeriesChoice())


def _read_study(files: Sequence[Path], choice: SeriesChoice) -> Volume:
    found = _read_frames(files, choice)
    notes = list(found.notes)
    stacks, dropped = stack_frames(found.frames)
    if dropped:
        notes.append(f"{dropped} localizer or derived frames dropped")
    notes += [f"a series is passed over: {error}" for error in found.unusable.values()]
    target_of = cache(_read_target)
    chosen = _choose(stacks, choice, found.unusable, lambda stack: target_of(stack).head)
    _refuse_two_patients(chosen)
    grid = chosen.flair.grid()
    target = target_of(chosen.flair)
    notes.append(f"FLAIR is {chosen.flair.describe()}, {grid.spacing_mm[0]:.2f} mm apart")
    notes += note_view("FLAIR is", grid.lattice.affine)
    pixels, more = _gather(target, chosen, choice)
    names, source = name_slices(len(pixels)), DicomSource(chosen.flair.frames)
    return Volume(pixels, names, grid.spacing_mm, grid.lattice.affine, source, (*notes, *more))


@dataclass(frozen=True)
class _Found:
    """What the files of a study hold.

    frames: of the MR images with a place. unusable: by SeriesInstanceUID, why an image has none.
    notes: how many files were passed over.
    """

    frames: list[Frame]
    unusable: dict[str, InputError]
    notes: list[str]


def _read_target(flair: Stack) -> Target:
    return Target(read_pixels(flair.frames), flair.grid().lattice)


def _choose(
    stacks: Sequence[Stack],
    choice: SeriesChoice,
    unusable: dict[str, InputError],
    find_head: FindHead,
) -> Chosen:
    """Choose the stacks.

    An image without a place is an error in a series that is used, or where FLAIR is missing.
    """
    try:
        chosen = choose(stacks, choice, find_head)
    except ChoiceError as error:
        if unusable:
            raise next(iter(unusable.values())) from error
        raise
    for stack in (chosen.flair, *chosen.others.values()):
        if stack.uid in unusable:
            raise unusable[stack.uid]
    return chosen


def _refuse_two_patients(chosen: Chosen) -> None:
    """Raises InputError where images of one study are of several patients, by their identifiers or,
    without any, by their names. With equal identifiers, names that differ are corrected spellings.
    """
    stacks = (chosen.flair, *chosen.others.values())
    headers = {frame.path: frame.header for stack in stacks for frame in stack.frames}
    # A name may be written with or without the delimiters of empty parts (PS3.5, 6.2.1).
    for keyword, padding in (("PatientID", b""), ("PatientName", b"^= ")):
        # As the bytes that are stored: they need not fit the character set.
        held = [header.get_item(keyword) for header in headers.values()]
        stored = {_stored(item.value) for item in held if item is not None}
        values = {value.strip(b" \0").rstrip(padding) for value in stored} - {b""}
        if len(values) > 1:
            raise InputError(
                f"its images are of {len(values)} patients, by their {keyword}; export each "
                "patient's study by itself, or correct it"
            )
        if values:
            return


def _stored(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value or "").encode()


def _read_frames(files: Sequence[Path], choice: SeriesChoice) -> _Found:
    frames: list[Frame] = []
    unusable: dict[str, InputError] = {}
    seen: dict[str, Path] = {}
    others, copies = 0, 0
    for path in files:
        header, name = read_header(path), without_uids(path.name)
        with refusing_headers(f"{name}: {CUT_HEADER}"):
            _refuse_cut(name, header)
            series = str(header.get("SeriesInstanceUID", ""))
            if choice.series_uids and series not in choice.series_uids:
                continue
            if str(header.get("SOPClassUID")) not in SOP_CLASSES:
                others += 1
                continue
            instance = str(header.get("SOPInstanceUID", ""))
            if instance in seen:
                if not _are_copies(seen[instance], path):
                    raise InputError(
                        f"{name}: another file has its SOPInstanceUID and other content"
                    )
                copies += 1
                continue
            seen[instance] = path
            try:
                frames += read_frames(path, header)
            except InputError as error:
                unusable.setdefault(series, error)
    if not frames and not unusable:
        raise InputError(
            "no MR image in it" + (" of the series chosen" if choice.series_uids else "")
        )
    passed_over = ("object that is no MR image", "objects that are no MR images")
    notes = [f"{count(others, *passed_over)} passed over"] if others else []
    notes += [count(copies, "identical copy", "identical copies")] if copies else []
    return _Found(frames, unusable, notes)


def _refuse_cut(name: str, header: Any) -> None:
    """Raises InputError for a file that ends between two attributes, which a parser accepts, and
    for one without an identifier: no object could refer to it.
    """
    claimed = header.file_meta.get("MediaStorageSOPClassUID")
    needed = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows")
    is_image = claimed is None or claimed in SOP_CLASSES
    values = {keyword: header.get(keyword) for keyword in needed if is_image}
    missing = [keyword for keyword, value in values.items() if value is None]
    if "Rows" in missing:
        raise InputError(f"{name}: {CUT_HEADER}")
    if missing or claimed is None:  # taken out: what stands behind it is there
        keyword = missing[0] if missing else "MediaStorageSOPClassUID"
        raise InputError(
            f"{name}: no {keyword}; export the study again, with new UIDs if de-identified"
        )
    if empty := [keyword for keyword, value in values.items() if value == ""]:
        raise InputError(f"{name}: {empty[0]} is empty; export the study again")


def _are_copies(first: Path, second: Path) -> bool:
    """Whether two files hold one image, in whatever transfer syntaxes."""
    try:
        if digest_file(first) == digest_file(second):
            return True
        return is_same_image(first, second.read_bytes())
    except OSError as error:
        name = without_uids(second.name)
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error


def _gather(
    target: Target, chosen: Chosen, choice: SeriesChoice
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """(S, H, W, 3) with FLAIR where a T1 is missing, and the notes on that."""
    notes = list(chosen.notes)
    channels = []
    for role in ROLES:
        channel = target.pixels
        if role in chosen.others:
            try:
                channel, note = _bring_onto(target, chosen.others[role])
                notes.append(f"{ROLE_NAMES[role]} is {note}")
            except NoFitError as error:
                if getattr(choice, role) is not None:
                    raise
                notes.append(f"{error}; FLAIR in its place")
        channels.append(channel)
    return np.stack(channels, axis=-1), tuple(notes)


def _bring_onto(target: Target, stack: Stack) -> tuple[npt.NDArray[Any], str]:
    """A T1 stack's pixels on FLAIR's voxels, and what to say about it."""
    try:
        source = stack.grid().lattice
    except InputError as error:
        raise NoFitError(str(error)) from error
    name = stack.describe()
    pixels, is_resampled = fit(lambda: read_pixels(stack.frames), name, source, target, "dicom")
    return pixels, f"{name}, resampled onto FLAIR's grid" if is_resampled else name
