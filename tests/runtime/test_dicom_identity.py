"""UIDs of written DICOM objects: one for the same bytes, others for others."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("highdicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.writers.formats import SCAN_OUTPUTS
from lgg_runtime.writers.scan import ScanResult
from stand_ins.dicom_study import Study
from stand_ins.results import found_in

# As docs/dicom.md has them.
SERIES_NUMBERS = {
    "dicom-seg": 9001, "dicom-sr": 9002, "dicom-sc": 9003, "dicom-seg-fractional": 9004,
}  # fmt: skip
DICOM_OUTPUTS = [name for name in SCAN_OUTPUTS if name.startswith("dicom-")]


@pytest.fixture
def result(study: Study) -> ScanResult:
    """Four tumour pixels in the third slice."""
    volume = read_dicom(study.files)
    probability = np.zeros(volume.pixels.shape[:3], np.float32)
    probability[2, 8:10, 8:10] = 0.9
    return found_in(volume, probability)


def encode(name: str, result: ScanResult) -> dict[str, bytes]:
    """The objects of an output by their SOPInstanceUID."""
    objects = SCAN_OUTPUTS[name][1](result).values()
    return {str(pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID): data for data in objects}


def change(result: ScanResult, **fields: Any) -> ScanResult:
    return replace(result, segmentation=replace(result.segmentation, **fields))


def test_a_seg_says_what_it_shows_and_which_model_found_it(result: ScanResult) -> None:
    (data,) = encode("dicom-seg", change(result, threshold=0.35)).values()
    (segment,) = pydicom.dcmread(io.BytesIO(data)).SegmentSequence
    codes = {
        "SegmentedPropertyCategoryCodeSequence": "49755003",  # morphologically abnormal structure
        "SegmentedPropertyTypeCodeSequence": "52988006",  # lesion
        "AnatomicRegionSequence": "12738006",  # brain
    }
    for keyword, value in codes.items():
        (code,) = segment[keyword].value
        assert (code.CodeValue, code.CodingSchemeDesignator) == (value, "SCT"), keyword
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    (family,) = algorithm.AlgorithmFamilyCodeSequence
    assert (family.CodeValue, family.CodingSchemeDesignator) == ("123110", "DCM")
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("lgg-edge tiny", "1.0")
    told = algorithm.AlgorithmParameters
    assert f"model SHA-256={'ab' * 32}" in told and "threshold=0.35" in told
    assert segment.SegmentAlgorithmType == "AUTOMATIC"


@pytest.mark.parametrize("name", DICOM_OUTPUTS)
def test_the_same_result_is_the_same_object(name: str, result: ScanResult) -> None:
    assert encode(name, result) == encode(name, change(result, threshold=0.5))


@pytest.mark.parametrize("name", DICOM_OUTPUTS)
def test_an_object_says_what_made_it_and_that_it_is_for_research_alone(
    name: str, result: ScanResult
) -> None:
    for data in encode(name, result).values():
        made = pydicom.dcmread(io.BytesIO(data))
        assert (made.Manufacturer, made.ManufacturerModelName) == ("lgg-edge", "tiny")
        assert made.SoftwareVersions == "1.0"
        assert made.SeriesNumber == SERIES_NUMBERS[name]
        assert made.SeriesDescription.endswith("research use only")
        # A secondary capture has no serial number.
        digest = made.get("DeviceSerialNumber") or made.DerivationDescription.split()[-1]
        assert digest == "ab" * 8
        if name == "dicom-sc":
            assert (made.BurnedInAnnotation, made.ConversionType) == ("NO", "SYN")


def test_captures_of_many_slices_read_the_mask_once(
    result: ScanResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice a slice made them quadratic in their number."""
    real, hashed = hashlib.sha256, []

    class Counting:
        def __init__(self, data: bytes = b""):
            self.inner = real()
            self.update(data)
            self.digest = self.inner.digest

        def update(self, data: bytes) -> None:
            hashed.append(data)
            self.inner.update(data)

    monkeypatch.setattr(hashlib, "sha256", Counting)
    assert len(encode("dicom-sc", result)) == 6
    assert hashed.count(result.segmentation.mask.tobytes()) == 1


@pytest.mark.parametrize("name", DICOM_OUTPUTS)
@pytest.mark.parametrize(
    "corrected",
    [
        {"PatientName": "Another^Name"},
        {"PatientID": "7"},
        {"StudyInstanceUID": "1.2.3.4"},
        {"StudyDescription": "brain"},
        {"StudyDate": "20010204"},
        {"Manufacturer": "another"},
        {"FrameOfReferenceUID": "1.2.3.5"},
        {"PixelSpacing": [2, 2]},
        {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]},
    ],
    ids=lambda corrected: next(iter(corrected)),
)
def test_an_object_of_a_corrected_header_is_another_object(
    name: str, corrected: dict[str, Any], result: ScanResult, study: Study
) -> None:
    for path in study.files:
        study.change(path, **corrected)
    other = replace(result, volume=read_dicom(study.files))
    assert not encode(name, result).keys() & encode(name, other).keys()


@pytest.mark.parametrize("name", DICOM_OUTPUTS)
def test_an_object_of_images_in_another_place_is_another_object(
    name: str, result: ScanResult, study: Study
) -> None:
    for path in study.files:
        left, back, up = pydicom.dcmread(path).ImagePositionPatient
        study.change(path, ImagePositionPatient=[left + 1, back, up])
    other = replace(result, volume=read_dicom(study.files))
    assert not encode(name, result).keys() & encode(name, other).keys()


@pytest.mark.parametrize("name", DICOM_OUTPUTS)
@pytest.mark.parametrize(
    "another",
    [
        lambda result: change(result, threshold=0.3),
        lambda result: change(result, doubts=("no head in it",)),
        lambda result: change(result, mask=result.segmentation.probability > 1),
        lambda result: replace(result, algorithm=replace(result.algorithm, digest="cd" * 32)),
        lambda result: replace(result, algorithm=replace(result.algorithm, name="other")),
        lambda result: replace(result, algorithm=replace(result.algorithm, version="1.1")),
    ],
    ids=["threshold", "doubts", "mask", "model", "name", "version"],
)
def test_an_object_of_other_bytes_is_another_object(
    name: str, another: Callable[[ScanResult], ScanResult], result: ScanResult
) -> None:
    one, other = encode(name, result), encode(name, another(result))
    assert len(one) == len(other)
    assert not one.keys() & other.keys()
