"""From a file, a folder or a tree to studies: slices of one patient, in anatomical order."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lgg_runtime.errors import NoInputError, OutputConflictError, printable
from lgg_runtime.progress import HIDDEN, Progress
from lgg_runtime.readers.listing import COPY_LINKS, Listing, Study, group_masks
from lgg_runtime.readers.nifti_names import channel_of
from lgg_runtime.readers.picture_names import find_beside
from lgg_runtime.readers.scans import FoundScans, find_scans
from lgg_runtime.readers.tree import EXPECTED, Files, find_files
from lgg_runtime.redact import without_uids

_NUMBERED = re.compile(r"^(?P<stem>.*?)(?P<separator>[_\-. ]?)(?P<number>\d+)$", re.DOTALL)
_CHANNELS = {(0, 1), (0, 1, 2), (0, 1, 2, 3)}  # the first two, three or four


def list_studies(given: Path | str, progress: Progress = HIDDEN) -> Listing:
    """List the slices and scans of a file, a folder or a tree; symbolic links are not followed.

    progress: of the headers of DICOM files, which take most of the time.
    Raises NoInputError where there is none, OutputConflictError where two slices differ in
    their suffix alone and would share their outputs, where slices of one stem have one number or
    their numbers behind unlike separators and may be of two people, where numbers are those of
    nnU-Net's channels, or where two studies, of slices or scans, would share the beginning of their
    outputs' names or their name in the results.
    """
    given = Path(given)
    files = find_files(given)
    root = files.root
    scans = find_scans(files.others, root, progress)
    unreadable = files.unreadable | scans.unreadable
    if not files.slices and not scans.studies:
        why = "".join(f"; {reason}" for reason in unreadable.values())
        if files.links:
            why += f"; symbolic links, not followed: {files.links}; {COPY_LINKS}"
        if files.masks:
            why += f"; files named *_mask, taken for masks: {len(files.masks)}"
        if scans.no_scans:
            why += f"; NIfTI files that are masks or no FLAIR by their names: {scans.no_scans}"
        why += "".join(f"; {notice}" for notice in _describe_left_out(files, scans))
        raise NoInputError(f"{given}: no slice in it; expected {EXPECTED}{why}")
    pictures = find_beside(files.slices, root)
    left = {*pictures}
    slices = [path for path in files.slices if path not in left]
    _refuse_shared_outputs(slices, root)
    studies = (*_group_slices(slices, root), *scans.studies)
    _refuse_shared_names(studies, root)
    skipped = scans.skipped + files.links + files.attributes + len(pictures)
    masks = group_masks(files.masks, slices)
    others = (path.relative_to(root).as_posix() for path in (*scans.beside, *pictures))
    left_out = (*sorted(files.left_out), *map(without_uids, others))
    notices = tuple(_describe_left_out(files, scans, pictures))
    return Listing(root, studies, masks, skipped, unreadable, files.links, left_out, notices)


def _describe_left_out(
    files: Files, scans: FoundScans, pictures: Sequence[Path] = ()
) -> Iterator[str]:
    if files.left_out:
        yield (
            f"left out of a BIDS dataset: {', '.join(sorted(files.left_out))}; to read such a "
            "folder, give it alone"
        )
    if scans.beside:
        yield (
            "NIfTI files left out, since they lie beside their patient's FLAIR and their names end "
            f"in no word for FLAIR or T1: {len(scans.beside)}, such as "
            f"{without_uids(scans.beside[0].name)}; to read one as FLAIR, give it alone"
        )
    if pictures:
        yield (
            "pictures left out, since by their names they are labels or other sequences than the "
            f"slices beside them: {len(pictures)}, such as {without_uids(pictures[0].name)}; to "
            "read such as FLAIR, give a folder of them alone"
        )


def number_of(slice_: Path) -> int:
    """The number at the end of a slice's name; 0 for a name without one."""
    return _split_name(slice_)[2]


def _group_slices(slices: Sequence[Path], root: Path) -> list[Study]:
    """Slices of one folder and one stem are one study."""
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in slices:
        groups[path.parent, _split_name(path)[0]].append(path)
    for files in groups.values():
        _refuse_two_series(files, root)
    _refuse_channels(groups, root)
    full = {parent.relative_to(root) / stem for parent, stem in groups}
    return [_study(root, key, files, full) for key, files in sorted(groups.items())]


def _study(root: Path, key: tuple[Path, str], files: list[Path], full: set[Path]) -> Study:
    """full: folder and stem of every study, so that no short name is taken from another."""
    parent, stem = key
    folder = parent.relative_to(root)
    ordered = sorted(files, key=lambda path: (number_of(path), path.name))
    is_short = folder.name == stem and folder not in full
    name = folder if is_short else folder / stem
    return Study(name.as_posix(), folder, tuple(map(str, ordered)))


def _split_name(path: Path) -> tuple[str, str | None, int]:
    """Stem of the study that a slice belongs to, what separates its number from it, and the number:
    `p_7.png` is (p, _, 7).

    A name of a number alone, or with a separator before it, is of the study `slices`; one without a
    number is (the name, None, 0).
    """
    match = _NUMBERED.match(path.stem)
    if match is None:
        return path.stem, None, 0
    return match["stem"] or "slices", match["separator"], int(match["number"])


def _refuse_two_series(files: Sequence[Path], root: Path) -> None:
    """files: of one stem."""
    numbers: dict[int, Path] = {}
    first: tuple[Path, str] | None = None
    for path in sorted(files):
        _, separator, number = _split_name(path)
        if separator is None:
            continue
        first = first or (path, separator)
        other = numbers.setdefault(number, path) if separator == first[1] else first[0]
        if other is not path:
            a, b = (printable(p.relative_to(root).as_posix()) for p in (other, path))
            raise OutputConflictError(
                f"{a} and {b} may be of two people; name all slices of one alike, with a number "
                "each, and give each person a folder"
            )


def _refuse_channels(groups: Mapping[tuple[Path, str], list[Path]], root: Path) -> None:
    """Numbers of channels, as nnU-Net has them in `case_0000.png`, are no slices'.

    A volume of so few slices may be numbered alike; all of a folder's are not.
    """
    cases: dict[Path, list[list[Path]]] = defaultdict(list)
    for (parent, _), files in groups.items():
        cases[parent].append(sorted(files))
    for found in cases.values():
        numbers = {tuple(map(number_of, files)) for files in found}
        if len(found) < 2 or not numbers <= _CHANNELS or len(numbers) > 1:
            continue
        if all(channel_of(path.stem) for files in found for path in files):
            a, b = (printable(p.relative_to(root).as_posix()) for p in found[0][:2])
            raise OutputConflictError(
                f"{a} and {b} are numbered as nnU-Net's channels, not as slices; save each slice "
                "as one picture, PATIENT_<n>.png, of FLAIR alone or of the three channels as RGB; "
                "number slices from 1"
            )


def _refuse_shared_outputs(slices: Sequence[Path], root: Path) -> None:
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
