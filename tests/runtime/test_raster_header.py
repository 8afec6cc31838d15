"""What is told of a file before it is decoded: facts, wholeness, and the limits."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.readers.raster_header import Header, Limits, png_chunks, read_header
from stand_ins.encodings import (
    EXIF_6,
    chunk,
    encode,
    encode_png,
    encode_tiff,
    jpeg_frame,
    jpeg_segment,
    patched,
)

RGB = np.random.default_rng(5).integers(0, 256, (6, 9, 3), dtype=np.uint8)
LIMITS = Limits()


def tiff(pixels: np.ndarray = RGB, **options: Any) -> bytes:
    return encode_tiff(pixels, **options)


def png(*between: bytes, size: tuple[int, int] = (9, 6), **options: Any) -> bytes:
    """A PNG whose pixels are of no interest."""
    return encode_png(b"\0" * 6 * 28, *between, size=size, **options)


def jpeg(*options: int, pixels: np.ndarray = RGB) -> bytes:
    return encode(".jpg", pixels, *options)


def jpeg_with(content: bytes) -> bytes:
    """A JPEG with one more segment at its start."""
    return jpeg()[:2] + jpeg_segment(content) + jpeg()[2:]


def jpeg_of(size: tuple[int, int] = (9, 6), **options: int) -> bytes:
    return jpeg_frame(size, **options)


FACTS: list[tuple[str, bytes, dict[str, Any]]] = [
    ("rgb tiff", tiff(), {"format": "TIFF", "colour": "RGB", "samples": 3}),
    ("big tiff", tiff(bigtiff=True), {"format": "BigTIFF", "colour": "RGB"}),
    ("deflate tiff", tiff(compression="zlib"), {"colour": "RGB"}),
    ("grey tiff", tiff(RGB[..., 0], photometric=1), {"colour": "grey", "samples": 1, "bits": 8}),
    ("inverted tiff", tiff(RGB[..., 0], photometric=0), {"colour": "inverted grey"}),
    ("16-bit tiff", tiff(RGB.astype(np.uint16)), {"bits": 16, "sample_format": "unsigned"}),
    ("float tiff", tiff(RGB.astype(np.float32)), {"bits": 32, "sample_format": "float"}),
    ("signed tiff", tiff(RGB.astype(np.int8)), {"bits": 8, "sample_format": "signed"}),
    ("pages", tiff(np.stack([RGB] * 3)), {"pages": 3}),
    ("turned tiff", tiff(extratags=[(274, "H", 1, 6, True)]), {"orientation": 6}),
    (
        "rgba tiff",
        tiff(np.dstack([RGB, RGB[..., 0]]), extrasamples=["unassalpha"]),
        {"samples": 4, "has_alpha": True},
    ),
    (
        "palette tiff",
        tiff(RGB[..., 0], photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
        {"colour": "palette", "samples": 1, "has_alpha": False},
    ),
    ("two samples", tiff(RGB[..., :2], photometric=1, planarconfig=1), {"samples": 2}),
    (
        "cmyk tiff",
        tiff(np.dstack([RGB, RGB[..., 0]]), photometric="separated"),
        {"colour": "CMYK", "samples": 4},
    ),
    ("rgb png", png(), {"format": "PNG", "colour": "RGB", "samples": 3}),
    ("grey png", png(bits=1, colour=0), {"colour": "grey", "samples": 1, "bits": 1}),
    ("grey alpha png", png(colour=4), {"colour": "grey", "samples": 2, "has_alpha": True}),
    ("rgba png", png(colour=6), {"samples": 4, "has_alpha": True}),
    ("palette png", png(chunk(b"PLTE", bytes(3)), colour=3), {"colour": "palette", "samples": 1}),
    ("keyed png", png(chunk(b"tRNS", bytes(6))), {"samples": 3, "has_alpha": True}),
    ("16-bit png", png(bits=16), {"bits": 16}),
    ("turned png", png(chunk(b"eXIf", EXIF_6)), {"orientation": 6}),
    ("exif of another kind", png(chunk(b"eXIf", EXIF_6[:-9])), {"orientation": 1}),
    ("moving png", png(chunk(b"acTL", struct.pack(">II", 7, 0))), {"pages": 7}),
    ("colour jpeg", jpeg(), {"format": "JPEG", "colour": "RGB"}),
    ("grey jpeg", jpeg(pixels=RGB[..., 0]), {"colour": "grey", "samples": 1, "bits": 8}),
    ("progressive jpeg", jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), {"samples": 3}),
    ("turned jpeg", jpeg_with(b"Exif\0\0" + EXIF_6), {"orientation": 6}),
    ("broken exif", jpeg_with(b"Exif\0\0" + EXIF_6[:12]), {"orientation": 1}),
    ("cmyk jpeg", jpeg_of(parts=4), {"colour": "CMYK", "samples": 4}),
    ("12-bit jpeg", jpeg_of(bits=12), {"bits": 12}),
    ("restart markers", jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 1), {"samples": 3}),
    ("fill before a marker", jpeg().replace(b"\xff\xda", b"\xff\xff\xff\xda"), {"samples": 3}),
]


@pytest.mark.parametrize(("data", "facts"), [row[1:] for row in FACTS], ids=[r[0] for r in FACTS])
def test_the_header_tells_the_facts(data: bytes, facts: dict[str, Any]) -> None:
    header = read_header(data, LIMITS)
    facts = {"width": 9, "height": 6, **facts}
    assert {name: getattr(header, name) for name in facts} == facts


def test_what_follows_a_whole_picture_does_not_matter() -> None:
    for data in (png(), jpeg()):
        assert read_header(data + b"\0tail", LIMITS) == read_header(data, LIMITS)


CUT = "is cut short or damaged; copy the file again"
FLIPPED = png().replace(b"IDAT", b"IDAT\x01", 1)
REFUSED = [
    ("bmp", b"BM" + bytes(20), "expected TIFF, PNG or JPEG content, found BMP"),
    ("webp", b"RIFF1234WEBPVP8 ", "expected TIFF, PNG or JPEG content, found WebP"),
    ("gzip", b"\x1f\x8b\x08" + bytes(20), "expected TIFF, PNG or JPEG content, found gzip"),
    ("nifti", bytes(344) + b"n+1\0", "expected TIFF, PNG or JPEG content, found NIfTI"),
    ("png signature", png()[:8], f"PNG {CUT}"),
    ("png check sum", png().replace(b"IEND", b"IENE"), f"PNG {CUT}: the check sum of a chunk"),
    ("png chunk moved", FLIPPED, f"PNG {CUT}"),
    ("png pixels first", png()[:8] + png()[33:], f"PNG {CUT}: its header chunk is wrong"),
    ("png no palette", png(colour=3), f"PNG {CUT}: its header is no valid one"),
    ("png two palettes", png(2 * chunk(b"PLTE", bytes(3)), colour=3), "out of order"),
    (
        "png palette behind",
        png(chunk(b"tRNS", b"\xff") + chunk(b"PLTE", bytes(3)), colour=3),
        f"PNG {CUT}: its chunks are out of order",
    ),
    ("png transparency twice", png(2 * chunk(b"tRNS", bytes(6))), "out of order"),
    ("png transparency last", png()[:-12] + chunk(b"tRNS", bytes(6)) + png()[-12:], "out of order"),
    ("png of 3 bits", png(bits=3, colour=0), f"PNG {CUT}: its header is no valid one"),
    ("png colour 5", png(colour=5), f"PNG {CUT}: its header is no valid one"),
    ("jpeg without end", jpeg()[:-2], f"JPEG {CUT}: its end marker is missing"),
    ("jpeg with half an end", jpeg()[:-1], f"JPEG {CUT}: its end marker is missing"),
    ("jpeg without scan", jpeg_of().replace(b"\xda", b"\xe0")[:30], f"JPEG {CUT}"),
    ("jpeg with two frames", jpeg_of()[:-2] + jpeg_of()[2:], "its frame header is wrong"),
    ("arithmetic jpeg", jpeg_of(frame=0xC9), "JPEG process 0xC9 is not read; save it as baseline"),
    ("png interlaced twice", png(methods=(0, 0, 2)), f"PNG {CUT}: its header is no valid one"),
    ("png packed otherwise", png(methods=(1, 0, 0)), f"PNG {CUT}: its header is no valid one"),
    (
        "tiff formats",
        tiff(RGB.astype(np.int8)).replace(struct.pack("<3H", 2, 2, 2), b"\2\0\2\0\1\0"),
        "TIFF samples of different depths",
    ),
    ("tiff samples", patched(tiff(), 277, "<H", 65_535), "TIFF samples of different depths"),
    ("png of no width", png(size=(0, 6)), "claims 0x6 pixels of 3 samples; expected at least one"),
    ("jpeg of no height", jpeg_of(size=(9, 0)), "claims 9x0 pixels of 3 samples; expected at"),
    (
        "tiff of no height",
        patched(tiff(), 257, "<I", 0),
        "claims 9x0 pixels of 3 samples; expected at least one",
    ),
]


@pytest.mark.parametrize(
    ("data", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_is_not_whole_or_claims_the_impossible_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        read_header(data, LIMITS)
    assert reason in str(caught.value)


def test_a_huge_number_of_samples_is_refused_by_the_bytes_it_claims() -> None:
    data = tiff(np.zeros((6, 9, 60_000), np.uint8), photometric=1, planarconfig=1)
    with pytest.raises(InputError, match="claims 9x6 pixels of 60000 samples; at most"):
        read_header(data, Limits(max_bytes=2**20))


def test_a_strip_may_be_said_to_hold_more_rows_than_there_are() -> None:
    # The default of the standard is 2**32 - 1 rows.
    header = read_header(patched(tiff(), 278, "<H", 65_535), Limits(max_pixels=54))
    assert header.layout is not None
    assert header.layout.block == (6, 9)


def test_a_field_of_no_values_is_taken_as_missing() -> None:
    data = tiff().replace(struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 258, 3, 0))
    assert read_header(data, LIMITS).bits == 1  # the default of the standard


def test_a_huge_tile_is_refused() -> None:
    data = patched(tiff(tile=(16, 16), compression="zlib"), 323, "<H", 65_520)
    with pytest.raises(InputError, match="claims 16x65520 pixels of 3 samples; at most"):
        read_header(data, Limits(max_pixels=2**19))


@pytest.mark.parametrize(
    ("limits", "is_read"),
    [
        (Limits(max_pixels=54), True),
        (Limits(max_pixels=53), False),
        (Limits(max_bytes=162), True),
        (Limits(max_bytes=161), False),
    ],
)
def test_the_limits_are_held_exactly(limits: Limits, is_read: bool) -> None:
    for data in (tiff(), png(), jpeg()):
        if is_read:
            assert isinstance(read_header(data, limits), Header)
        else:
            with pytest.raises(InputError, match="at most"):
                read_header(data, limits)


def test_png_chunks_are_listed_with_their_places() -> None:
    data = png(chunk(b"tEXt", b"a\0b"))
    found = [(kind, data[start:end]) for kind, start, end in png_chunks(data)]
    assert [kind for kind, _ in found] == [b"IHDR", b"tEXt", b"IDAT", b"IEND"]
    assert found[1][1] == b"a\0b"
    assert found[3][1] == b""
