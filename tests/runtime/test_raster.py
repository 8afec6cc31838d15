"""Raster files as slices: the pixels written, the notes, and one line for every bad input."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from lgg_runtime.errors import InputError
from lgg_runtime.readers.header import Limits
from lgg_runtime.readers.raster import (
    SUFFIXES,
    is_mask_name,
    read_mask,
    read_raster,
    read_slice,
)

RANDOM = np.random.default_rng(11)
RGB = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = np.ascontiguousarray(RGB[..., 0])
AS_FLAIR = np.repeat(GREY[..., np.newaxis], 3, axis=2)
OPAQUE = np.dstack([RGB, np.full_like(GREY, 255)])
BLEED = np.dstack([RGB, np.where(np.arange(35).reshape(5, 7) == 17, 254, 255).astype(np.uint8)])
EXIF_6 = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, 1, 6, 0)
ONE_CHANNEL = "one channel, taken as FLAIR"


def tiff(pixels: np.ndarray = RGB, **options: Any) -> bytes:
    buffer = io.BytesIO()
    container = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    with tifffile.TiffWriter(buffer, **container) as writer:
        writer.write(pixels, **{"photometric": "rgb" if pixels.ndim > 2 else 1, **options})
    return buffer.getvalue()


def recompressed(compression: int) -> bytes:
    """A TIFF that says its strip is compressed in another way than it is."""
    with tifffile.TiffFile(io.BytesIO(tiff())) as file:
        place = file.pages.first.tags[259].valueoffset
    return tiff()[:place] + struct.pack("<H", compression) + tiff()[place + 2 :]


def encoded(suffix: str, pixels: np.ndarray = RGB, *options: int) -> bytes:
    """What OpenCV writes of pixels in RGB, RGBA or grey."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    pixels = pixels[..., order[pixels.shape[2]]] if pixels.ndim == 3 else pixels
    done, data = cv2.imencode(suffix, pixels, options)
    assert done
    return data.tobytes()


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(rows: np.ndarray, colour: int, *between: bytes, bits: int = 8) -> bytes:
    """A PNG of packed rows; width 7."""
    first = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, len(rows), bits, colour, 0, 0, 0))
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    pixels = chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + first + b"".join(between) + pixels


def jpeg_segment(content: bytes, marker: int = 0xE1) -> bytes:
    return struct.pack(">BBH", 255, marker, len(content) + 2) + content


def decoded(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


PALETTE = RANDOM.integers(0, 256, (3, 256), dtype=np.uint8)
PLTE = chunk(b"PLTE", PALETTE.T.tobytes())
BITS = GREY > 127
JPEG = encoded(".jpg")
EXIF_JPEG = JPEG[:2] + jpeg_segment(b"Exif\0\0" + EXIF_6) + JPEG[2:]

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
    ("1x1", "a.tif", tiff(RGB[:1, :1]), RGB[:1, :1], ()),
    ("constant", "a.tif", tiff(np.full_like(RGB, 9)), np.full_like(RGB, 9), ()),
    ("png", "a.png", encoded(".png"), RGB, ()),
    ("png 1x1", "a.png", encoded(".png", RGB[:1, :1]), RGB[:1, :1], ()),
    ("grey png", "a.png", encoded(".png", GREY), AS_FLAIR, (ONE_CHANNEL,)),
    ("rgba png", "a.png", encoded(".png", OPAQUE), RGB, ("opaque alpha dropped",)),
    ("palette png", "a.png", png(GREY, 3, PLTE), PALETTE.T[GREY], ("palette expanded",)),
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
    (
        "interlaced png",
        "a.png",
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1))
        + chunk(b"IDAT", zlib.compress(b"\0\1\2\3"))
        + chunk(b"IEND"),
        np.array([[[1, 2, 3]]], np.uint8),
        (),
    ),
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


