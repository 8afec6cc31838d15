"""TIFF files of every layout against the array that tifffile or OpenCV was given to write."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.readers.tiff import Tag, read_directory
from lgg_runtime.readers.tiff_pixels import read_pixels
from stand_ins.encodings import chained_tiff, encode_tiff, patched, repeating_tiff, value_place

PREDICTOR = 317  # the TIFF tag, which OpenCV 4.9 has no name for
RANDOM = np.random.default_rng(3)
RGB = RANDOM.integers(0, 256, (37, 50, 3), dtype=np.uint8)
GREY = np.ascontiguousarray(RGB[..., 0])


def pixels_of(data: bytes) -> np.ndarray:
    directory, _ = read_directory(data)
    bits = directory.first_value(Tag.BITS_PER_SAMPLE, 1)
    samples = directory.first_value(Tag.SAMPLES_PER_PIXEL, 1)
    width, height = directory.first_value(Tag.WIDTH), directory.first_value(Tag.HEIGHT)
    layout = directory.layout(width, height, samples, bits)
    return read_pixels(data, layout)


LAYOUTS: list[dict[str, Any]] = [
    {},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"bigtiff": True, "byteorder": ">"},
    {"rowsperstrip": 1},
    {"rowsperstrip": 10},
    {"tile": (16, 16)},
    {"tile": (16, 32), "byteorder": ">"},
    {"tile": (128, 64)},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True},
    {"compression": "zlib", "rowsperstrip": 10, "predictor": True},
    {"compression": "zlib", "tile": (16, 16), "predictor": True},
]


@pytest.mark.parametrize("options", LAYOUTS)
def test_rgb_of_every_layout_is_read(options: dict[str, Any]) -> None:
    np.testing.assert_array_equal(pixels_of(encode_tiff(RGB, **options)), RGB)


@pytest.mark.parametrize("options", LAYOUTS)
def test_planes_of_every_layout_are_read(options: dict[str, Any]) -> None:
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    data = encode_tiff(planes, planarconfig="separate", **options)
    np.testing.assert_array_equal(pixels_of(data), RGB)


@pytest.mark.parametrize("options", LAYOUTS)
def test_grey_of_every_layout_is_read(options: dict[str, Any]) -> None:
    data = encode_tiff(GREY, photometric="minisblack", **options)
    np.testing.assert_array_equal(pixels_of(data)[..., 0], GREY)


@pytest.mark.parametrize("compression", [1, 5, 8, 32946, 32773])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (255, 257), (64, 64)])
def test_what_opencv_writes_is_read(
    compression: int, predictor: int, size: tuple[int, int]
) -> None:
    pixels = np.resize(RGB, (*size, 3))
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression, PREDICTOR, predictor]
    done, file = cv2.imencode(".tif", pixels[..., ::-1], options)
    assert done
    np.testing.assert_array_equal(pixels_of(file.tobytes()), pixels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_samples_of_few_bits_keep_their_values(bits: int) -> None:
    # Rows of 9 samples end in the middle of a byte, as rows of a TIFF do.
    values = RANDOM.integers(0, 2**bits, (5, 9), dtype=np.uint8)
    rows = ["".join(f"{value:0{bits}b}" for value in row) for row in values]
    width = -(-9 * bits // 8)
    packed = b"".join(int(row.ljust(width * 8, "0"), 2).to_bytes(width, "big") for row in rows)
    container = encode_tiff(np.frombuffer(packed, np.uint8).reshape(5, width), photometric=1)
    data = patched(patched(container, 258, "<H", bits), 256, "<I", 9)
    np.testing.assert_array_equal(pixels_of(data)[..., 0], values)


def test_pages_are_counted() -> None:
    data = encode_tiff(np.stack([RGB] * 3))
    assert read_directory(data)[1] == 3


def test_no_more_pages_are_counted_than_a_limit() -> None:
    assert read_directory(chained_tiff(65_535))[1] == 65_535
    with pytest.raises(InputError, match="expected one page, found more than 65535; save a file a"):
        read_directory(chained_tiff(65_536))


@pytest.mark.parametrize("predictor", [2, 3])
def test_a_predictor_without_its_compression_is_ignored(predictor: int) -> None:
    np.testing.assert_array_equal(pixels_of(with_field(317, predictor)), RGB)


def without_entries() -> bytes:
    data = bytearray(encode_tiff(RGB))
    struct.pack_into("<H", data, struct.unpack_from("<I", data, 4)[0], 0)
    return bytes(data)


def big_with_offsets_of_4() -> bytes:
    data = bytearray(encode_tiff(RGB, bigtiff=True))
    struct.pack_into("<H", data, 4, 4)
    return bytes(data)


def with_field(tag: int, value: int) -> bytes:
    """A field in the place of the resolution unit."""
    data = bytearray(encode_tiff(RGB))
    struct.pack_into("<HHIH", data, value_place(bytes(data), 296) - 8, tag, 3, 1, value)
    return bytes(data)


def of_kind(tag: int, kind: int) -> bytes:
    """A field whose value is said to be of another kind."""
    data = bytearray(encode_tiff(RGB))
    struct.pack_into("<H", data, value_place(bytes(data), tag) - 6, kind)
    return bytes(data)


PLAIN = encode_tiff(RGB)
STRIPS = encode_tiff(RGB, rowsperstrip=10)
TILES = encode_tiff(RGB, tile=(16, 16))
PACKED = encode_tiff(RGB, compression="zlib", predictor=True)
REMEDY = "save it uncompressed, or with LZW or deflate"
BROKEN = [
    (without_entries(), "a directory of 0 entries; copy the file again"),
    (big_with_offsets_of_4(), "BigTIFF offsets are not of 8 bytes"),
    (PLAIN[:7], "its directory lies outside the file; copy the file again"),
    (PLAIN[:4] + b"\xff" * 4 + PLAIN[8:], "its directory lies outside the file"),
    (patched(PLAIN, 278, "<H", 1), "expected 37 strips or tiles, found 1 offsets and 1 lengths"),
    (patched(STRIPS, 278, "<H", 37), "expected 1 strips or tiles, found 4 offsets and 4 lengths"),
    (patched(PLAIN, 278, "<H", 0), "a strip or tile of no size"),
    (patched(TILES, 322, "<H", 0), "a strip or tile of no size"),
    (patched(TILES, 323, "<H", 0), "a strip or tile of no size"),
    (patched(PLAIN, 279, "<I", 0), "strip or tile 0 gives 0 of 5550 bytes"),
    (patched(PACKED, 279, "<I", 900), "strip or tile 0 gives"),
    (patched(PLAIN, 259, "<H", 7), f"TIFF compression JPEG is not read; {REMEDY}"),
    (patched(PLAIN, 259, "<H", 4), f"TIFF compression CCITT T.6 is not read; {REMEDY}"),
    (patched(PACKED, 317, "<H", 3), f"TIFF predictor 3 for 8-bit samples is not read; {REMEDY}"),
    (with_field(266, 2), "TIFF fill order 2 is not read; save it with fill order 1"),
    (patched(PLAIN, 258, "<3H", 5, 5, 5), "TIFF samples of 5 bits are not read"),
    (patched(PLAIN, 258, "<3H", 4, 4, 4), "TIFF with 3 samples of 4 bits is not read"),
    (of_kind(277, 11), "field 277 is of kind 11; export it again"),
    (of_kind(262, 99), "field 262 is of kind 99; export it again"),
    (with_field(257, 20), "field 257 is negative, or stands twice and differs; export it again"),
    (patched(of_kind(277, 8), 277, "<h", -3), "field 277 is negative, or stands twice"),
    (patched(PLAIN, 257, "<H", 20), "strip or tile 0 holds 5550 bytes, its pixels are 3000"),
]


@pytest.mark.parametrize(("data", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_a_broken_or_unread_file_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        pixels_of(data)
    assert reason in str(caught.value)


def test_fields_of_signed_numbers_and_equal_ones_given_twice_are_read() -> None:
    for data in (of_kind(277, 8), with_field(277, 3)):
        np.testing.assert_array_equal(pixels_of(data), RGB)


def test_the_last_strip_of_each_plane_may_be_filled_up() -> None:
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    data = encode_tiff(planes, planarconfig="separate", rowsperstrip=10)
    lengths, offsets = [500, 500, 500, 350] * 3, value_place(data, 273)
    assert struct.unpack_from("<12H", data, value_place(data, 279)) == tuple(lengths)
    last = struct.unpack_from("<12I", data, offsets)[3]
    filled = patched(data, 279, "<12H", *[500] * 12) + bytes(150)
    assert filled[last : last + 350] == data[last : last + 350]
    np.testing.assert_array_equal(pixels_of(filled), RGB)


def test_a_strip_may_be_filled_up_to_whole_words() -> None:
    np.testing.assert_array_equal(pixels_of(patched(PLAIN, 279, "<I", 5553) + bytes(4)), RGB)
    with pytest.raises(InputError, match="strip or tile 0 holds 5554 bytes, its pixels are 5550"):
        pixels_of(patched(PLAIN, 279, "<I", 5554) + bytes(4))


def test_a_last_strip_may_be_filled_up_to_the_height_of_the_others() -> None:
    data = encode_tiff(RGB, rowsperstrip=10)
    place = value_place(data, 279)
    lengths = struct.unpack_from("<4H", data, place)
    assert lengths == (1500, 1500, 1500, 1050)
    filled = patched(data, 279, "<4H", *lengths[:3], 1500) + bytes(450)
    np.testing.assert_array_equal(pixels_of(filled), RGB)
    with pytest.raises(InputError, match="strip or tile 2 holds 1504 bytes, its pixels are 1500"):
        pixels_of(patched(data, 279, "<4H", *lengths[:2], 1504, lengths[3]))


@pytest.mark.parametrize("tag", [256, 257, 273, 279])
def test_a_missing_field_is_refused(tag: int) -> None:
    place = value_place(PLAIN, tag) - 8
    data = PLAIN[:place] + struct.pack("<H", 60_000) + PLAIN[place + 2 :]
    with pytest.raises(InputError, match=f"field {tag} is missing|expected 1 strips or tiles"):
        pixels_of(data)


def test_one_field_of_many_values_said_again_and_again_is_refused() -> None:
    """As often as fits into a directory, 1.8 MB claim 65,535 million values."""
    with pytest.raises(InputError, match="field 256 is missing"):
        read_directory(repeating_tiff(4))[0].first_value(Tag.WIDTH)
    with pytest.raises(InputError, match="its fields have more than 4194304 values; export it"):
        read_directory(repeating_tiff(5))


def test_a_field_of_too_many_values_is_refused() -> None:
    # 8 MiB of strip offsets: each would be a Python number before any could be checked.
    data = bytearray(PLAIN + bytes(2**23))
    place = value_place(PLAIN, 273) - 8
    struct.pack_into("<HHII", data, place, 273, 3, 2**22, len(PLAIN))
    with pytest.raises(InputError, match="field 273 has 4194304 values; at most 1048576"):
        pixels_of(bytes(data))
