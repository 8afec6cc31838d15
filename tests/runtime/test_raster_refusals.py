"""Pictures that are refused, each with its exact words."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.readers.raster import (
    read_mask,
    read_raster,
    read_slice,
)
from lgg_runtime.readers.raster_header import Limits
from stand_ins.pictures import (
    BLEED,
    GREY,
    JPEG,
    NIBBLES,
    OPAQUE,
    PLTE,
    RGB,
    chunk,
    encoded,
    jpeg_segment,
    png,
    recompressed,
    tiff,
    tiff_of_4_bits,
)

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
        "grey with alpha and another sample",
        tiff(RGB, photometric=1, planarconfig=1, extrasamples=[2, 0]),
        "expected one or three channels, found 3 of grey with transparency; save FLAIR alone, "
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
        "palette of other samples",
        tiff_of_4_bits(NIBBLES, colours=256),
        "TIFF is damaged: its palette has 768 values",
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


def test_memory_that_ends_in_opencv_is_not_the_picture_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))

    def fail(*_: object) -> None:
        raise cv2.error("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 48000000")

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(cv2.error, match="Insufficient memory"):
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
