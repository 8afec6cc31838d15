"""Series of a DICOM study: which are used, replaced, dropped and refused, in exact words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgg_runtime.errors import UsageError
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_train.phantom_scan import ScanSettings, make_scan

pytest.importorskip("pydicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.readers.scans import find_scans
from stand_ins.dicom_study import FLAIR, SMALL, T1, T1C, Study, reason

NEW_UIDS = "export the study again, with new UIDs if de-identified"


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_an_image_without_an_identifier_is_refused(study: Study, keyword: str) -> None:
    """Objects would refer to it by an empty UID, which no rule of DICOM allows."""
    study.change(study.flair[2], **{keyword: ""})
    assert reason(study) == (f"{study.flair[2].name}: {keyword} is empty; export the study again")


@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
)
def test_an_identifier_that_was_taken_out_is_named(study: Study, keyword: str) -> None:
    """As by a recipe of de-identification that removes UIDs: no file of it is damaged."""
    data = pydicom.dcmread(study.flair[2])
    delattr(data, keyword)
    data.save_as(study.flair[2], enforce_file_format=False)
    assert reason(study) == f"{study.flair[2].name}: no {keyword}; {NEW_UIDS}"


def test_a_file_without_its_class_is_told_as_that(study: Study) -> None:
    data = pydicom.dcmread(study.flair[2])
    del data.file_meta.MediaStorageSOPClassUID
    data.save_as(study.flair[2], enforce_file_format=False)
    assert reason(study) == f"{study.flair[2].name}: no MediaStorageSOPClassUID; {NEW_UIDS}"


def test_paths_may_be_text_and_one_path_is_no_list(study: Study) -> None:
    assert len(read_dicom(str(path) for path in study.files)) == 6
    for one in (study.folder, str(study.folder)):
        with pytest.raises(UsageError, match="files: expected a list of paths, found one "):
            read_dicom(one)  # type: ignore[arg-type]


def test_a_study_is_shown_without_its_patient(study: Study) -> None:
    """A notebook keeps what a cell shows, and is passed on."""
    volume = read_dicom(study.files)
    name = str(pydicom.dcmread(study.files[0]).PatientName)
    assert name and "IM" in repr(volume.source)
    assert name not in repr(volume) + repr(volume.source)


def test_flair_stands_in_for_sequences_that_are_not_there(study: Study) -> None:
    study.drop(T1, T1C)
    volume = read_dicom(study.files)
    for channel in (0, 2):
        np.testing.assert_array_equal(volume.pixels[..., channel], volume.pixels[..., 1])
    assert volume.notes[-2:] == (
        "no pre-contrast T1; FLAIR in its place",
        "no post-contrast T1; FLAIR in its place",
    )


def test_a_t1_on_another_grid_is_resampled_and_one_elsewhere_replaced(study: Study) -> None:
    for path in study.by_series[T1]:
        x, y, z = pydicom.dcmread(path).ImagePositionPatient
        study.change(path, ImagePositionPatient=[x + 3.6, y, z])
    for path in study.by_series[T1C]:
        x, y, z = pydicom.dcmread(path).ImagePositionPatient
        study.change(path, ImagePositionPatient=[x + 100, y, z])
    straight = make_scan(0, SMALL, ScanSettings()).pixels[..., 0] * 8.0
    volume = read_dicom(study.files)
    assert volume.notes[-2:] == (
        "pre-contrast T1 is series 2 (pre-contrast T1, axial, 6 x 32 x 32), resampled onto "
        "FLAIR's grid",
        "series 4 (post-contrast T1, axial, 6 x 32 x 32) covers 57% of the head in FLAIR; FLAIR in "
        "its place",
    )
    # Half a pixel of 7.2 mm along the columns: the mean of two neighbours.
    halfway = (straight[..., 1:] + straight[..., :-1]) / 2
    np.testing.assert_allclose(volume.pixels[..., 1:, 0], halfway, atol=1e-3)
    np.testing.assert_array_equal(volume.pixels[..., 2], volume.pixels[..., 1])


def test_a_t1_need_not_reach_into_the_air_beside_the_head(study: Study) -> None:
    straight = read_dicom(study.files).pixels
    flair = straight[..., 1]
    first, *_, last = np.flatnonzero((flair > 0.12 * flair.max()).any(axis=(0, 1)))
    assert 32 / (last + 1 - first) > 1 / 0.9, "less than nine tenths of FLAIR's columns hold head"
    for path in study.by_series[T1]:
        header = pydicom.dcmread(path)
        cut = np.ascontiguousarray(header.pixel_array[:, first : last + 1])
        x, y, z = header.ImagePositionPatient
        moved = [x + float(first) * float(header.PixelSpacing[1]), y, z]
        study.change(
            path, Columns=cut.shape[1], PixelData=cut.tobytes(), ImagePositionPatient=moved
        )
    volume = read_dicom(study.files)
    assert any("resampled onto FLAIR's grid" in note for note in volume.notes)
    np.testing.assert_allclose(
        volume.pixels[..., first : last + 1, 0], straight[..., first : last + 1, 0], atol=1e-3
    )


def test_a_t1_that_is_no_volume_is_replaced_and_one_chosen_by_hand_refused(study: Study) -> None:
    heights = {pydicom.dcmread(p).ImagePositionPatient[2]: p for p in study.by_series[T1]}
    heights[sorted(heights)[2]].unlink()
    gap = "series 2: a gap: between slices "
    notes = read_dicom(study.files).notes
    assert any(note.startswith(gap) and note.endswith("; FLAIR in its place") for note in notes)
    assert reason(study, SeriesChoice(t1="2")).startswith(gap)


def test_an_image_without_a_place_in_a_series_that_is_not_used_does_no_harm(study: Study) -> None:
    for path in study.by_series[1]:
        study.change(path, ImagePositionPatient=None)
    assert len(read_dicom(study.files)) == 6


def test_flair_s_damaged_pixels_are_named_before_another_series_that_is_passed_over(
    study: Study,
) -> None:
    for path in study.by_series[T1]:
        study.change(path, PixelSpacing=[1.5, 1.5])  # so that FLAIR's head is asked for
    for path in study.by_series[1]:
        study.change(path, ImagePositionPatient=None)
    study.change(study.flair[2], PixelData=b"\0" * 10)
    assert reason(study).startswith(f"{study.flair[2].name}: ")


@pytest.mark.parametrize("series", [FLAIR, T1, T1C])
def test_one_in_a_series_that_is_used_is_refused(study: Study, series: int) -> None:
    path = study.by_series[series][0]
    study.change(path, PixelSpacing=None)
    expected = f"{path.name}: no usable PixelSpacing; without it there is no volume"
    assert reason(study) == expected


@pytest.mark.parametrize("jittering", [[1, 3, 5], [5], [4, 5]])
def test_orientations_that_differ_by_rounding_are_one_stack(
    study: Study, jittering: list[int]
) -> None:
    for place, path in enumerate(study.flair):
        sine = 0.005001 if place in jittering else 0.004999
        study.change(path, ImageOrientationPatient=[1, sine, 0, -sine, 1, 0])
    volume = read_dicom(study.files)
    assert len(volume) == 6
    assert "3 localizer or derived frames dropped" in volume.notes


SINE = 0.04536  # of 2.6 degrees
TORN = (
    {"FrameOfReferenceUID": "1.2.3.4"},
    {"ImageOrientationPatient": [0.99897, SINE, 0, -SINE, 0.99897, 0]},
)


@pytest.mark.parametrize("change", TORN, ids=["frame of reference", "orientation"])
@pytest.mark.parametrize("places", [(5,), (4, 5), (0,), (0, 5)], ids=str)
def test_the_last_slices_are_not_taken_for_a_localizer(
    study: Study, change: dict[str, Any], places: tuple[int, ...]
) -> None:
    for place in places:
        study.change(study.flair[place], **change)
    slices = "1 slice continues" if len(places) == 1 else "2 slices continue"
    assert reason(study) == (
        f"series 3: {slices} it in another orientation or frame of reference; choose another series"
    )


def test_a_torn_t1_is_replaced(study: Study) -> None:
    for path in study.by_series[T1]:
        if pydicom.dcmread(path).ImagePositionPatient[2] > 60:
            study.change(path, FrameOfReferenceUID="1.2.3.4")
    (note,) = (note for note in read_dicom(study.files).notes if "continue" in note)
    assert note == (
        "series 2: 1 slice continues it in another orientation or frame of reference; choose "
        "another series; FLAIR in its place"
    )


def test_one_image_in_two_transfer_syntaxes_counts_once(study: Study) -> None:
    before = read_dicom(study.files)
    native, deflated, both = study.flair[:3]
    for path in (native, both):
        image = pydicom.dcmread(path)
        image.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        image.save_as(study.folder / f"rle_{path.name}")
    for path in (deflated, both):
        image = pydicom.dcmread(path)
        image.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        image.save_as(study.folder / f"{'' if path == both else 'deflated_'}{path.name}")
    volume = read_dicom(study.files)
    np.testing.assert_array_equal(volume.pixels, before.pixels)
    assert volume.notes == ("3 identical copies", *before.notes)


def test_one_uid_with_two_pictures_is_refused(study: Study) -> None:
    image = pydicom.dcmread(study.flair[0])
    image.PixelData = image.PixelData[:-1] + b"\1"
    image.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    image.save_as(study.folder / "ZZ")
    assert reason(study) == "ZZ: another file has its SOPInstanceUID and other content"


def test_a_series_is_chosen_by_its_number_or_its_uid(study: Study) -> None:
    uid = str(pydicom.dcmread(study.flair[0]).SeriesInstanceUID)
    by_uid = read_dicom(study.files, SeriesChoice(series_uids=(uid,)))
    by_number = read_dicom(study.files, SeriesChoice(flair="2"))
    np.testing.assert_array_equal(by_uid.pixels[..., 0], by_uid.pixels[..., 1])
    np.testing.assert_array_equal(by_number.pixels[..., 1], by_number.pixels[..., 0])
    assert reason(study, SeriesChoice(series_uids=("1.2.3.4.5",))) == (
        "no MR image in it of the series chosen"
    )


def test_damaged_files_are_not_each_compared_with_every_image(study: Study, tmp_path: Path) -> None:
    """Of twenty thousand each that would take half an hour."""
    asked = 0

    class Asked(type(tmp_path)):  # type: ignore[misc]
        @property
        def parent(self) -> Path:
            nonlocal asked
            asked += 1
            return super().parent  # type: ignore[no-any-return]

    number = 4 * len(study.files)
    (tmp_path / "damaged").mkdir()
    for index in range(number):
        (tmp_path / "damaged" / f"IM{index}").write_bytes(bytes(128) + b"DICM")
    paths = [Asked(path) for path in (*study.files, *(tmp_path / "damaged").iterdir())]
    assert len(find_scans(paths, tmp_path).studies) == 1 + number
    assert asked < 10 * len(paths)
