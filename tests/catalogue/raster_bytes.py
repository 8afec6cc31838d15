"""Raster files made by code, whole and damaged, as bytes."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from catalogue.row import head
from stand_ins.encodings import EXIF_6, PNG_START, chunk, encode, encode_tiff, jpeg_segment

PIXELS = head()
GREY = np.ascontiguousarray(PIXELS[..., 0])
OPAQUE = np.dstack([PIXELS, np.full_like(GREY, 255)])
JPEG = encode(".jpg", PIXELS)


def tiff(pixels: np.ndarray = PIXELS, **options: Any) -> bytes:
    return encode_tiff(pixels, **options)


def png(*between: bytes, size: tuple[int, int] = (48, 40), bits: int = 8, colour: int = 2) -> bytes:
    """A PNG of the head, or of its first channel, with chunks before its pixels; size: columns and
    rows as its header claims them.
    """
    rows = {2: PIXELS, 0: GREY, 3: GREY, 4: np.dstack([GREY, GREY])}[colour]
    first = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0))
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    return (
        PNG_START + first + b"".join(between) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND")
    )


def jpeg_of(frame: int = 0xC0, size: tuple[int, int] = (48, 40), parts: int = 3) -> bytes:
    """A JPEG of which only the frame header and the markers make sense."""
    body = struct.pack(">BHHB", 8, size[1], size[0], parts) + bytes(3 * parts)
    scan = b"\xff\xda\0\x02" + b"\x12\x34"
    return b"\xff\xd8" + jpeg_segment(body, frame) + scan + b"\xff\xd9"


def turned_jpeg() -> bytes:
    return JPEG[:2] + jpeg_segment(b"Exif\0\0" + EXIF_6) + JPEG[2:]