SCALING = "and their scaling to 0..255 is not declared; convert to 8 bits"
COPY = "copy the file again"
FLOAT = RGB.astype(np.float32)
NAN = np.where(FLOAT > 200, np.nan, FLOAT)
CMYK_JPEG = JPEG[:2] + jpeg_segment(struct.pack(">BHHB12x", 8, 5, 7, 4), 0xC0) + b"\xff\xda\0\2"
HUGE_PNG = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
CHANNELS = "pre-contrast, FLAIR, post-contrast"

REFUSED: list[tuple[str, bytes, str]] = [
    ("empty", b"", f"expected TIFF, PNG or JPEG, found an empty file; {COPY}"),
    ("gif", b"GIF89a", "expected TIFF, PNG or JPEG content, found GIF"),
    (
        "16-bit tiff",
        tiff(RGB.astype(np.uint16)),
        f"expected 8-bit unsigned samples, found 16-bit unsigned samples, {SCALING}",
    ),
    (
        "16-bit png",
        encoded(".png", RGB.astype(np.uint16)),
        f"expected 8-bit unsigned samples, found 16-bit unsigned samples, {SCALING}",
    ),
    (
        "float with NaN",
        tiff(NAN),
        f"expected 8-bit unsigned samples, found 32-bit float samples, {SCALING}",
    ),
    (
        "float with Inf",
        tiff(np.where(FLOAT > 200, np.inf, FLOAT)),
        f"expected 8-bit unsigned samples, found 32-bit float samples, {SCALING}",
    ),
    (
        "float",
        tiff(FLOAT),
        f"expected 8-bit unsigned samples, found 32-bit float samples, {SCALING}",
    ),
    (
        "signed",
        tiff(RGB.astype(np.int8)),
        f"expected 8-bit unsigned samples, found 8-bit signed samples, {SCALING}",
    ),
    (
        "32-bit",
        tiff(RGB.astype(np.uint32)),
        f"expected 8-bit unsigned samples, found 32-bit unsigned samples, {SCALING}",
    ),
    ("pages", tiff(np.stack([RGB] * 4)), "expected one page, found 4; split it"),
    (
        "moving png",
        png(RGB, 2, chunk(b"acTL", struct.pack(">II", 2, 0))),
        "expected one page, found 2; split it",
    ),
    (
        "cmyk jpeg",
        CMYK_JPEG + b"\xff\xd9",
        "expected grey, RGB or palette colour, found CMYK; convert to RGB",
    ),
    (
        "cmyk tiff",
        tiff(OPAQUE, photometric="separated"),
        "expected grey, RGB or palette colour, found CMYK; convert to RGB",
    ),
    (
        "lab tiff",
        tiff(RGB, photometric="cielab"),
        "expected grey, RGB or palette colour, found TIFF photometric 8; convert to RGB",
    ),
    (
        "two channels",
        tiff(RGB[..., :2], photometric=1, planarconfig=1),
        "expected one or three channels, found 2 of grey with transparency; save FLAIR alone, "
        f"or the three channels {CHANNELS}",
    ),
    (
        "grey with alpha",
        png(np.dstack([GREY, GREY]), 4),
        "expected one or three channels, found 2 of grey with transparency; save FLAIR alone, "
        f"or the three channels {CHANNELS}",
    ),
    (
        "grey with a transparent value",
        png(GREY, 0, chunk(b"tRNS", b"\0\7")),
        "expected one or three channels, found 1 of grey with transparency; save FLAIR alone, "
        f"or the three channels {CHANNELS}",
    ),
    (
        "five channels",
        tiff(np.dstack([RGB, RGB[..., :2]]), photometric=1, planarconfig=1),
        "expected one or three channels, found 5 of grey; save FLAIR alone, "
        f"or the three channels {CHANNELS}",
    ),
    (
        "alpha png",
        encoded(".png", BLEED),
        "its alpha channel is not opaque; flatten it onto a background",
    ),
    (
        "alpha tiff",
        tiff(BLEED, extrasamples=[2]),
        "its alpha channel is not opaque; flatten it onto a background",
    ),
    (
        "transparent palette entry",
        png(GREY, 3, PLTE, chunk(b"tRNS", bytes(256))),
        "its alpha channel is not opaque; flatten it onto a background",
    ),
    (
        "zstd tiff",
        recompressed(50_000),
        "TIFF compression ZSTD is not read; save it uncompressed, or with LZW or deflate",
    ),
    (
        "tiff said to be deflated",
        recompressed(8),
        f"TIFF is damaged: a strip or tile does not follow its compression; {COPY}",
    ),
    (
        "huge png",
        b"\x89PNG\r\n\x1a\n" + HUGE_PNG,
        "its header claims 60000x60000 pixels of 3 samples; "
        "at most 67108864 pixels in 536870912 bytes are read",
    ),
    (
        "png without pixels",
        png(RGB[:0], 2).replace(struct.pack(">II", 7, 0), struct.pack(">II", 7, 5)),
        f"PNG is cut short or damaged; {COPY}: the check sum of a chunk is wrong",
    ),
    (
        "jpeg without tables",
        JPEG[:2] + JPEG[JPEG.index(b"\xff\xc0") :],
        "JPEG cannot be decoded; is it damaged?",
    ),
    (
        "half a jpeg",
        JPEG[: len(JPEG) - 40],
        f"JPEG is cut short or damaged; {COPY}: its end marker is missing",
    ),
]


