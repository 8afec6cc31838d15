"""FLAIR with the mask's outline burned in, as secondary captures, for viewers without SEG."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from lgg_runtime.readers.dicom_files import refusing_headers
from lgg_runtime.writers.dicom_identity import (
    SERIES_NUMBERS,
    Identity,
    equipment,
    finish,
    load_highdicom,
    source_of,
)
from lgg_runtime.writers.dicom_reference import LOSSY, bare_image
from lgg_runtime.writers.images import draw_overlay, show_scan
from lgg_runtime.writers.scan import ScanResult

_UNFIT = "its headers are not fit for a secondary capture"


def encode_dicom_sc(result: ScanResult) -> dict[str, bytes]:
    """`sc_001.dcm` and so on, RGB: every slice, so that a study without a finding shows it.

    Raises InputError where the volume was not read from DICOM or its headers forbid it.
    """
    load_highdicom()
    source = source_of(result)
    with refusing_headers(_UNFIT):
        identity = Identity.of(result)
    files = {}
    for index, shown in enumerate(show_scan(result)):
        with refusing_headers(_UNFIT):
            data = _capture(result, identity, index, draw_overlay(shown))
        files[f"sc_{index + 1:03d}.dcm"] = finish(data, source)
    return files


def _capture(result: ScanResult, identity: Identity, index: int, picture: Any) -> Any:
    """One slice; picture: (H, W, 3) uint8, BGR as OpenCV has it."""
    from highdicom.sc import ConversionTypeValues, SCImage
    from pydicom.uid import ExplicitVRLittleEndian

    frame = source_of(result).frames[index]
    template, made = bare_image(frame.header), equipment(result)
    spacing: Any = frame.spacing  # highdicom's annotation says integers
    data = SCImage.from_ref_dataset(
        ref_dataset=template,
        pixel_array=np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=identity.uid("sc series"),
        series_number=SERIES_NUMBERS["sc"],
        sop_instance_uid=identity.uid(f"sc {index}"),
        instance_number=index + 1,
        manufacturer=made["manufacturer"],
        pixel_spacing=spacing,
        patient_orientation=("L", "P"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    for keyword in LOSSY:
        if keyword in template:
            setattr(data, keyword, template[keyword].value)
    # highdicom knows no directions of three letters, which an oblique slice has.
    directions = (frame.orientation[:3], frame.orientation[3:])
    data.PatientOrientation = [_letters(direction) for direction in directions]
    del data.DateOfSecondaryCapture, data.TimeOfSecondaryCapture
    data.ConversionType = ConversionTypeValues.SYN.value
    data.SeriesDescription = result.verdict
    data.BodyPartExamined = "BRAIN"
    data.BurnedInAnnotation = "NO"
    data.ManufacturerModelName = made["manufacturer_model_name"]
    data.SoftwareVersions = made["software_versions"]
    told = (result.verdict, result.caution, f"model {result.algorithm.digest[:16]}")
    data.DerivationDescription = "; ".join(filter(None, told))
    return data


def _letters(direction: tuple[float, ...]) -> str:
    """Of a row's or a column's direction, the strongest first (PS3.3, C.7.6.1.1.1)."""
    pairs = (("L", "R"), ("P", "A"), ("H", "F"))
    ranked = sorted(zip(direction, pairs, strict=True), key=lambda item: -abs(item[0]))
    return "".join(pair[value < 0] for value, pair in ranked if abs(value) > 0.1)
