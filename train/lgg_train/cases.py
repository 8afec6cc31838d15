"""The public dataset layout: `kaggle_3m/PATIENT/PATIENT_<n>.tif` beside `PATIENT_<n>_mask.tif`."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError, NoInputError, printable
from lgg_runtime.plural import count
from lgg_runtime.readers.folder import number_of
from lgg_runtime.readers.listing import group_masks
from lgg_runtime.readers.raster import read_mask, read_slice
from lgg_runtime.readers.tree import APPLE_DOUBLE
from lgg_runtime.terminal import tell
from lgg_runtime.volume import CHANNELS, FLAIR, Mask, Volume, repeat_flair
from lgg_train.copies import find_copies
from lgg_train.progress import watch_patients

_SLICE = re.compile(r"^(?P<patient>.+)_(?P<number>\d+)(?P<mask>_mask)?\.tif$")

# Fraction of a slice, which no tumour covers, and which masks that are inverted or all white do.
_WIDE_MASK = 0.5


def institution_of(patient: str) -> str:
    """Second part of a TCGA barcode (`TCGA_CS_4941_...` is CS); others are one group."""
    parts = patient.split("_")
    return parts[1] if len(parts) > 2 else "-"


@dataclass(frozen=True)
class CaseFiles:
    """One patient's pairs of files, in anatomical order."""

    patient: str
    slices: tuple[Path, ...]
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class Case:
    """One patient's volume with its reference masks, (S, H, W) bool, and a digest of both."""

    patient: str
    volume: Volume
    masks: Mask
    digest: str


def find_cases(root: Path) -> list[CaseFiles]:
    """List the patients below `root` (the folder `kaggle_3m`, or one that holds it).

    Raises NoInputError where there is no patient or a folder cannot be read, InputError where a
    mask or an image of a pair is missing, a TIFF is named otherwise, a folder holds slices of two
    patients, or two slices of a patient have one number, and where one of the folders, hidden ones
    apart, holds no TIFF; every such file and folder is named.
    """
    base = root
    try:
        if not root.is_dir():
            raise NoInputError(f"{root}: no such folder; `make data` says how to get the dataset")
        if (root / "kaggle_3m").is_dir():
            base = root / "kaggle_3m"
        folders = sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))
        pairs = [_pair_files(folder) for folder in folders]
    except OSError as error:
        folder = error.filename or base
        raise NoInputError(f"{folder}: cannot be read ({error.strerror})") from error
    problems = [problem for _, unpaired in pairs for problem in unpaired]
    if problems:
        raise InputError(f"{base}: unfit files: {', '.join(map(printable, problems))}")
    cases = [case for case, _ in pairs if case.slices]
    if not cases:
        raise NoInputError(
            f"{base}: no PATIENT/PATIENT_<n>.tif with PATIENT_<n>_mask.tif in it; give a folder "
            "that holds one folder a patient, with slices and masks as TIFF"
        )
    if bare := [case.patient for case, _ in pairs if not case.slices]:
        names = ", ".join(map(printable, bare))
        raise InputError(f"{base}: no PATIENT_<n>.tif in {names}; take these folders away")
    return cases


def load_cases(files: Iterable[CaseFiles], progress: bool = False) -> list[Case]:
    """Read the patients. Raises InputError as `load_case` does, for two patients that share an
    image, and for one whose slices lie in two folders.

    Slices that are missing between a patient's others are told on standard error, since those
    beside them are neighbours then, slices that stand twice, masks that cover most of their slice,
    and sequences of one value. `progress` shows a bar where standard error is a terminal.
    """
    listed = list(files)
    for gap in itertools.chain.from_iterable(map(_find_gaps, listed)):
        tell(f"Warning: {gap}; those beside are taken as neighbours")
    cases = [load_case(case) for case in watch_patients(listed, "read", progress)]
    _refuse_shared(cases)
    _refuse_parts(listed)
    for case in cases:
        _warn_of_wide_masks(case)
        _warn_of_empty_sequences(case)
    return cases


def load_case(files: CaseFiles) -> Case:
    """Read a patient. Raises InputError for a file that is no picture, for a mask of another size
    than its slice or with other values than 0 and 255, and for slices that differ in size.
    """
    slices = [read_slice(path) for path in files.slices]
    masks = [_check_mask(path, s.shape) for path, s in zip(files.masks, slices, strict=True)]
    shapes = {s.shape for s in slices}
    if len(shapes) > 1:
        raise InputError(f"{files.patient}: slices differ in size: {sorted(shapes)}")
    pixels, mask = np.stack(slices), np.stack(masks)
    digest = hashlib.sha256(repr((files.patient, pixels.shape)).encode())
    digest.update(pixels.tobytes())
    digest.update(np.packbits(mask).tobytes())
    volume = Volume(pixels, tuple(path.stem for path in files.slices))
    return Case(files.patient, volume, mask, digest.hexdigest())


def keep_flair(case: Case) -> Case:
    """The case as one of FLAIR alone: FLAIR stands in the place of the other sequences."""
    return replace(case, volume=replace(case.volume, pixels=repeat_flair(case.volume.pixels)))


