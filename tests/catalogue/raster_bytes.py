"""Raster files made by code, whole and damaged, as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from stand_ins.encodings import EXIF_6, encode, encode_png, encode_tiff, jpeg_frame, jpeg_segment
from stand_ins.runs import draw_slice

PIXELS = draw_slice()
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
    packed = b"".join(b"\0" + row.tobytes() for row in rows)
    return encode_png(packed, *between, size=size, bits=bits, colour=colour)


def jpeg_of(frame: int = 0xC0, size: tuple[int, int] = (48, 40), parts: int = 3) -> bytes:
    return jpeg_frame(size, frame, parts=parts)


def turned_jpeg() -> bytes:
    return JPEG[:2] + jpeg_segment(b"Exif\0\0" + EXIF_6) + JPEG[2:]
