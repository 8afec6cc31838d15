"""From a file, a folder or a tree to studies: slices of one patient, in anatomical order."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lgg_runtime.errors import InputError, NoInputError, OutputConflictError, printable
from lgg_runtime.readers.raster import SUFFIXES, is_mask_name
from lgg_runtime.readers.scans import find_scans, list_file

RASTER = "raster"
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
    """

    name: str
    folder: Path
    files: tuple[Path, ...]
    kind: str = RASTER


@dataclass(frozen=True)
class Listing:
    """What an input holds. masks: reference masks by the name of their slice without suffix;
    skipped: number of files that are no slice, mask or scan, links included.
    """

    root: Path
    studies: tuple[Study, ...]
    masks: dict[Path, Path]
    skipped: int

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def mask_of(self, path: Path) -> Path | None:
        return self.masks.get(path.with_suffix(""))


def list_studies(given: Path) -> Listing:
    """List the slices and scans of a file, a folder or a tree; symbolic links are not followed.

    Raises NoInputError where there is none, OutputConflictError where two slices differ in
    their suffix alone and would share their outputs.
    """
    if not given.exists():
        raise NoInputError(f"{given}: no such file or folder")
    root = given if given.is_dir() else given.parent
    found, others, links = _walk(given)
    masks = {_slice_of(path): path for path in found if is_mask_name(path)}
    if given.is_file():
        beside = {_slice_of(p): p for p in _walk(root, deep=False)[0] if is_mask_name(p)}
        key = given.with_suffix("")
        masks = {key: beside[key]} if key in beside else {}
    slices = [path for path in found if not is_mask_name(path)]
    scans, skipped = find_scans(others, root)
    if not slices and not scans:
        raise NoInputError(f"{given}: no slice in it; expected {_EXPECTED}")
    _refuse_shared_outputs(slices, root)
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in slices:
        groups[path.parent, _stem_and_number(path)[0]].append(path)
    full = {parent.relative_to(root) / stem for parent, stem in groups}
    studies = tuple(_study(root, key, files, full) for key, files in sorted(groups.items()))
    volumes = tuple(Study(scan.name, scan.folder, scan.files, scan.kind) for scan in scans)
    return Listing(root, studies + volumes, masks, skipped + links)


def _study(root: Path, key: tuple[Path, str], files: list[Path], full: set[Path]) -> Study:
    """full: folder and stem of every study, so that no short name is taken from another."""
    parent, stem = key
    folder = parent.relative_to(root)
    ordered = tuple(sorted(files, key=lambda path: (_stem_and_number(path)[1], path.name)))
    is_short = folder.name == stem and folder not in full
    name = folder if is_short else folder / stem
    return Study(name.as_posix(), folder, ordered)


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


def _walk(given: Path, deep: bool = True) -> tuple[list[Path], list[Path], int]:
    """Slices and masks below a folder in order, the other files, and the number of links."""
    if given.is_file():
        if given.suffix.lower() in SUFFIXES and not is_mask_name(given):
            return [given], [], 0
        if is_mask_name(given) or not (files := list_file(given)):
            raise NoInputError(f"{given.name}: not a slice; expected {_EXPECTED}")
        return [], files, 0
    found: list[Path] = []
    others: list[Path] = []
    links = 0
    for entry in _entries(given, deep):
        if entry.is_symlink():
            links += 1
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            found.append(Path(entry.path))
        else:
            others.append(Path(entry.path))
    return sorted(found), others, links


def _entries(folder: Path, deep: bool) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if deep:
                yield from _entries(Path(entry.path), deep)
        else:
            yield entry