def digest_cases(cases: Iterable[Case]) -> str:
    """One SHA-256 over the pixels of all patients, whatever their order or encoding.

    A folder's name need not be UTF-8: the bytes of it that are not count as they are.
    """
    lines = sorted(f"{case.patient} {case.digest}" for case in cases)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _find_gaps(files: CaseFiles) -> list[str]:
    """Where the numbers of two slices are further apart than the nearest two of the patient."""
    pairs = [(a, b, number_of(b) - number_of(a)) for a, b in itertools.pairwise(files.slices)]
    least = min((step for *_, step in pairs), default=0)
    return [
        f"slices between {printable(a.name)} and {printable(b.name)} are missing"
        for a, b, step in pairs
        if step > least
    ]


def _warn_of_wide_masks(case: Case) -> None:
    wide = np.count_nonzero(case.masks.mean(axis=(1, 2)) > _WIDE_MASK)
    if wide:
        tell(
            f"Warning: {printable(case.patient)}: in {wide} of {len(case.masks)} slices the mask "
            "covers more than half of the slice; expected 255 where there is tumour"
        )


def _warn_of_empty_sequences(case: Case) -> None:
    sequences = zip(CHANNELS, np.moveaxis(case.volume.pixels, -1, 0), strict=True)
    if empty := [name for name, pixels in sequences if np.ptp(pixels) == 0]:
        here = "leave the patient out" if CHANNELS[FLAIR] in empty else "save FLAIR in its place"
        tell(
            f"Warning: {printable(case.patient)}: one value in all slices of {', '.join(empty)}; "
            f"{here} where it is missing"
        )


def _refuse_shared(cases: Iterable[Case]) -> None:
    """A slice of two patients would be trained on and tested at once; one that stands twice in one
    patient is told.
    """
    copies = find_copies((case.patient, case.volume) for case in cases)
    shared = [found for (one, other), found in copies.items() if one != other]
    if shared:
        first, copy = shared[0][0]
        more = f"; other such pairs: {len(shared) - 1}" if shared[1:] else ""
        raise InputError(
            f"{printable(first.patient)} and {printable(copy.patient)} hold the same images, "
            f"copied, mirrored or turned: {count(len(shared[0]), 'slice')}, the first "
            f"{printable(first.name)}.tif and {printable(copy.name)}.tif{more}; keep one of each"
        )
    for (patient, _), found in copies.items():
        first, copy = found[0]
        tell(
            f"Warning: {printable(patient)}: {printable(first.name)}.tif and "
            f"{printable(copy.name)}.tif hold the same image, copied, mirrored or turned, which "
            f"counts twice; such copies of this patient: {len(found)}"
        )


def _refuse_parts(listed: Iterable[CaseFiles]) -> None:
    """A patient of two folders would be trained on and tested at once.

    Only of slices named for another folder that is there is that sure: all patients of other data
    may have slices of one name, as `slice_<n>`.
    """
    folder_of = {files.patient: files for files in listed}
    for files in folder_of.values():
        named = files.slices[0].stem.rpartition("_")[0]
        if named != files.patient and named in folder_of:
            raise InputError(
                f"{printable(files.patient)} holds slices of {printable(named)}, who has a folder "
                "too; put them into one, or name them for their own"
            )


def _pair_files(folder: Path) -> tuple[CaseFiles, list[str]]:
    found = (path for path in folder.iterdir() if not path.name.startswith(APPLE_DOUBLE))
    every = {path.name for path in found if path.suffix.lower() in (".tif", ".tiff")}
    names = {name for name in every if name.endswith(".tif")}
    matches = {name: m for name in sorted(names) if (m := _SLICE.match(name))}
    images = [m for m in matches.values() if not m["mask"]]
    ordered = sorted(images, key=lambda m: (int(m["number"]), m.string))
    slices = tuple(folder / m.string for m in ordered)
    masks_of = group_masks((folder / name for name, m in matches.items() if m["mask"]), slices)
    claims = [masks_of.get(path.with_suffix(""), ()) for path in slices]
    masks = tuple(mask for mask, *_ in filter(None, claims))
    problems = [
        f"{path.name} has no mask" for path, claim in zip(slices, claims, strict=True) if not claim
    ]
    for name in sorted(names - {path.name for path in (*slices, *masks)}):
        problems.append(f"{name} {'has no image' if name in matches else 'is not PATIENT_<n>.tif'}")
    problems += [f"{name} does not end in .tif" for name in sorted(every - names)]
    first_of = {m["patient"]: m.string for m in reversed(ordered)}
    if len(first_of) > 1:
        problems.append(f"{' and '.join(sorted(first_of.values()))} are of different patients")
    problems += [
        f"{one.string} and {two.string} have one number"
        for one, two in itertools.pairwise(ordered)
        if int(one["number"]) == int(two["number"])
    ]
    return CaseFiles(folder.name, slices, masks), problems


def _check_mask(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    mask = read_mask(path)
    if mask.shape != shape[:2]:
        raise InputError(f"{path.name}: mask is {mask.shape}, its slice {shape[:2]}")
    if others := sorted(set(np.unique(mask).tolist()) - {0, 255}):
        listed = ", ".join(map(str, others[:3])) + (" and others" if others[3:] else "")
        raise InputError(
            f"{path.name}: mask holds {listed}; expected 0, and 255 where there is tumour"
        )
    return mask > 0
