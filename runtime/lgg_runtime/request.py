"""What a run may be asked for: which outputs an input can have, and what can be scored."""

from __future__ import annotations

from collections.abc import Sequence

from lgg_runtime.errors import UsageError
from lgg_runtime.extras import import_extra
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.readers.folder import RASTER, Listing
from lgg_runtime.writers import SCAN_OUTPUTS
from lgg_runtime.writers.dicom_identity import load_highdicom

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
