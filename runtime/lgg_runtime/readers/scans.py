"""DICOM studies and NIfTI volumes among the files of a folder."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lgg_runtime.errors import InputError
from lgg_runtime.progress import HIDDEN, Progress
from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.readers.dicom_files import (
    DICOMDIR,
    is_dicom,
    is_dicomdir_name,
    list_dicomdir,
    read_header,
)
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.readers.listing import Study
from lgg_runtime.readers.nifti import read_nifti
from lgg_runtime.readers.nifti_names import UNUSED, is_nifti_name, is_no_scan_name, split_name
from lgg_runtime.readers.nifti_studies import group_nifti
from lgg_runtime.redact import short_digest, without_uids
from lgg_runtime.volume import Volume

_GROUPED_BY = ("StudyInstanceUID",)


@dataclass(frozen=True)
class FoundScans:
    """The scans among files, a study each.

    skipped: number of the files that belong to none. unreadable: files that cannot be opened and
    might belong to one, each with the reason. no_scans: number of NIfTI files that are by their
    names masks or, in BIDS, of other sequences. beside: as `group_nifti` finds them.
    """

    studies: list[Study]
    skipped: int
    unreadable: dict[Path, str]
    no_scans: int = 0
    beside: tuple[Path, ...] = ()


def find_scans(paths: Sequence[Path], root: Path, progress: Progress = HIDDEN) -> FoundScans:
    """Find DICOM studies and NIfTI volumes.

    DICOM files of one StudyInstanceUID are one study wherever they lie. A damaged or unreadable
    file may be a slice of the study in its folder: where there is exactly one, it is counted to
    that study, which is then refused when it is read. Else it stands alone, a damaged one as a
    study, an unreadable one in `unreadable`. T2 and labels in NIfTI in a folder of DICOM files, or
    of a DICOM study's name, are skipped, and so is what `group_nifti` finds beside a FLAIR. Raises
    OutputConflictError where two NIfTI files would share their outputs.

    progress: of the headers of DICOM files.
    """
    nifti = [path for path in paths if is_nifti_name(path)]
    images = [path for path in nifti if not is_no_scan_name(path)]
    dicom: list[Path] = []
    unreadable: dict[Path, str] = {}
    for path in (path for path in paths if not is_nifti_name(path)):
        try:
            dicom += [path] if is_dicom(path) else []
        except InputError as error:
            unreadable[path] = str(error)
    with progress("file", len(dicom)) as advance:
        grouped = _group_dicom(dicom, unreadable, root, advance)
    folders, names = {path.parent for path in dicom}, {study.name for study in grouped.studies}
    scans, beside = group_nifti(images, root)
    volumes = [
        study
        for study in scans
        if not (study.name in names or study.files[0].parent in folders) or _is_scan(study)
    ]
    used = sum(len(study.paths) for study in volumes)
    used += len(dicom) + len(unreadable) - grouped.skipped
    return FoundScans(
        [*grouped.studies, *volumes],
        len(paths) - used,
        grouped.unreadable,
        len(nifti) - len(images),
        beside,
    )


def list_file(path: Path) -> list[Path]:
    """The files of a scan that one file stands for: those a DICOMDIR lists, itself, or none.

    Raises InputError for a file that cannot be read, a mask, and as `list_dicomdir` does.
    """
    if is_nifti_name(path):
        if is_no_scan_name(path):
            raise InputError(
                f"{without_uids(path.name)}: by its name a mask, or in BIDS another sequence; "
                "give its scan"
            )
        return [path]
    if not is_dicom(path):
        return []
    if is_dicomdir_name(path):
        return list_dicomdir(path)
    return [path]


def _is_scan(volume: Study) -> bool:
    """Whether not all of these NIfTI files are T2 and labels."""
    return any(split_name(path)[1] != UNUSED for path in volume.files)


def read_scan(kind: str, files: Sequence[Path], choice: SeriesChoice) -> Volume:
    """The volume of the files of a study of kind dicom or nifti; `choice` is of DICOM series, but
    for flair_only.

    Raises InputError for a scan that is no usable volume.
    """
    return read_dicom(files, choice) if kind == "dicom" else read_nifti(files, choice.flair_only)


def _group_dicom(
    paths: Sequence[Path],
    unreadable: dict[Path, str],
    root: Path,
    advance: Callable[[int], object],
) -> FoundScans:
    """The DICOM studies. skipped: number of DICOMDIRs; unreadable: what belongs to no study."""
    groups: dict[str, list[Path]] = defaultdict(list)
    damaged: list[Path] = []
    directories = 0
    for path in paths:
        advance(1)
        try:
            header = read_header(path, _GROUPED_BY)
        except InputError:
            damaged.append(path)
            continue
        uid = header.get("StudyInstanceUID")
        if header.file_meta.get("MediaStorageSOPClassUID") == DICOMDIR:
            directories += 1
        elif uid:
            groups[str(uid)].append(path)
        else:
            damaged.append(path)
    lying: dict[Path, set[str]] = defaultdict(set)
    for uid, files in groups.items():
        for path in files:
            lying[path.parent].add(uid)
    alone = dict(unreadable)
    for path in (*damaged, *unreadable):
        near = lying[path.parent]
        if len(near) == 1:
            groups[next(iter(near))].append(path)
            alone.pop(path, None)
        elif path not in unreadable:
            groups[f"damaged {path}"].append(path)
    named = {uid: _name_study(files, root) for uid, files in groups.items()}
    taken = Counter(named.values())
    studies = []
    for uid, files in groups.items():
        name = named[uid]
        if taken[name] > 1:
            name = f"{name}-{short_digest(uid)}"
        studies.append(Study(name, Path(name), tuple(map(str, sorted(files))), "dicom"))
    return FoundScans(sorted(studies, key=lambda study: study.name), directories, alone)


def _name_study(files: Sequence[Path], root: Path) -> str:
    """The folder that holds all files, relative to the root; the root's own name if it is that."""
    common = Path(os.path.commonpath([path.parent for path in files])).relative_to(root)
    if common == Path():
        return without_uids(root.resolve().name) or "study"
    return "/".join(without_uids(part) for part in common.parts)
