"""Pixels that are more than their header says: refused before a codec makes room for them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("SimpleITK")

import pydicom
from pydicom.encaps import encapsulate, encapsulate_extended

from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.readers.dicom_streams import join_fragments
from stand_ins.dicom_study import Study, reason

MORE = "its compressed pixels are more than its header says; refused"
DAMAGED = "its pixels are cut short, damaged or changed"
PLANE = 32 * 32 * 2
START = b"\xff\xc0" + struct.pack(">HBHHBBBB", 11, 8, 64, 64, 1, 1, 0x11, 0)  # of a frame
TILE = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 0, 0, 1)  # the start of one


def pack(path: Path, syntax: str, *frames: bytes, table: str = "none") -> None:
    """Compressed frames in place of a file's pixels."""
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    data.PixelData = encapsulate(list(frames), has_bot=table == "basic")
    if table == "extended":
        data.PixelData, offsets, lengths = encapsulate_extended(list(frames))
        data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = offsets, lengths
    data["PixelData"].VR = "OB"
    data.save_as(path)


def rle(high: bytes, low: bytes) -> bytes:
    """A frame of 16 bits from the runs of its two bytes (PS3.5, G)."""
    return struct.pack("<16I", 2, 64, 64 + len(high), *[0] * 13) + high + low


def grey_rle(value: int) -> bytes:
    """32 x 32 pixels of one value below 256, in 8 runs of 128."""
    return rle(b"\x81\0" * 8, bytes([0x81, value]) * 8)


def jpeg(side: int, channels: int = 1) -> bytes:
    done, data = cv2.imencode(".jpg", np.zeros((side, side, channels), np.uint8))
    assert done
    return bytes(data.tobytes())


def jpeg_2000(side: int, *segments: bytes, tile: int = 0) -> bytes:
    """The start of a codestream, which says its size, and the end (ISO 15444-1, A.5.1)."""
    size = (0xFF51, 41, 0, side, side, 0, 0, tile or side, tile or side, 0, 0, 1, 11, 1, 1)
    return b"\xff\x4f" + struct.pack(">HHH8IHBBB", *size) + b"".join(segments) + b"\xff\xd9"


def cod(layers: int, *sizes: int) -> bytes:
    """How the picture or the tile is coded: a precinct size for each of 6 levels, or none."""
    fields = (0xFF52, 12 + len(sizes), len(sizes) > 0, 0, layers, 0, 5, 4, 4, 0, 1, *sizes)
    return struct.pack(f">HH?BHBB4B{len(sizes)}B", *fields)


def coc(*sizes: int) -> bytes:
    """The same of the only component."""
    fields = (0xFF53, 9 + len(sizes), 0, len(sizes) > 0, 5, 4, 4, 0, 1, *sizes)
    return struct.pack(f">HHB?B4B{len(sizes)}B", *fields)


def refusal(study: Study) -> str:
    """Of the first FLAIR file."""
    return reason(study).removeprefix(f"{study.flair[0].name}: ")


@pytest.mark.parametrize("count", [0, 2, 4096])
def test_an_image_that_is_one_frame_by_its_class_claims_one(study: Study, count: int) -> None:
    pixels = bytes(PLANE) + pydicom.dcmread(study.flair[0]).PixelData
    study.change(study.flair[0], NumberOfFrames=count, PixelData=pixels)
    assert refusal(study) == (
        f"claims {count} frames as MR Image, which holds one; export it as Enhanced MR"
    )


@pytest.mark.parametrize("count", [1, ""])
def test_a_number_of_frames_that_is_one_or_empty_does_no_harm(study: Study, count: Any) -> None:
    study.change_flair(NumberOfFrames=count)
    assert len(read_dicom(study.files)) == 6


def test_a_transfer_syntax_is_named_by_its_own_name_alone(study: Study) -> None:
    pack(study.flair[0], "MPEG2MPML", grey_rle(1))
    name = pydicom.uid.MPEG2MPML.name
    assert refusal(study) == f"transfer syntax {name} cannot be decoded"
    pack(study.flair[0], "RLELossless", grey_rle(1))
    known, said = str(pydicom.uid.RLELossless).encode(), b"1.2\n\x1b[31mDOE^JANE"
    data = study.flair[0].read_bytes()
    assert data.count(known) == 1
    study.flair[0].write_bytes(data.replace(known, said.ljust(len(known), b"\0")))
    assert refusal(study) == "its transfer syntax cannot be decoded"


def test_a_syntax_whose_codec_takes_8_bits_alone_is_not_called_damaged(study: Study) -> None:
    pack(study.flair[0], "JPEGExtended12Bit", jpeg(32))
    assert refusal(study) == (
        "JPEG Extended of 12 bits is not read; convert it, e.g. with dcmdjpeg, or pip install "
        "pylibjpeg-libjpeg"
    )
    for path in study.flair:
        pack(path, "JPEGExtended12Bit", jpeg(32))
        study.change(path, BitsAllocated=8, BitsStored=8, HighBit=7)
    assert not read_dicom(study.files).pixels[..., 1].any()


