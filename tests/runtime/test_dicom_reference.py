"""A SEG of any layout of the source: its spacing, and the images and frames that it refers to."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("highdicom")
pytest.importorskip("SimpleITK")

import highdicom
import pydicom

from lgg_runtime.readers.dicom import DicomSource
from lgg_runtime.writers.dicom_seg import encode_dicom_seg
from lgg_runtime.writers.formats import SCAN_OUTPUTS
from lgg_runtime.writers.scan import ScanResult
from stand_ins.converters import HAS_DCIODVFY, check_by, with_dciodvfy
from stand_ins.dicom_study import PLANE_MACROS, Study, result_of

STEP_MM = 28.2
ALL = range(6)


def in_turn(*orders: Sequence[int], per_frame: Sequence[str] = ()) -> Callable[[Study], object]:
    return lambda study: study.enhance(*orders, per_frame=per_frame)


def with_an_odd_frame(study: Study) -> None:
    """The last frame of the object is a localizer."""
    (path,) = study.enhance(ALL, per_frame=tuple(PLANE_MACROS))
    data = pydicom.dcmread(path)
    orientation = data.PerFrameFunctionalGroupsSequence[5].PlaneOrientationSequence[0]
    orientation.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    data.save_as(path)


def with_jitter(study: Study) -> None:
    for place, path in enumerate(study.flair):
        sine = 0.0035 + place % 2 * 2e-6
        cosine = np.sqrt(1 - sine**2)
        study.change(path, ImageOrientationPatient=[cosine, sine, 0, -sine, cosine, 0])


LAYOUTS: dict[str, Callable[[Study], object]] = {
    "single frames": lambda study: None,
    "orientations that differ by rounding": with_jitter,
    "shared macros": in_turn(ALL),
    "out of order": in_turn([3, 1, 5, 0, 2, 4]),
    "pixel measures per frame": in_turn(ALL, per_frame=("PixelMeasuresSequence",)),
    "orientation per frame": in_turn(ALL, per_frame=("PlaneOrientationSequence",)),
    "all macros per frame": in_turn(ALL, per_frame=tuple(PLANE_MACROS)),
    "two objects": in_turn([0, 2, 4], [1, 3, 5]),
    "an object a frame": in_turn(*([place] for place in ALL)),
    "an odd frame": with_an_odd_frame,
}


@pytest.fixture(params=list(LAYOUTS))
def result(request: pytest.FixtureRequest, study: Study) -> ScanResult:
    LAYOUTS[request.param](study)
    return result_of(study)


def seg_of(result: ScanResult) -> Any:
    return pydicom.dcmread(io.BytesIO(encode_dicom_seg(result)["seg.dcm"]))


def test_every_frame_refers_to_the_image_and_frame_that_it_was_found_in(
    result: ScanResult,
) -> None:
    seg, source = seg_of(result), result.volume.source
    assert isinstance(source, DicomSource)
    found = []
    for groups, plane in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.SpatialLocationsPreserved == "YES"
        (place,) = (
            place
            for place, frame in enumerate(source.frames)
            if frame.header.SOPInstanceUID == image.ReferencedSOPInstanceUID
            and frame.header.SOPClassUID == image.ReferencedSOPClassUID
            and frame.index + 1 == image.get("ReferencedFrameNumber", 1)
        )
        np.testing.assert_array_equal(plane, result.segmentation.mask[place])
        at = groups.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(at, source.frames[place].position)
        found.append(place)
    assert sorted(found) == list(range(len(source.frames)))


def test_the_series_and_each_of_its_objects_are_referred_to_once(result: ScanResult) -> None:
    seg, source = seg_of(result), result.volume.source
    assert isinstance(source, DicomSource)
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.headers[0].SeriesInstanceUID
    uids = {header.SOPInstanceUID for header in source.headers}
    for images in (series.ReferencedInstanceSequence, seg.SourceImageSequence):
        assert len(images) == len(uids)
        assert {image.ReferencedSOPInstanceUID for image in images} == uids


def test_frames_are_numbered_where_an_object_has_others(study: Study) -> None:
    with_an_odd_frame(study)
    seg = seg_of(result_of(study))
    (image,) = seg.SourceImageSequence
    assert list(image.ReferencedFrameNumber) == [1, 2, 3, 4, 5]


def test_highdicom_finds_the_slices_as_far_apart_as_their_positions_are(
    result: ScanResult,
) -> None:
    data = encode_dicom_seg(result)["seg.dcm"]
    geometry = highdicom.seg.segread(io.BytesIO(data)).get_volume_geometry()
    assert geometry is not None
    assert geometry.spacing == pytest.approx((STEP_MM, 7.2, 7.2))
    assert geometry.spatial_shape == result.volume.pixels.shape[:3]


@with_dciodvfy
def test_dciodvfy_finds_no_error_in_any_object(result: ScanResult, tmp_path: Path) -> None:
    assert_valid(result, tmp_path)


@pytest.mark.parametrize(
    "measures",
    [
        {"SliceThickness": 5, "SpacingBetweenSlices": 1},
        {"SliceThickness": 5, "SpacingBetweenSlices": -STEP_MM},
        {"SliceThickness": 0, "SpacingBetweenSlices": 0},
        {"SliceThickness": ""},
        {"SliceThickness": None},
    ],
)
def test_the_spacing_is_that_of_the_positions_whatever_a_header_claims(
    study: Study, measures: dict[str, Any], tmp_path: Path
) -> None:
    study.change_flair(**measures)
    result = result_of(study)
    (shared,) = seg_of(result).SharedFunctionalGroupsSequence
    written = shared.PixelMeasuresSequence[0]
    assert written.SpacingBetweenSlices == pytest.approx(STEP_MM)
    assert written.SliceThickness == pytest.approx(STEP_MM)
    if HAS_DCIODVFY:
        assert_valid(result, tmp_path)


def test_the_headers_of_the_source_stay_as_they_were(study: Study) -> None:
    study.change_flair(PatientID=None)
    result = result_of(study)
    source = result.volume.source
    assert isinstance(source, DicomSource)
    before = [header.to_json() for header in source.headers]
    for _, encode in SCAN_OUTPUTS.values():
        encode(result)
    assert [header.to_json() for header in source.headers] == before


def assert_valid(result: ScanResult, folder: Path) -> None:
    for output, encode in (item for item in SCAN_OUTPUTS.items() if item[0] != "nifti"):
        for name, data in encode[1](result).items():
            path = folder / f"{output} {name}"
            path.write_bytes(data)
            check_by("dciodvfy", path)
