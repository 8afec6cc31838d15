"""From a file, a folder or a tree to studies: slices of one patient, in anatomical order."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lgg_runtime.errors import InputError, NoInputError, OutputConflictError, printable
from lgg_runtime.readers.raster import SUFFIXES, is_mask_name
from lgg_runtime.readers.scans import find_scans, list_file
from lgg_runtime.redact import without_uids

RASTER = "raster"
_APPLE_DOUBLE = "._"
_EXPECTED = f"{', '.join(sorted(SUFFIXES))}, DICOM or NIfTI"
_MASK = re.compile(r"(.*)_mask\.", re.IGNORECASE | re.DOTALL)
_NUMBERED = re.compile(r"^(?P<stem>.*?)[_\-. ]?(?P<number>\d+)$")


@dataclass(frozen=True)
class Study:
    """Files of one patient: same folder and same stem, in the order of their numbers.

    kind: raster for slices in files of their own; dicom or nifti for files that make one volume.
    name: names the patient in results: the folder relative to the input's root, and the stem
        where it differs from the folder's name.
    folder: where its outputs go, relative to the output's root.
    paths: of the files, as text: of many thousand, Path objects would take most of the memory.
    """

    name: str
    folder: Path
    paths: tuple[str, ...]
    kind: str = RASTER

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(map(Path, self.paths))

    @property
    def base(self) -> Path:
        """What the outputs of a scan begin with, relative to the output's root; those of slices
        begin with their own names, which begin so.
        """
        return self.folder / Path(self.name).name


@dataclass(frozen=True)
class Listing:
    """What an input holds. masks: reference masks by the name of their slice without suffix;
    skipped: number of files that are no slice, mask or scan, links included; unreadable: files
    and folders that cannot be opened, each with the reason.
    """

    root: Path
    studies: tuple[Study, ...]
    masks: dict[Path, tuple[Path, ...]]
    skipped: int
    unreadable: dict[Path, str] = field(default_factory=dict)

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def masks_of(self, path: Path) -> tuple[Path, ...]:
        """All that claim to be the slice's reference mask."""
        return self.masks.get(path.with_suffix(""), ())

    def mask_of(self, path: Path) -> Path | None:
        """The slice's reference mask. Raises InputError, `NAME: reason`, where there are two."""
        found = self.masks_of(path)
        if len(found) > 1:
            names = " and ".join(printable(mask.name) for mask in found)
            raise InputError(f"{printable(path.name)}: {names} both claim to be its mask; keep one")
        return found[0] if found else None


def list_studies(given: Path) -> Listing:
    """List the slices and scans of a file, a folder or a tree; symbolic links are not followed.

    Raises NoInputError where there is none, OutputConflictError where two slices differ in
    their suffix alone and would share their outputs, or where two studies, of slices or scans,
    would share the beginning of their outputs' names or their name in the results.
    """
    is_folder = _is_folder(given)
    root = given if is_folder else given.parent
    walked = _walk(given) if is_folder else _take_file(given)
    masks = _group_masks(walked.pictures)
    if not is_folder:
        key = given.with_suffix("")
        masks = {k: m for k, m in _group_masks(_pictures_beside(given)).items() if k == key}
    slices = [path for path in walked.pictures if not is_mask_name(path)]
    found = find_scans(walked.others, root)
    unreadable = walked.unreadable | found.unreadable
    if not slices and not found.scans:
        why = "".join(f"; {reason}" for reason in unreadable.values())
        if walked.links:
            why += f"; symbolic links, not followed: {walked.links}"
        raise NoInputError(f"{given}: no slice in it; expected {_EXPECTED}{why}")
    _refuse_shared_outputs(slices, root)
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in slices:
        groups[path.parent, _stem_and_number(path)[0]].append(path)
    full = {parent.relative_to(root) / stem for parent, stem in groups}
    studies = tuple(_study(root, key, files, full) for key, files in sorted(groups.items()))
    volumes = tuple(
        Study(scan.name, scan.folder, tuple(map(str, scan.files)), scan.kind)
        for scan in found.scans
    )
    _refuse_shared_names(studies + volumes, root)
    skipped = found.skipped + walked.links + walked.attributes
    return Listing(root, studies + volumes, masks, skipped, unreadable)


def _study(root: Path, key: tuple[Path, str], files: list[Path], full: set[Path]) -> Study:
    """full: folder and stem of every study, so that no short name is taken from another."""
    parent, stem = key
    folder = parent.relative_to(root)
    ordered = sorted(files, key=lambda path: (_stem_and_number(path)[1], path.name))
    is_short = folder.name == stem and folder not in full
    name = folder if is_short else folder / stem
    return Study(name.as_posix(), folder, tuple(map(str, ordered)))


