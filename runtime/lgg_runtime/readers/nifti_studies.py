"""NIfTI files to studies, by their folders and names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from lgg_runtime.errors import OutputConflictError
from lgg_runtime.readers.listing import Study
from lgg_runtime.readers.nifti_names import (
    UNUSED,
    channel_of,
    find_other_word,
    find_second_time,
    has_word_of_flair,
    owner_of,
    split_name,
)
from lgg_runtime.redact import without_uids

_Key = tuple[Path, str]  # of a study: its folder and the stem of its files
_Groups = Mapping[_Key, list[Path]]


def group_nifti(paths: Sequence[Path], root: Path) -> tuple[list[Study], tuple[Path, ...]]:
    """Studies of one stem in one folder; and the files without a sequence that is used that lie
    beside the FLAIR of their patient, which are of no study.

    Raises OutputConflictError where two files would share their outputs.
    """
    top = root.resolve()  # the folder given may be `..` or a link
    folders = {path.parent: (top / path.parent.relative_to(root)).name for path in paths}
    groups = _join_channels(_group_by_stem(paths, folders))
    beside = _find_beside(groups, folders)
    kept = [_study(key, files, root) for key, files in groups.items() if key not in beside]
    return kept, tuple(path for key in sorted(beside) for path in groups[key])


def _group_by_stem(paths: Sequence[Path], folders: Mapping[Path, str]) -> dict[_Key, list[Path]]:
    groups: dict[_Key, list[Path]] = defaultdict(list)
    for path in sorted(paths, key=lambda path: (bool(find_second_time(path)), path)):
        stem = split_name(path)[0]
        if not stem.strip("."):  # _flair.nii and .nii: no more than a suffix
            stem = folders[path.parent] or "study"
        if _is_second_time(path, stem, groups):
            stem = find_second_time(path)
        groups[path.parent, stem].append(path)
    return groups


def _is_second_time(path: Path, stem: str, groups: _Groups) -> bool:
    """Whether T2 before FLAIR is no part of the sequence: a T1 has it as well, or a T1 stands in
    its place and no other file has the stem without it. groups: of all other files.
    """
    time = find_second_time(path)
    if not time:
        return False
    if {"t1", "t1c"} & _roles(groups.get((path.parent, time), ())):
        return True
    return (path.parent, f"{time[:-1]}1") in groups and (path.parent, stem) not in groups


def _join_channels(groups: _Groups) -> dict[_Key, list[Path]]:
    """Files of no known sequence that `case_0000` and `case_0001` are numbered like, as one study,
    which is refused when it is read.
    """
    joined: dict[_Key, list[Path]] = defaultdict(list)
    for (parent, stem), files in sorted(groups.items()):
        case = channel_of(stem) if _roles(files) == {""} else None
        joined[parent, case if case and _has_channels(parent, case, groups) else stem] += files
    return joined


def _has_channels(parent: Path, case: str, groups: _Groups) -> bool:
    """Whether the first two channels of a case are there, and no FLAIR that they lie beside."""
    first_two = [groups.get((parent, f"{case}_000{n}"), ()) for n in range(2)]
    has_flair = "flair" in _roles(groups.get((parent, case), ()))
    return all(_roles(files) == {""} for files in first_two) and not has_flair


def _find_beside(groups: _Groups, folders: Mapping[Path, str]) -> set[_Key]:
    """The groups without a sequence that is used, by folder or name of a patient with FLAIR.

    One with a word for T1 is none where that patient lacks a T1: it may be that, and is refused.
    """
    patients: dict[Path, set[str]] = defaultdict(set)
    flairs: dict[Path, set[str]] = defaultdict(set)
    for (parent, stem), files in groups.items():
        if "flair" in _roles(files):
            patients[parent].add(stem)
        elif has_word_of_flair(files[0]):
            flairs[parent].add(stem)
    beside = set()
    for (parent, stem), files in groups.items():
        owner = owner_of(stem, patients[parent], flairs[parent])
        if owner is None and folders[parent] in patients[parent]:
            owner = folders[parent]
        if owner is None or not _roles(files) <= {"", UNUSED}:
            continue
        is_t1 = "t1" in find_other_word(files[0]).lower()
        if not is_t1 or {"t1", "t1c"} <= _roles(groups[parent, owner]):
            beside.add((parent, stem))
    return beside


def _roles(files: Sequence[Path]) -> set[str]:
    return {split_name(path)[1] for path in files}


def _study(key: _Key, found: list[Path], root: Path) -> Study:
    parent, stem = key
    # What the model does not take stands alone to be refused, and beside a scan is left out.
    files = [path for path in found if split_name(path)[1] != UNUSED] or found
    whole = [path for path in files if not split_name(path)[1]]
    if len(files) > 1 and len({split_name(path)[0] for path in whole}) == 1:
        both = (whole[0], next(path for path in files if path != whole[0]))
        a, b = sorted(without_uids(path.name) for path in both)
        raise OutputConflictError(f"{a} and {b} would share their outputs; rename one")
    folder = parent.relative_to(root)
    name = without_uids((folder if folder.name == stem else folder / stem).as_posix())
    return Study(name, folder, tuple(map(str, sorted(files))), "nifti")
