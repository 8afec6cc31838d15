"""The files of an input, told apart by their names: of a tree of folders, or one file alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lgg_runtime.errors import InputError, NoInputError, printable
from lgg_runtime.readers.listing import group_masks, is_mask_name
from lgg_runtime.readers.raster import SUFFIXES
from lgg_runtime.readers.scans import list_file
from lgg_runtime.redact import without_uids

EXPECTED = f"{', '.join(sorted(SUFFIXES))}, DICOM or NIfTI (.nii, .nii.gz)"
APPLE_DOUBLE = "._"  # files in which macOS keeps attributes of others
# git-annex and DataLad keep the files that their links lead to in here, under other names.
_GIT = ".git"
# BIDS: what holds the dataset's description is its root, and what these hold is no part of it.
_BIDS_ROOT, _BIDS_OTHERS = "dataset_description.json", {"derivatives", "sourcedata"}


@dataclass
class Files:
    """The files of an input.

    root: the folder given, or that of the file given. slices, masks: pictures, those of one folder
    in the order of their names. others: what may belong to a scan. links, attributes: the number of
    symbolic links, and of the files in which macOS keeps attributes of others. unreadable: folders
    that cannot be listed, each with the reason. left_out: folders of a BIDS dataset that are no
    part of it, relative to the root, without UIDs.
    """

    root: Path
    slices: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    links: int = 0
    attributes: int = 0
    unreadable: dict[Path, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def find_files(given: Path) -> Files:
    """The files of a folder and of those in it, or a file alone with its reference masks.

    Symbolic links are not followed. Raises NoInputError for a file that is no slice or scan, and
    where there is nothing or it cannot be opened.
    """
    return _walk(given) if is_folder(given) else _take_file(given)


def is_folder(given: Path) -> bool:
    """Whether it is one. Raises NoInputError where there is nothing, or it may not be looked at."""
    try:
        return stat.S_ISDIR(given.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoInputError(f"{given}: no such file or folder") from error
    except OSError as error:
        raise NoInputError(f"{given}: cannot be opened: {error.strerror}") from error


def _take_file(given: Path) -> Files:
    files = Files(given.parent)
    if is_mask_name(given):
        raise NoInputError(f"{given.name}: named *_mask, so taken for a mask; give its slice")
    if given.suffix.lower() in SUFFIXES:
        files.slices = [given]
    else:
        try:
            files.others = list_file(given)
        except InputError as error:
            raise NoInputError(str(error)) from error
        if not files.others:
            raise NoInputError(f"{given.name}: not a slice; expected {EXPECTED}")
    beside = _pictures_beside(given)
    slices = [given, *(path for path in beside if not is_mask_name(path))]
    masks = group_masks(filter(is_mask_name, beside), slices)
    files.masks = [*masks.get(given.with_suffix(""), ())]
    return files


def _pictures_beside(given: Path) -> list[Path]:
    """The pictures in a file's folder; none where it cannot be listed."""
    entries = reversed(_list(given.parent, Files(given.parent)))
    beside = (Path(entry.path) for entry in entries if _is_file(entry))
    return [path for path in beside if path.suffix.lower() in SUFFIXES]


def _walk(folder: Path) -> Files:
    files = Files(folder)
    for entry in _entries(files):
        path = Path(entry.path)
        if entry.is_symlink():
            files.links += 1
        elif entry.name.startswith(APPLE_DOUBLE):
            files.attributes += 1
        elif path.suffix.lower() not in SUFFIXES:
            files.others.append(path)
        elif is_mask_name(path):
            files.masks.append(path)
        else:
            files.slices.append(path)
    if folder in files.unreadable:
        raise NoInputError(files.unreadable[folder])
    return files


def _entries(files: Files) -> Iterator[os.DirEntry[str]]:
    """The files of a tree; a folder that cannot be listed is added to `unreadable`, one of BIDS
    that is no part of the dataset to `left_out`.
    """
    left = _list(files.root, files)
    while left:  # not by recursion, which Python ends some 1,000 folders deep
        entry = left.pop()
        if entry.is_dir(follow_symlinks=False):
            left += _list(Path(entry.path), files)
        else:
            yield entry


def _is_file(entry: os.DirEntry[str]) -> bool:
    return not (entry.is_symlink() or entry.is_dir(follow_symlinks=False))


def _list(folder: Path, files: Files) -> list[os.DirEntry[str]]:
    """What lies in a folder, the last name first."""
    try:
        with os.scandir(folder) as scan:
            found = {entry.name: entry for entry in scan}
        for entry in found.values():
            # Where the disk tells no kind beside a name, it is asked here, and the entry keeps it.
            entry.is_dir(follow_symlinks=False)
    except OSError as error:
        name = printable(folder.name or str(folder))
        files.unreadable[folder] = f"{name}: cannot be listed: {error.strerror}"
        return []
    found.pop(_GIT, None)
    if _BIDS_ROOT in found:
        for name in _BIDS_OTHERS & found.keys():
            del found[name]
            files.left_out.append(without_uids((folder / name).relative_to(files.root).as_posix()))
    return [found[name] for name in sorted(found, reverse=True)]
