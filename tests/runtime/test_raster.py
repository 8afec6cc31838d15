"""Slices and masks in every encoding that is read, pixel for pixel."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from lgg_runtime.readers.listing import is_mask_name
from lgg_runtime.readers.raster import SUFFIXES, read_mask, read_raster, read_slice
from stand_ins.encodings import encode_png
from stand_ins.pictures import (
    AS_FLAIR,
    BITS,
    EXIF_6,
    EXIF_JPEG,
    GREY,
    JPEG,
    NIBBLES,
    ONE_CHANNEL,
    OPAQUE,
    PALETTE,
    PLTE,
    PLTE_16,
    RANDOM,
    RGB,
    chunk,
    decoded,
    encoded,
    interlaced,
    pack_4_bits,
    png,
    tiff,
    tiff_of_4_bits,
)

READ: list[tuple[str, str, bytes, np.ndarray, tuple[str, ...]]] = [
    ("tiff", "a.tif", tiff(), RGB, ()),
    ("upper case suffix", "a.TIFF", tiff(), RGB, ()),
    ("bigtiff", "a.tif", tiff(bigtiff=True), RGB, ()),
    ("big endian", "a.tif", tiff(byteorder=">"), RGB, ()),
    ("planes", "a.tif", tiff(RGB.transpose(2, 0, 1), planarconfig="separate"), RGB, ()),
    ("tiles", "a.tif", tiff(tile=(16, 16)), RGB, ()),
    ("deflate", "a.tif", tiff(compression="zlib", predictor=True), RGB, ()),
    ("lzw", "a.tif", encoded(".tif"), RGB, ()),
    ("packbits", "a.tif", encoded(".tif", RGB, 259, 32773), RGB, ()),
    ("grey tiff", "a.tif", tiff(GREY), AS_FLAIR, (ONE_CHANNEL,)),
    (
        "white is zero",
        "a.tif",
        tiff(GREY, photometric="miniswhite"),
        255 - AS_FLAIR,
        ("white-is-zero inverted", ONE_CHANNEL),
    ),
    (
        "1-bit tiff",
        "a.tif",
        tiff(BITS),
        np.where(BITS, 255, 0).astype(np.uint8)[..., None].repeat(3, 2),
        ("1-bit samples scaled to 0..255", ONE_CHANNEL),
    ),
    (
        "1-bit tiff, white is zero",
        "a.tif",
        tiff(BITS, photometric="miniswhite"),
        np.where(BITS, 0, 255).astype(np.uint8)[..., None].repeat(3, 2),
        ("white-is-zero inverted", "1-bit samples scaled to 0..255", ONE_CHANNEL),
    ),
    (
        "palette tiff of 4 bits",
        "a.tif",
        tiff_of_4_bits(NIBBLES),
        PALETTE.T[NIBBLES],
        ("palette expanded",),
    ),
    (
        "palette tiff",
        "a.tif",
        tiff(GREY, photometric="palette", colormap=PALETTE.astype(np.uint16) * 257),
        PALETTE.T[GREY],
        ("palette expanded",),
    ),
    (
        "palette of 8 bits",
        "a.tif",
        tiff(GREY, photometric="palette", colormap=PALETTE.astype(np.uint16)),
        PALETTE.T[GREY],
        ("palette expanded",),
    ),
    (
        "three samples",
        "a.tif",
        tiff(RGB, photometric="minisblack", planarconfig="contig"),
        RGB,
        ("three samples not marked as RGB",),
    ),
    ("rgba tiff", "a.tif", tiff(OPAQUE, extrasamples=[2]), RGB, ("opaque alpha dropped",)),
    (
        "turned tiff",
        "a.tif",
        tiff(extratags=[(274, "H", 1, 6, True)]),
        RGB,
        ("EXIF orientation 6 ignored",),
    ),
    (
        "tiff turned the other way",
        "a.tif",
        tiff(extratags=[(274, "H", 1, 8, True)]),
        RGB,
        ("EXIF orientation 8 ignored",),
    ),
    ("1x1", "a.tif", tiff(RGB[:1, :1]), RGB[:1, :1], ()),
    ("constant", "a.tif", tiff(np.full_like(RGB, 9)), np.full_like(RGB, 9), ()),
    ("png", "a.png", encoded(".png"), RGB, ()),
    ("png 1x1", "a.png", encoded(".png", RGB[:1, :1]), RGB[:1, :1], ()),
    ("grey png", "a.png", encoded(".png", GREY), AS_FLAIR, (ONE_CHANNEL,)),
    ("rgba png", "a.png", encoded(".png", OPAQUE), RGB, ("opaque alpha dropped",)),
    ("palette png", "a.png", png(GREY, 3, PLTE), PALETTE.T[GREY], ("palette expanded",)),
    (
        "palette png of 4 bits",
        "a.png",
        png(pack_4_bits(NIBBLES), 3, PLTE_16, bits=4),
        PALETTE.T[NIBBLES],
        ("palette expanded",),
    ),
    (
        "palette png with opaque entries",
        "a.png",
        png(GREY, 3, PLTE, chunk(b"tRNS", b"\xff\xff")),
        PALETTE.T[GREY],
        ("palette expanded", "opaque alpha dropped"),
    ),
    (
        "1-bit png",
        "a.png",
        png(np.packbits(BITS, axis=1), 0, bits=1),
        np.where(BITS, 255, 0).astype(np.uint8)[..., None].repeat(3, 2),
        ("1-bit samples scaled to 0..255", ONE_CHANNEL),
    ),
    (
        "turned png",
        "a.png",
        png(RGB, 2, chunk(b"eXIf", EXIF_6)),
        RGB,
        ("EXIF orientation 6 ignored",),
    ),
    (
        "png with a transparent colour that is not there",
        "a.png",
        png(RGB, 2, chunk(b"tRNS", b"\0\1\0\1\0\1")),
        RGB,
        ("opaque alpha dropped",),
    ),
    ("interlaced png", "a.png", interlaced(RGB), RGB, ()),
    ("interlaced png 1x1", "a.png", interlaced(RGB[:1, :1]), RGB[:1, :1], ()),
    ("text bomb", "a.png", png(RGB, 2, chunk(b"zTXt", b"a\0\0" + b"x" * 9)), RGB, ()),
    ("broken profile", "a.png", png(RGB, 2, chunk(b"iCCP", b"a\0\0junk")), RGB, ()),
    ("jpeg", "a.jpg", JPEG, decoded(JPEG), ()),
    ("jpeg with a tail", "a.jpeg", JPEG + b"\0\0", decoded(JPEG), ()),
    ("turned jpeg", "a.jpg", EXIF_JPEG, decoded(JPEG), ("EXIF orientation 6 ignored",)),
    (
        "grey jpeg",
        "a.jpg",
        encoded(".jpg", GREY),
        decoded(encoded(".jpg", GREY)),
        (ONE_CHANNEL,),
    ),
    ("tiff as png", "a.png", tiff(), RGB, ("suffix .png but the content is TIFF",)),
    ("bigtiff as tif", "a.tif", tiff(bigtiff=True), RGB, ()),
    ("png as jpeg", "a.JPG", encoded(".png"), RGB, ("suffix .jpg but the content is PNG",)),
    ("no suffix", "a", encoded(".png"), RGB, ("no suffix but the content is PNG",)),
]


@pytest.mark.parametrize(
    ("name", "data", "expected", "notes"), [r[1:] for r in READ], ids=[r[0] for r in READ]
)
def test_a_good_file_is_read_pixel_for_pixel(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    data: bytes,
    expected: np.ndarray,
    notes: tuple[str, ...],
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    read = read_raster(path)
    np.testing.assert_array_equal(read.pixels, expected)
    assert read.notes == notes
    assert read.pixels.dtype == np.uint8
    assert read.pixels.flags.c_contiguous
    assert read.pixels.flags.writeable
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [(255, 257), (256, 256), (3, 1)])
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_every_size_is_read(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    pixels = RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(suffix, pixels))
    np.testing.assert_array_equal(read_slice(path), pixels)


MASK = np.where(BITS, 255, 0).astype(np.uint8)
MASK_RGB = np.repeat(MASK[..., np.newaxis], 3, axis=2)


def test_bytes_behind_a_png_that_inflates_in_several_steps_are_passed_over(tmp_path: Path) -> None:
    side = 1500
    path, rows = tmp_path / "a.png", bytes(side * (side + 1))
    stream = zlib.compress(rows)
    whole = encode_png(rows, size=(side, side), colour=0)
    path.write_bytes(whole.replace(chunk(b"IDAT", stream), chunk(b"IDAT", stream + bytes(8))))
    assert path.stat().st_size == len(whole) + 8
    np.testing.assert_array_equal(read_slice(path), np.zeros((side, side, 3), np.uint8))


@pytest.mark.parametrize(
    "data",
    [
        tiff(MASK),
        tiff(MASK_RGB),
        tiff(BITS),
        encoded(".png", MASK),
        encoded(".png", MASK_RGB),
        encoded(".png", np.dstack([MASK_RGB, np.full_like(MASK, 255)])),
        png(np.packbits(BITS, axis=1), 0, bits=1),
        png(BITS.astype(np.uint8), 3, chunk(b"PLTE", b"\0\0\0\xff\xff\xff")),
    ],
    ids=["tiff", "rgb tiff", "1-bit tiff", "png", "rgb png", "rgba png", "1-bit png", "palette"],
)
def test_a_mask_is_one_channel(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a_mask.tif"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_mask(path), MASK)
    assert read_mask(path).flags.c_contiguous


@pytest.mark.parametrize(
    ("name", "is_mask"),
    [
        ("a_1_mask.tif", True),
        ("A_MASK.PNG", True),
        ("_mask.tif", True),
        ("a_mask", False),
        ("a_masked.tif", False),
        ("mask.tif", False),
        ("a.tif", False),
    ],
)
def test_masks_are_told_by_name(name: str, is_mask: bool) -> None:
    assert is_mask_name(Path("folder_mask.d") / name) is is_mask


def test_the_suffixes_are_those_of_the_three_formats() -> None:
    assert {".tif", ".tiff", ".png", ".jpg", ".jpeg"} == SUFFIXES
