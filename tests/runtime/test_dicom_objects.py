"""Bad and unusual DICOM objects: every row names what it is and gets its exact words."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgg_runtime.errors import InputError

pytest.importorskip("pydicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.readers import dicom_encoding, dicom_files
from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.readers.dicom_files import MAX_INFLATED_BYTES, list_dicomdir
from stand_ins.dicom_study import T1, Study, reason, write_dicomdir


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ImagePositionPatient": None}, "no usable ImagePositionPatient; without it there is no "
         "volume"),
        ({"ImageOrientationPatient": None}, "no usable ImageOrientationPatient; without it there "
         "is no volume"),
        ({"PixelSpacing": None}, "no usable PixelSpacing; without it there is no volume"),
        ({"PixelSpacing": [0, 1]}, "PixelSpacing (0.0, 1.0) is not positive"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "ImageOrientationPatient is no pair of "
         "perpendicular directions"),
        ({"BitsStored": 17}, "17 bits stored of 16 allocated; refused"),
        ({"HighBit": 15}, "HighBit 15 for 12 bits stored; export the study again"),
        ({"Rows": 5000}, "claims 5000 x 32 pixels; at most 4096 a side"),
        ({"Rows": None}, "its DICOM header is cut short or damaged"),
        ({"Columns": None}, "no usable Columns"),
        ({"SamplesPerPixel": 3}, "expected grey pixels, found 3 samples of another kind"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "expected grey pixels, found 1 samples of "
         "another kind"),
        ({"RescaleSlope": 0}, "RescaleSlope 0 makes all values equal"),
        ({"RescaleSlope": 1e38}, "RescaleSlope 1e+38 and RescaleIntercept 0 give values that are "
         "no finite numbers in float32; export the study again"),
        ({"RescaleSlope": 1, "RescaleIntercept": -1e39}, "RescaleSlope 1 and RescaleIntercept "
         "-1e+39 give values that are no finite numbers in float32; export the study again"),
        ({"RescaleSlope": 1, "RescaleIntercept": "1e999"}, "RescaleSlope 1 and RescaleIntercept "
         "inf give values that are no finite numbers in float32; export the study again"),
        ({"PixelData": None}, "has no pixels"),
        ({"PixelData": b"\0" * 64}, "its pixels are cut short, damaged or changed"),
    ],
)  # fmt: skip
def test_a_header_that_gives_no_volume_is_refused(
    study: Study, change: dict[str, Any], message: str
) -> None:
    study.change(study.flair[0], **change)
    assert reason(study) == f"{study.flair[0].name}: {message}"


def test_a_high_bit_of_text_is_refused_and_not_shown(study: Study) -> None:
    data = pydicom.dcmread(study.flair[0])
    data["HighBit"] = pydicom.DataElement("HighBit", "LO", "Drawn^By Code")
    data.save_as(study.flair[0])
    assert reason(study) == f"{study.flair[0].name}: no usable HighBit"


def test_rows_as_a_32_bit_value_are_refused(study: Study) -> None:
    data = study.flair[0].read_bytes()
    short = b"\x28\x00\x10\x00US\x02\x00" + struct.pack("<H", 32)
    long = b"\x28\x00\x10\x00UL\x04\x00" + struct.pack("<I", 32 << 20)
    assert short in data
    study.flair[0].write_bytes(data.replace(short, long))
    assert reason(study) == (
        f"{study.flair[0].name}: claims 33554432 x 32 pixels; at most 4096 a side"
    )


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (150, "its DICOM header is cut short or damaged"),
        (300, "its DICOM header is cut short or damaged"),
        (420, "its DICOM header is cut short or damaged"),
        (-100, "its pixels are cut short, damaged or changed"),
    ],
)
def test_a_cut_file_is_refused(study: Study, length: int, message: str) -> None:
    study.flair[0].write_bytes(study.flair[0].read_bytes()[:length])
    assert reason(study) == f"{study.flair[0].name}: {message}"


def test_another_file_of_a_folder_is_no_damaged_header(study: Study) -> None:
    study.flair[0].write_bytes(b"How to open the viewer of this disc.\n" * 9)
    assert reason(study) == (
        f"{study.flair[0].name}: expected a DICOM file, found no DICM at byte 128"
    )


def deflate(path: Path, **more: Any) -> None:
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    data.update(more)
    data.save_as(path)


def test_a_deflated_study_is_the_study(study: Study) -> None:
    before = read_dicom(study.files)
    for path in study.files:
        deflate(path)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_deflated
    after = read_dicom(study.files)
    np.testing.assert_array_equal(after.pixels, before.pixels)
    assert after.notes == before.notes


def test_a_check_sum_behind_a_deflated_data_set_is_passed_over(study: Study) -> None:
    before = read_dicom(study.files)
    for path in study.flair:
        # As of GDCM; with more than one block of pixels and what else there is to inflate.
        deflate(path, ImageComments="a" * 200_000)
        path.write_bytes(path.read_bytes() + bytes(8))
    np.testing.assert_array_equal(read_dicom(study.files).pixels, before.pixels)


def test_a_deflated_bomb_is_refused_before_it_is_inflated_as_a_whole(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    deflate(study.flair[0], PixelData=bytes(MAX_INFLATED_BYTES))
    assert study.flair[0].stat().st_size < MAX_INFLATED_BYTES / 500
    monkeypatch.setattr(zlib, "decompress", None)
    assert reason(study) == (
        f"{study.flair[0].name}: inflates to more than 256 MiB; convert it, e.g. with dcmconv"
    )


@pytest.mark.parametrize("is_deflated", [True, False])
def test_a_header_of_more_parts_than_a_limit_is_refused_before_it_is_parsed(
    study: Study, monkeypatch: pytest.MonkeyPatch, is_deflated: bool
) -> None:
    path = study.flair[0]
    change = deflate if is_deflated else study.change
    change(path, ReferencedImageSequence=[pydicom.Dataset() for _ in range(1000)])
    for module in (dicom_files, dicom_encoding):
        monkeypatch.setattr(module, "MOST_PARTS", 1000)
    monkeypatch.setattr(pydicom, "dcmread", None)
    with pytest.raises(InputError) as refused:
        dicom_files.read_header(path)
    assert str(refused.value) == (
        f"{path.name}: its header has more than 1000 elements and items; refused"
    )


def test_a_large_header_that_is_cut_within_an_item_is_refused(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_files, "MOST_PARTS", 10)  # of a file above 80 bytes
    path = study.flair[0]
    header = pydicom.dcmread(path)
    item = pydicom.Dataset()
    item.ImageComments = "b" * 2000
    header.ReferencedImageSequence = [item]
    header["ReferencedImageSequence"].is_undefined_length = True
    header.save_as(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"bbbb") + 1000])
    assert reason(study) == f"{path.name}: {dicom_files.CUT_HEADER}"


@pytest.mark.parametrize("length", [300, 500, -100])
def test_a_deflated_file_that_was_cut_is_refused(study: Study, length: int) -> None:
    deflate(study.flair[0])
    study.flair[0].write_bytes(study.flair[0].read_bytes()[:length])
    assert reason(study) == f"{study.flair[0].name}: its DICOM header is cut short or damaged"


def test_three_hundred_nested_sequences_do_no_harm(study: Study) -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    opened = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff" + item
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    data = study.flair[0].read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00")
    study.flair[0].write_bytes(data[:at] + opened * 300 + closed * 300 + data[at:])
    try:
        assert len(read_dicom(study.files)) == 6
    except InputError as error:
        assert str(error) == f"{study.flair[0].name}: sequences are nested too deeply; refused"


def test_a_uid_with_path_parts_is_only_a_name(study: Study) -> None:
    study.change_flair(SeriesInstanceUID="1.2.3/../../../4")
    before = sorted(os.walk(study.folder.parent))
    assert len(read_dicom(study.files)) == 6
    assert sorted(os.walk(study.folder.parent)) == before


def test_a_file_named_by_its_uid_is_named_by_a_digest(study: Study) -> None:
    named = study.flair[0].rename(study.folder / "2.25.123456789.1.2.dcm")
    study.change(named, PixelSpacing=None)
    text = reason(study)
    assert text.startswith("uid-")
    assert text.endswith(".dcm: no usable PixelSpacing; without it there is no volume")


def test_white_is_low_in_monochrome1(study: Study) -> None:
    straight = read_dicom(study.files).pixels[..., 1]
    for path in study.flair:
        data = pydicom.dcmread(path)
        stored = np.frombuffer(data.PixelData, "<u2")
        study.change(
            path, PhotometricInterpretation="MONOCHROME1", PixelData=(4095 - stored).tobytes()
        )
    np.testing.assert_array_equal(read_dicom(study.files).pixels[..., 1], straight)


def test_bits_above_the_stored_ones_do_not_count(study: Study) -> None:
    straight = read_dicom(study.files).pixels
    for path in study.flair:
        stored = np.frombuffer(pydicom.dcmread(path).PixelData, "<u2")
        study.change(path, PixelData=(stored | 0xA000).tobytes())
    np.testing.assert_array_equal(read_dicom(study.files).pixels, straight)


def test_signed_values_keep_their_sign(study: Study) -> None:
    for path in study.flair:
        study.change(
            path, PixelRepresentation=1, PixelData=np.full(32 * 32, 0x0FFF, "<u2").tobytes()
        )
    assert (read_dicom(study.files).pixels[..., 1] == -1 / 8).all()


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        ("JPEG2000Lossless", "openjpeg"),
        ("RLELossless", "pydicom"),
        ("JPEGLSLossless", "jpeg_ls"),
    ],
)
def test_lossless_syntaxes_give_the_same_volume(study: Study, syntax: str, package: str) -> None:
    pytest.importorskip(package)
    straight = read_dicom(study.files).pixels
    for path in study.flair:
        data = pydicom.dcmread(path)
        data.compress(getattr(pydicom.uid, syntax), generate_instance_uid=False)
        data.save_as(path)
    np.testing.assert_array_equal(read_dicom(study.files).pixels, straight)


def test_jpeg_ls_keeps_the_sign_of_12_bits(study: Study) -> None:
    pytest.importorskip("jpeg_ls")
    for path in study.flair:
        stored = np.frombuffer(pydicom.dcmread(path).PixelData, "<u2").astype(np.int16) - 300
        study.change(path, PixelRepresentation=1, PixelData=stored.tobytes())
    straight = read_dicom(study.files).pixels
    assert straight.min() < 0
    for path in study.flair:
        # As DCMTK does: all bits allocated are encoded, those above the stored ones as zeros.
        data = pydicom.dcmread(path)
        data.PixelData = (np.frombuffer(data.PixelData, "<u2") & 0x0FFF).tobytes()
        data.PixelRepresentation, data.BitsStored, data.HighBit = 0, 16, 15
        data.compress(pydicom.uid.JPEGLSLossless, generate_instance_uid=False)
        data.PixelRepresentation, data.BitsStored, data.HighBit = 1, 12, 11
        data.save_as(path)
    np.testing.assert_array_equal(read_dicom(study.files).pixels, straight)


def test_jpeg_ls_keeps_no_bits_above_the_stored_ones(study: Study) -> None:
    pytest.importorskip("jpeg_ls")
    straight = read_dicom(study.files).pixels
    for path in study.flair:
        data = pydicom.dcmread(path)
        data.PixelData = (np.frombuffer(data.PixelData, "<u2") | 0x8000).tobytes()
        data.BitsStored, data.HighBit = 16, 15
        data.compress(pydicom.uid.JPEGLSLossless, generate_instance_uid=False)
        data.BitsStored, data.HighBit = 12, 11
        data.save_as(path)
    np.testing.assert_array_equal(read_dicom(study.files).pixels, straight)


def test_a_missing_codec_is_named_with_its_package(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = pydicom.pixels.get_decoder(pydicom.uid.RLELossless)
    for path in study.flair:
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        data.save_as(path)
    monkeypatch.setattr(decoder, "_available", {})
    assert reason(study) == (
        f"{study.flair[0].name}: RLE Lossless needs a codec; pip install 'lgg-edge[dicom]' "
        "(pylibjpeg, pyjpegls, python-gdcm)"
    )


def test_a_corrupt_fragment_is_refused(study: Study) -> None:
    data = pydicom.dcmread(study.flair[0])
    data.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    data.PixelData = data.PixelData[:40] + b"\xff" * 20
    data.save_as(study.flair[0])
    assert reason(study).startswith(f"{study.flair[0].name}: its pixels are cut short, damaged")


def test_a_localizer_inside_the_series_is_dropped(study: Study) -> None:
    data = pydicom.dcmread(study.flair[0])
    data.SOPInstanceUID += ".1"
    data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    data.save_as(study.folder / "odd")
    volume = read_dicom(study.files)
    assert len(volume) == 6
    assert volume.notes[0] == "4 localizer or derived frames dropped"


def test_other_objects_of_the_study_are_passed_over(study: Study) -> None:
    data = pydicom.dcmread(study.flair[0])
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.11.1"
    data.SOPInstanceUID += ".1"
    data.save_as(study.folder / "state")
    assert read_dicom(study.files).notes[0] == "1 object that is no MR image passed over"


def test_a_dicomdir_lists_its_files(study: Study) -> None:
    files = study.files
    path = write_dicomdir(study.folder, *([file.name] for file in files))
    assert list_dicomdir(path) == files


def test_a_file_that_a_dicomdir_lists_again_and_again_is_read_once(study: Study) -> None:
    """Of what looks like a copy all bytes are read."""
    files = study.files
    path = write_dicomdir(study.folder, *([file.name] for file in [*files, *files, files[0]]))
    assert list_dicomdir(path) == files


def test_a_dicomdir_in_small_letters_lists_files_in_small_letters(study: Study) -> None:
    path, files = study.folder / "DICOMDIR", study.files
    write_dicomdir(study.folder, *([file.name] for file in files))
    small = [file.rename(file.with_name(file.name.lower())) for file in files]
    assert list_dicomdir(path.rename(study.folder / "dicomdir")) == small


def test_a_series_without_a_place_is_passed_over_and_named(study: Study) -> None:
    for path in study.by_series[T1]:
        study.change(path, ImagePositionPatient=None)
    first = min(study.by_series[T1]).name
    missing = "no usable ImagePositionPatient; without it there is no volume"
    told = [
        f"a series is passed over: {first}: {missing}",
        "no pre-contrast T1; FLAIR in its place",
    ]
    assert set(told) <= set(read_dicom(study.files).notes)


@pytest.mark.parametrize("parts", [["/etc", "passwd"], ["a/../../b"]])
def test_a_dicomdir_that_points_outside_is_refused(study: Study, parts: list[str]) -> None:
    path = write_dicomdir(study.folder, parts)
    with pytest.raises(InputError, match=r"^DICOMDIR: points outside its folder; refused$"):
        list_dicomdir(path)


def test_a_dicomdir_that_lists_a_link_to_the_outside_is_refused(
    study: Study, tmp_path: Path
) -> None:
    path = write_dicomdir(study.folder, ["LINK"])
    (study.folder / "LINK").symlink_to(study.flair[0].rename(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match=r"^DICOMDIR: points outside its folder; refused$"):
        list_dicomdir(path)


def test_an_enhanced_object_gives_the_same_volume(study: Study) -> None:
    straight = read_dicom(study.files)
    study.enhance([3, 1, 5, 0, 2, 4])
    volume = read_dicom(study.files)
    np.testing.assert_array_equal(volume.pixels, straight.pixels)
    np.testing.assert_allclose(volume.affine, straight.affine)