def _stem_and_number(path: Path) -> tuple[str, int]:
    """A numbered name is a slice of the study that its stem names; others stand alone."""
    match = _NUMBERED.match(path.stem)
    if match is None or not match["stem"]:
        return ("slices", int(path.stem)) if path.stem.isdecimal() else (path.stem, 0)
    return match["stem"], int(match["number"])


def _slice_of(mask: Path) -> Path:
    """The slice of a reference mask without its suffix; of `_mask.png` the folder, so no slice."""
    match = _MASK.match(mask.name)
    return mask.parent / (match[1] if match else "")


def _refuse_shared_outputs(slices: list[Path], root: Path) -> None:
    taken: dict[Path, Path] = {}
    for path in slices:
        key = path.with_suffix("")
        if key in taken:
            a, b = (printable(p.relative_to(root).as_posix()) for p in (taken[key], path))
            raise OutputConflictError(f"{a} and {b} would share their outputs; rename one")
        taken[key] = path


def _refuse_shared_names(studies: Sequence[Study], root: Path) -> None:
    taken: dict[tuple[str, str], Study] = {}
    for study in studies:
        for key in (("name", study.name), ("outputs", study.base.as_posix())):
            if key in taken:
                a, b = (_first_file(one, root) for one in (taken[key], study))
                raise OutputConflictError(
                    f"{a} and {b} would share the name {without_uids(key[1])} in the "
                    "results; rename one, or move it to a folder of its own"
                )
            taken[key] = study


def _first_file(study: Study, root: Path) -> str:
    """As it may stand in a message: the files of a DICOM study are often called by their UIDs."""
    return without_uids(study.files[0].relative_to(root).as_posix())


@dataclass
class _Walked:
    """pictures: slices and masks in order; others: the other files; links, attributes: the number
    of symbolic links, and of files that macOS puts beside others for their attributes.
    """

    pictures: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    links: int = 0
    attributes: int = 0
    unreadable: dict[Path, str] = field(default_factory=dict)


def _is_folder(given: Path) -> bool:
    """Raises NoInputError where there is nothing, or nobody may look."""
    try:
        return stat.S_ISDIR(given.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoInputError(f"{given}: no such file or folder") from error
    except OSError as error:
        raise NoInputError(f"{given}: cannot be opened: {error.strerror}") from error


def _take_file(given: Path) -> _Walked:
    """A file alone, which nothing else stands in for."""
    if given.suffix.lower() in SUFFIXES and not is_mask_name(given):
        return _Walked(pictures=[given])
    try:
        files = [] if is_mask_name(given) else list_file(given)
    except InputError as error:
        raise NoInputError(str(error)) from error
    if not files:
        raise NoInputError(f"{given.name}: not a slice; expected {_EXPECTED}")
    return _Walked(others=files)


def _walk(folder: Path) -> _Walked:
    walked = _Walked()
    for entry in _entries(folder, walked.unreadable):
        if entry.is_symlink():
            walked.links += 1
        elif entry.name.startswith(_APPLE_DOUBLE):
            walked.attributes += 1
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            walked.pictures.append(Path(entry.path))
        else:
            walked.others.append(Path(entry.path))
    walked.pictures.sort()
    if folder in walked.unreadable:
        raise NoInputError(walked.unreadable[folder])
    return walked


def _pictures_beside(given: Path) -> list[Path]:
    """The pictures of a file's folder; none where it cannot be listed."""
    try:
        beside = sorted(given.parent.iterdir())
    except OSError:
        return []
    files = (path for path in beside if not path.is_symlink() and not path.is_dir())
    return [path for path in files if path.suffix.lower() in SUFFIXES]


def _group_masks(pictures: Sequence[Path]) -> dict[Path, tuple[Path, ...]]:
    masks: dict[Path, tuple[Path, ...]] = {}
    for path in pictures:
        if is_mask_name(path):
            masks[_slice_of(path)] = (*masks.get(_slice_of(path), ()), path)
    return masks


def _entries(folder: Path, unreadable: dict[Path, str]) -> Iterator[os.DirEntry[str]]:
    """The files of a tree; a folder that cannot be listed is added to `unreadable`."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        name = printable(folder.name or str(folder))
        unreadable[folder] = f"{name}: cannot be listed: {error.strerror}"
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), unreadable)
        else:
            yield entry