@pytest.mark.parametrize("read", [read_raster, read_slice, read_mask])
@pytest.mark.parametrize(("data", "reason"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_a_bad_file_is_refused_in_one_line(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    read: Callable[[Path], object],
    data: bytes,
    reason: str,
) -> None:
    path = tmp_path / "bad.tif"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"bad.tif: {reason}"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("found", [(7, 5, 3), (5, 7), (5, 7, 4)])
def test_a_decoder_that_gives_another_picture_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: tuple[int, ...]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros(found, np.uint8))
    with pytest.raises(InputError) as caught:
        read_raster(path)
    expected = f"PNG is damaged: expected (5, 7, 3) by its header, decoded {found} of uint8"
    assert str(caught.value) == f"a.png: {expected}"


def test_an_error_of_opencv_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))

    def fail(*_: object) -> None:
        raise cv2.error("many\nlines")

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(InputError, match=r"^a\.png: PNG cannot be decoded: OpenCV refuses it$"):
        read_raster(path)


def test_the_limits_of_the_caller_are_held(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff())
    size = len(tiff())
    assert read_raster(path, Limits(max_bytes=size)).pixels.shape == (5, 7, 3)
    with pytest.raises(InputError, match=f"a.tif: holds {size} bytes; at most {size - 1} are read"):
        read_raster(path, Limits(max_bytes=size - 1))
    with pytest.raises(InputError, match=r"^a\.tif: its header claims 7x5 pixels"):
        read_raster(path, Limits(max_pixels=34))


MASK = np.where(BITS, 255, 0).astype(np.uint8)
MASK_RGB = np.repeat(MASK[..., np.newaxis], 3, axis=2)


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


def test_a_mask_of_differing_channels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a_mask.png"
    path.write_bytes(encoded(".png"))
    with pytest.raises(InputError) as caught:
        read_mask(path)
    expected = "a_mask.png: expected a mask of one channel, found three that differ"
    assert str(caught.value) == expected


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


def test_a_fifo_never_blocks(tmp_path: Path) -> None:
    path = tmp_path / "pipe.tif"
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"^pipe\.tif: expected a regular file, found a folder"):
        read_raster(path)


@pytest.mark.parametrize("path", [Path("/dev/null"), Path("/dev/zero"), Path("/"), Path("/dev")])
def test_a_device_or_a_folder_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match=r": expected a regular file, found a folder, pipe"):
        read_raster(path)


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.tif")
        with pytest.raises(InputError, match=r"^s\.tif: cannot be opened: "):
            read_raster(Path("s.tif"))


def test_a_file_that_vanished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^gone\.tif: cannot be opened: No such file"):
        read_raster(tmp_path / "gone.tif")


def test_a_path_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"^a\\x00\.tif: cannot be opened: embedded null byte"):
        read_raster(Path("a\0.tif"))


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, whom no permission keeps out.
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(InputError, match=r"^a\.tif: cannot be opened: Permission denied$"):
            read_raster(tmp_path / "a.tif")