@pytest.mark.parametrize("excess", [2, PLANE])
def test_more_plain_pixels_than_the_header_says_are_refused(study: Study, excess: int) -> None:
    pixels = bytes(excess) + pydicom.dcmread(study.flair[0]).PixelData
    study.change(study.flair[0], PixelData=pixels)
    assert refusal(study) == f"holds {2048 + excess} bytes of pixels, its header says 2048; refused"


def test_an_odd_number_of_bytes_is_padded_with_one(study: Study) -> None:
    for path in study.files:
        study.change(path, Rows=31, Columns=31, BitsAllocated=8, BitsStored=8, HighBit=7,
                     PixelData=b"\7" * 961 + b"\0")  # fmt: skip
    assert read_dicom(study.files).pixels.shape == (6, 31, 31, 3)


@pytest.mark.parametrize("table", ["none", "basic", "extended"])
def test_compressed_frames_are_found_with_and_without_a_table(study: Study, table: str) -> None:
    (path,) = study.enhance([3, 1, 5, 0, 2, 4])
    pack(path, "RLELossless", *map(grey_rle, (4, 2, 6, 1, 3, 5)), table=table)
    flair = read_dicom(study.files).pixels[..., 1]
    np.testing.assert_array_equal(flair * 8, np.broadcast_to(flair[:, :1, :1] * 8, flair.shape))
    np.testing.assert_array_equal(flair[:, 0, 0] * 8, [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("table", ["basic", "extended"])
@pytest.mark.parametrize(("held", "told"), [(5, "fewer"), (7, "more")])
def test_another_number_of_compressed_frames_is_refused(
    study: Study, table: str, held: int, told: str
) -> None:
    (path,) = study.enhance(range(6))
    pack(path, "RLELossless", *[grey_rle(1)] * held, table=table)
    assert reason(study) == f"enhanced_0: holds {told} frames than the 6 of its header; refused"


def test_only_the_frames_of_the_volume_are_decoded(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one lies across the others, as a localizer does."""
    (path,) = study.enhance([0, 1, 2, 3, 4, 5, 5], per_frame=["PlaneOrientationSequence"])
    data = pydicom.dcmread(path)
    plane = data.PerFrameFunctionalGroupsSequence[6].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    data.save_as(path)
    pack(path, "RLELossless", *[grey_rle(1)] * 7)
    joined = []

    def join(fragments: Any, data: Any) -> bytes:
        joined.append(fragments)
        return join_fragments(fragments, data)

    monkeypatch.setattr("lgg_runtime.readers.dicom_pixels.join_fragments", join)
    assert len(read_dicom(study.files)) == 6
    assert len(joined) == 6


@pytest.mark.parametrize(
    ("syntax", "frames", "table", "told"),
    [
        ("RLELossless", [grey_rle(0), grey_rle(9)], "none", MORE),
        ("RLELossless", [grey_rle(0), grey_rle(9)], "basic",
         "holds more frames than the 1 of its header; refused"),
        ("JPEGBaseline8Bit", [jpeg(32), jpeg(32)], "none", MORE),
        ("JPEG2000Lossless", [jpeg_2000(32), jpeg_2000(32)], "none", MORE),
    ],
)  # fmt: skip
def test_a_picture_behind_an_empty_one_is_not_passed_over(
    study: Study, syntax: str, frames: list[bytes], table: str, told: str
) -> None:
    pack(study.flair[0], syntax, *frames, table=table)
    assert refusal(study) == told


@pytest.mark.parametrize(
    ("syntax", "picture", "claimed"),
    [
        ("JPEG2000Lossless", jpeg_2000(60000), "60000 x 60000 x 1"),
        ("JPEGBaseline8Bit", jpeg(64), "64 x 64 x 1"),
        ("JPEGBaseline8Bit", jpeg(32, 3), "32 x 32 x 3"),
        ("JPEGBaseline8Bit", jpeg(32)[:2] + START * 100 + jpeg(32)[2:], "64 x 64 x 1"),
        ("JPEGBaseline8Bit", b"\xff\xd8\xff\xd9", "no"),
    ],
)
def test_a_picture_of_another_size_is_refused_before_it_is_decoded(
    study: Study, monkeypatch: pytest.MonkeyPatch, syntax: str, picture: bytes, claimed: str
) -> None:
    monkeypatch.setattr(pydicom.pixels, "iter_pixels", None)
    pack(study.flair[0], syntax, picture)
    assert refusal(study) == (
        f"its compressed picture claims {claimed} samples, its header 32 x 32; refused"
    )


@pytest.mark.parametrize(
    ("syntax", "stream"),
    [
        ("RLELossless", rle(b"\x81\0" * 7, b"\x81\0" * 7)),
        ("JPEG2000Lossless", b"\xff\x4f\xff\x51\0"),
        ("JPEGBaseline8Bit", jpeg(32)[:20]),
        ("JPEGBaseline8Bit", b"\xff\xd8\xff\xc0"),
        ("JPEGBaseline8Bit", b"text"),
    ],
)
def test_a_damaged_stream_is_refused(study: Study, syntax: str, stream: bytes) -> None:
    pack(study.flair[0], syntax, stream)
    assert refusal(study) == DAMAGED


def test_a_picture_of_more_scans_than_a_jpeg_needs_is_refused(study: Study) -> None:
    pack(study.flair[0], "JPEGBaseline8Bit", jpeg(32)[:-2] + b"\xff\xda\0\2" * 100 + b"\xff\xd9")
    assert refusal(study) == "its compressed picture has more than 100 scans; refused"


@pytest.mark.parametrize(
    "picture",
    [
        jpeg_2000(4096, cod(1, *[0x11] * 6)),
        jpeg_2000(4096, cod(65535, *[0x77] * 6)),
        jpeg_2000(4096, cod(1), coc(*[0x22] * 6)),
        jpeg_2000(4096, cod(1), TILE, cod(1, *[0x22] * 6)),
        jpeg_2000(4096, cod(1), TILE, coc(*[0x22] * 6)),
        jpeg_2000(4096, cod(43691)),
        jpeg_2000(4096, cod(2), tile=17),
    ],
)
def test_a_picture_of_packets_that_would_fill_the_memory_is_refused_before_it_is_decoded(
    study: Study, monkeypatch: pytest.MonkeyPatch, picture: bytes
) -> None:
    monkeypatch.setattr(pydicom.pixels, "iter_pixels", None)
    study.change_flair(Rows=4096, Columns=4096)
    pack(study.flair[0], "JPEG2000Lossless", picture)
    assert refusal(study) == "its compressed picture has more than 262144 packets; refused"


@pytest.mark.parametrize("picture", [
    jpeg_2000(4096, cod(12, *[0x55] * 6)),
    jpeg_2000(4096, cod(1), tile=64),
    jpeg_2000(4096, cod(43690)),
    # Coded pixels that look like a COD, or a COC, in which one byte is what none may have.
    jpeg_2000(4096, cod(1), TILE, b"\xff\x52\0\x0c\0\1\xff\xff\2\5\4\4\0\0"),
    jpeg_2000(4096, cod(1), TILE, b"\xff\x52\0\x0c\0\1\xff\xff\1\x21\4\4\0\0"),
    jpeg_2000(4096, cod(1), TILE, b"\xff\x52\0\x0c\0\1\xff\xff\1\5\4\x09\0\0"),
    jpeg_2000(4096, cod(9), TILE, b"\xff\x53\0\x0f\1\1\5\4\4\0\0" + b"\x11" * 6),
])  # fmt: skip
def test_a_picture_of_as_many_packets_as_an_encoder_may_write_is_taken(
    study: Study, picture: bytes
) -> None:
    pack(study.flair[0], "JPEG2000Lossless", picture)
    study.change(study.flair[0], Rows=4096, Columns=4096)
    assert join_fragments([picture], pydicom.dcmread(study.flair[0])) == picture


def test_runs_for_more_pixels_than_there_are_stop_no_process(study: Study) -> None:
    """One codec of RLE panics then, with what is no Exception; another takes them as padding."""
    for path in study.flair:
        pack(path, "RLELossless", rle(b"\x81\0" * 9, b"\x81\7" * 9))
    assert (read_dicom(study.files).pixels[..., 1] == 7 / 8).all()


def test_runs_that_would_fill_the_memory_are_refused_before_they_are_decoded(study: Study) -> None:
    pack(study.flair[0], "RLELossless", rle(b"\x81\0" * 2000, b"\x81\0" * 2000))
    assert refusal(study) == MORE


def test_a_picture_of_fewer_bits_than_the_header_has_its_own_values(study: Study) -> None:
    utils = pytest.importorskip("openjpeg.utils")
    small = np.arange(1024, dtype=np.uint16).reshape(32, 32) % 200
    for path in study.flair:
        study.change(path, PixelData=small.astype("<u2").tobytes())
    plain = read_dicom(study.files).pixels
    for path in study.flair:
        pack(path, "JPEG2000Lossless", utils.encode_array(small.astype(np.uint8), bits_stored=8))
    np.testing.assert_array_equal(read_dicom(study.files).pixels, plain)
