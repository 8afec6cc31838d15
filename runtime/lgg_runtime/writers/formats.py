"""One function a format: what is written of a slice or a scan, by the name of the output."""

from __future__ import annotations

from collections.abc import Callable

from lgg_runtime.writers.dicom_sc import encode_dicom_sc
from lgg_runtime.writers.dicom_seg import encode_dicom_seg, encode_dicom_seg_fractional
from lgg_runtime.writers.dicom_sr import encode_dicom_sr
from lgg_runtime.writers.images import (
    SliceResult,
    encode_heatmap,
    encode_mask,
    encode_overlay,
    encode_probability,
)
from lgg_runtime.writers.nifti import encode_nifti
from lgg_runtime.writers.scan import ScanResult

# Name of the output: the end of its file name, and the function that encodes it.
OUTPUTS: dict[str, tuple[str, Callable[[SliceResult], bytes]]] = {
    "mask": ("_mask.png", encode_mask),
    "overlay": ("_overlay.png", encode_overlay),
    "heatmap": ("_heatmap.png", encode_heatmap),
    "probability": ("_probability.tif", encode_probability),
}


def numbered(number: int, end: str) -> str:
    """The end of a picture's name that is of one slice of a scan, the first being 1."""
    return f"{number:03d}{end}"


# Name of the output: the kinds of input that it can be written for, and the function that gives
# its files, by the ends of their names.
SCAN_OUTPUTS: dict[str, tuple[frozenset[str], Callable[[ScanResult], dict[str, bytes]]]] = {
    "dicom-seg": (frozenset({"dicom"}), encode_dicom_seg),
    "dicom-seg-fractional": (frozenset({"dicom"}), encode_dicom_seg_fractional),
    "nifti": (frozenset({"dicom", "nifti"}), encode_nifti),
    "dicom-sc": (frozenset({"dicom"}), encode_dicom_sc),
    "dicom-sr": (frozenset({"dicom"}), encode_dicom_sr),
}
