"""What a run may be asked for: which outputs an input can have, and what can be scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lgg_runtime.errors import UsageError
from lgg_runtime.extras import import_extra
from lgg_runtime.loading import LoadSettings
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.readers.listing import RASTER, Listing
from lgg_runtime.writers.dicom_identity import load_highdicom
from lgg_runtime.writers.formats import SCAN_OUTPUTS

_NAMES = {RASTER: "pictures", "dicom": "DICOM", "nifti": "NIfTI"}
NOT_SCORED = "masks beside pictures of slices are scored, DICOM and NIfTI are not"


@dataclass(frozen=True)
class Request:
    """What lgg-infer is asked to do.

    given: the file or folder to read; recorded: what run.json names as the input; output: the
    folder of the results; outputs: their names; evaluate: score against the reference masks;
    choice: of the series of DICOM studies; model: a shipped one's name or a file; load: how it
    runs; resume: go on with an earlier run into the same folder; report: write a page that shows
    the overlays, which have to be among the outputs.
    """

    given: Path
    recorded: str
    output: Path
    outputs: tuple[str, ...]
    evaluate: bool
    choice: SeriesChoice
    model: str
    load: LoadSettings
    resume: bool
    report: bool = False

    def require_fit(self, listing: Listing) -> None:
        """Raises UsageError for what the listed input cannot have, MissingExtraError for an output
        whose package is not installed, both before any work.
        """
        if self.report and "overlay" not in self.outputs:
            raise UsageError("report: it shows the overlays; add overlay to the outputs")
        if self.evaluate:
            _check_evaluable(listing)
        _check_outputs(self, listing)


def _check_outputs(request: Request, listing: Listing) -> None:
    outputs = request.outputs
    kinds = {study.kind for study in listing.studies}
    for name in outputs:
        possible = SCAN_OUTPUTS[name][0] if name in SCAN_OUTPUTS else kinds
        if unfit := sorted(kinds - possible):
            raise UsageError(
                f"--output-type {name}: not for {', '.join(_NAMES[kind] for kind in unfit)}"
            )
    if "dicom-sr" in outputs and "dicom-seg" not in outputs:
        raise UsageError("--output-type dicom-sr: refers to a SEG; add --output-type dicom-seg")
    if request.choice != SeriesChoice() and kinds != {"dicom"}:
        raise UsageError("--series-uid, --flair, --t1 and --t1c: for DICOM input alone")
    if any(name.startswith("dicom-") for name in outputs):
        load_highdicom()
    if "nifti" in outputs:
        import_extra("nibabel", "nifti")


def _check_evaluable(listing: Listing) -> None:
    slices = [study for study in listing.studies if study.kind == RASTER]
    if not slices:
        raise UsageError(f"--evaluate: {NOT_SCORED}")
    if not any(listing.masks_of(path) for study in slices for path in study.files):
        raise UsageError(
            f"--evaluate: no *_mask file beside the slices of {listing.root}; put the reference of "
            "NAME.png into its folder as NAME_mask.png"
        )
