"""Outputs of a scan: which are possible for an input, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lgg_runtime.errors import UsageError
from lgg_runtime.extras import import_extra
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.readers.listing import RASTER, Listing, Study
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.volume import FLAIR, Segmentation, Volume
from lgg_runtime.writers import OUTPUTS, SCAN_OUTPUTS
from lgg_runtime.writers.dicom_identity import load_highdicom
from lgg_runtime.writers.images import SliceResult, stretch_flair
from lgg_runtime.writers.scan import Algorithm, ScanResult

NOT_SCORED = "masks beside pictures of slices are scored, DICOM and NIfTI are not"


def check_request(listing: Listing, outputs: Sequence[str], choice: SeriesChoice) -> None:
    """Raises UsageError for outputs or a choice of series that the listed input cannot have.

    MissingExtraError for an output whose package is not installed, before any work.
    """
    kinds = {study.kind for study in listing.studies}
    for name in outputs:
        possible = SCAN_OUTPUTS[name][0] if name in SCAN_OUTPUTS else kinds
        if unfit := sorted(kinds - possible):
            raise UsageError(f"--output-type {name}: not for {', '.join(unfit)} input")
    if "dicom-sr" in outputs and "dicom-seg" not in outputs:
        raise UsageError("--output-type dicom-sr: refers to a SEG; add --output-type dicom-seg")
    if choice != SeriesChoice() and kinds != {"dicom"}:
        raise UsageError("--series-uid, --flair, --t1 and --t1c: for DICOM input alone")
    if any(name.startswith("dicom-") for name in outputs):
        load_highdicom()
    if "nifti" in outputs:
        import_extra("nibabel", "nifti")


def check_evaluable(listing: Listing) -> None:
    """Raises UsageError where there is nothing that reference masks beside it could score."""
    slices = [study for study in listing.studies if study.kind == RASTER]
    if not slices:
        raise UsageError(f"--evaluate: {NOT_SCORED}")
    if not any(listing.masks_of(path) for study in slices for path in study.files):
        raise UsageError(f"--evaluate: no *_mask file beside the slices of {listing.root}")


@dataclass(frozen=True)
class ScanWriter:
    """Encodes what a run was asked for; output: its folder; outputs: names of the two tables."""

    output: Path
    outputs: tuple[str, ...]
    segmenter: Segmenter

    def encode(self, study: Study, volume: Volume, found: Segmentation) -> dict[Path, bytes]:
        """The files of one scan. Raises InputError where its headers forbid an output."""
        segmenter = self.segmenter
        algorithm = Algorithm(segmenter.name, version("lgg-edge"), segmenter.digest)
        result = ScanResult(volume, found, algorithm)
        base = self.output / study.base
        files: dict[Path, bytes] = {}
        for name in self.outputs:
            ends = SCAN_OUTPUTS[name][1](result) if name in SCAN_OUTPUTS else _draw(name, result)
            files |= {base.with_name(f"{base.name}_{end}"): data for end, data in ends.items()}
        return files


def _draw(name: str, result: ScanResult) -> dict[str, bytes]:
    """Pictures of each slice, by number."""
    end, encode = OUTPUTS[name]
    found = result.segmentation
    greys = stretch_flair(result.volume.pixels[..., FLAIR])
    return {
        f"{index + 1:03d}{end}": encode(
            SliceResult(grey, found.mask[index], found.probability[index])
        )
        for index, grey in enumerate(greys)
    }
