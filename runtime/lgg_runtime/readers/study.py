"""One study's files to volumes, with the fate of each file."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError, printable
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.readers.folder import number_of
from lgg_runtime.readers.listing import RASTER, Listing, Study
from lgg_runtime.readers.raster import read_mask, read_raster
from lgg_runtime.readers.scans import read_scan
from lgg_runtime.volume import Mask, Volume

MIXED_SIZES = "the study's slices differ in size; those of one size are one volume"
MISSING = "missing before it"


@dataclass
class LoadedVolume:
    """Slices of one study and one size, in order; with each its notes and its reference mask."""

    files: list[Path] = field(default_factory=list)
    slices: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    notes: list[tuple[str, ...]] = field(default_factory=list)
    truth: list[Mask | None] = field(default_factory=list)

    def volume(self) -> Volume:
        return Volume(np.stack(self.slices), tuple(path.stem for path in self.files))


@dataclass
class LoadedStudy:
    """What was read of a study.

    volumes: of slices, mostly one; failures: what cannot be used, by its name in run.json, with
    the reason; scan: the volume of a DICOM or NIfTI study.
    """

    volumes: list[LoadedVolume] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    scan: Volume | None = None


def load_study(
    study: Study, listing: Listing, with_truth: bool, choice: SeriesChoice
) -> LoadedStudy:
    """Read every slice of a study; slices of different sizes become volumes of their own.

    with_truth: read the reference mask beside each slice, where there is one; what is wrong with
    one is its own failure, and the slice has none. choice: of the series of a DICOM study.
    """
    if study.kind != RASTER:
        try:
            return LoadedStudy(scan=read_scan(study.kind, study.files, choice))
        except InputError as error:
            return LoadedStudy(failures=[(study.name, f"{study.name}: {error}")])
    by_size: dict[tuple[int, ...], LoadedVolume] = {}
    failures = []
    files = study.files
    step = min((number_of(b) - number_of(a) for a, b in pairwise(files)), default=0)
    before: Path | None = None
    for path in files:
        try:
            slice_ = read_raster(path)
        except InputError as error:
            failures.append((listing.relative(path), str(error)))
            continue
        truth = None
        try:
            mask = listing.mask_of(path) if with_truth else None
            truth = _read_truth(mask, slice_.pixels)
        except InputError as error:
            failures.append((listing.relative(listing.masks_of(path)[0]), str(error)))
        loaded = by_size.setdefault(slice_.pixels.shape, LoadedVolume())
        loaded.files.append(path)
        loaded.slices.append(slice_.pixels)
        loaded.notes.append((*slice_.notes, *_note_missing(before, path, step)))
        loaded.truth.append(truth)
        before = path
    volumes = list(by_size.values())
    if len(volumes) > 1:
        for loaded in volumes:
            loaded.notes = [(*notes, MIXED_SIZES) for notes in loaded.notes]
    return LoadedStudy(volumes, failures)


def _note_missing(before: Path | None, path: Path, step: int) -> tuple[str, ...]:
    """What lies between two slices that were read; step: from one slice's number to the next."""
    if before is None or step < 1:
        return ()
    missing = range(number_of(before) + step, number_of(path), step)
    if not missing:
        return ()
    first, last = missing[0], missing[-1]  # of more numbers than a length can be
    shown = f"{first}" if first == last else f"{first} to {last}"
    return (f"{MISSING}: {shown}; the slices on both sides are taken as neighbours",)


def _read_truth(path: Path | None, pixels: npt.NDArray[np.uint8]) -> Mask | None:
    if path is None:
        return None
    values, name = read_mask(path), printable(path.name)
    if len(found := np.setdiff1d(values, [0])) > 1:
        raise InputError(
            f"{name}: mask holds {len(found)} values besides 0, expected one; "
            "write all tumour as one value, without loss (PNG or TIFF)"
        )
    truth: Mask = values > 0
    if truth.shape != pixels.shape[:2]:
        raise InputError(f"{name}: mask is {truth.shape}, its slice {pixels.shape[:2]}")
    return truth