def test_a_disk_error_is_refused_and_the_file_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff())
    closed: list[int] = []
    close = os.close

    def fail(_: int) -> os.stat_result:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fail)
        patch.setattr(os, "close", lambda handle: (closed.append(handle), close(handle)))
        with pytest.raises(InputError, match=r"^a\.tif: cannot be read: Input/output error$"):
            read_raster(path)
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("content", "later_ns"),
    [(tiff() + b"more", 0), (tiff()[:-1], 0), (tiff(), 1_000_000_000)],
    ids=["grown", "shrunk", "written again"],
)
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, later_ns: int
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff())
    stat = os.fstat

    def change(handle: int) -> os.stat_result:
        before = stat(handle)
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + later_ns))
        return before

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", change)
        with pytest.raises(InputError, match=r"^a\.tif: changed while it was read; try again"):
            read_raster(path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"h\xc3\xa9l\xc3\xa8ne \xe8\x84\xb3.png", "hélène 脳.png"),
        (b"caf\xe9.png", "caf\\udce9.png"),
        (b"two\nlines.png", "two\\nlines.png"),
        (b"bell\x1b[31m.png", "bell\\x1b[31m.png"),
    ],
)
def test_every_name_can_be_read_and_shown_in_one_line(
    tmp_path: Path, name: bytes, shown: str
) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(encoded(".png"))
    np.testing.assert_array_equal(read_slice(path), RGB)
    path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read_slice(path)
    assert str(caught.value).startswith(f"{shown}: expected TIFF")
    assert len(str(caught.value).splitlines()) == 1


WHOLE = {
    "tiff": tiff(metadata=None),
    "strips": tiff(metadata=None, rowsperstrip=2),
    "bigtiff": tiff(metadata=None, bigtiff=True),
    "deflate": tiff(metadata=None, compression="zlib", predictor=True),
    "planes": tiff(RGB.transpose(2, 0, 1), metadata=None, planarconfig="separate"),
    "tiles": tiff(metadata=None, tile=(16, 16), compression="zlib"),
    "lzw, directory last": encoded(".tif"),
    "packbits, directory last": encoded(".tif", RGB, 259, 32773),
    "raw, directory last": encoded(".tif", RGB, 259, 1),
    "grey tiff": tiff(GREY, metadata=None),
    "png": encoded(".png"),
    "grey png": encoded(".png", GREY),
    "palette png": png(GREY, 3, PLTE),
    "jpeg": JPEG,
    "exif jpeg": EXIF_JPEG,
    "progressive jpeg": encoded(".jpg", RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
}


def is_read(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    try:
        read_slice(path)
    except InputError:
        return False
    return True


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_prefix_of_a_file_never_yields_pixels(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    assert read_slice(path).shape == (5, 7, 3)
    assert [length for length in range(len(data)) if is_read(path, data[:length])] == []


def with_check_sums(data: bytes) -> bytes:
    """The PNG with the check sums that its changed chunks ask for."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 8 + struct.unpack_from(">I", data, at)[0]
        parts.append(data[at:end] + struct.pack(">I", zlib.crc32(data[at + 4 : end])))
        at = end + 4
    return b"".join(parts) + data[at:]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(list(WHOLE.values()))))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["set", "set", "set", "insert", "delete"])):
            case "set":
                data[at] = draw(st.integers(0, 255))
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "delete":
                del data[at : at + draw(st.integers(1, min(4, len(data) - 1)))]
    return with_check_sums(bytes(data)) if data[:4] == b"\x89PNG" else bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@settings(max_examples=600, deadline=None)
@given(data=damaged_files())
def test_damage_gives_an_input_error_or_a_slice(folder: Path, data: bytes) -> None:
    path = folder / "a.tif"
    path.write_bytes(data)
    try:
        pixels = read_slice(path)
    except InputError as error:
        assert str(error).startswith("a.tif: ")
        assert len(str(error).splitlines()) == 1
    else:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.size > 0
