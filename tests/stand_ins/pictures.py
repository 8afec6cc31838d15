"""Pictures of 5 x 7 pixels for the readers' tests, and what they are encoded as."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from stand_ins.encodings import (
    EXIF_6,
    chunk,
    encode,
    encode_png,
    encode_tiff,
    jpeg_segment,
    patched,
)

RANDOM = np.random.default_rng(11)
RGB = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = np.ascontiguousarray(RGB[..., 0])
AS_FLAIR = np.repeat(GREY[..., np.newaxis], 3, axis=2)
OPAQUE = np.dstack([RGB, np.full_like(GREY, 255)])
BLEED = np.dstack([RGB, np.where(np.arange(35).reshape(5, 7) == 17, 254, 255).astype(np.uint8)])
ONE_CHANNEL = "one channel, taken as FLAIR"


def tiff(pixels: np.ndarray = RGB, **options: Any) -> bytes:
    return encode_tiff(pixels, **options)


def recompressed(compression: int) -> bytes:
    """A TIFF that says its strip is compressed in another way than it is."""
    return patched(tiff(), 259, "<H", compression)


def encoded(suffix: str, pixels: np.ndarray = RGB, *options: int) -> bytes:
    return encode(suffix, pixels, *options)


def png(rows: np.ndarray, colour: int, *between: bytes, bits: int = 8) -> bytes:
    """A PNG of packed rows; width 7."""
    packed = b"".join(b"\0" + row.tobytes() for row in rows)
    return encode_png(packed, *between, size=(7, len(rows)), bits=bits, colour=colour)


def decoded(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


PALETTE = RANDOM.integers(0, 256, (3, 256), dtype=np.uint8)
PLTE = chunk(b"PLTE", PALETTE.T.tobytes())
BITS = GREY > 127
JPEG = encoded(".jpg")
EXIF_JPEG = JPEG[:2] + jpeg_segment(b"Exif\0\0" + EXIF_6) + JPEG[2:]
