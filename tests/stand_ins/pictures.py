"""Pictures of 5 x 7 pixels for the readers' tests, and what they are encoded as."""

from __future__ import annotations

import struct
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


def encoded(suffix: str, pixels: np.ndarray = RGB, *options: int) -> bytes:
    return encode(suffix, pixels, *options)


def png(rows: np.ndarray, colour: int, *between: bytes, bits: int = 8) -> bytes:
    """A PNG of packed rows; width 7."""
    packed = b"".join(b"\0" + row.tobytes() for row in rows)
    return encode_png(packed, *between, size=(7, len(rows)), bits=bits, colour=colour)


def interlaced(pixels: np.ndarray) -> bytes:
    """A PNG of RGB in the seven passes of Adam7 (PNG 3rd edition, 8.2)."""
    # First row and column, steps down and across.
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1))  # fmt: skip
    rows = [row for y, x, down, across in passes for row in pixels[y::down, x::across] if row.size]
    height, width = pixels.shape[:2]
    packed = b"".join(b"\0" + row.tobytes() for row in rows)
    return encode_png(packed, size=(width, height), methods=(0, 0, 1))


def tiff_of_4_bits(values: np.ndarray, colours: int = 16) -> bytes:
    """A palette TIFF of values below 16; its palette is said to have so many colours."""
    packed = pack_4_bits(values)
    palette = np.zeros(768, np.uint16)
    palette[:48] = PALETTE[:, :16].astype(np.uint16).ravel() * 257
    data = tiff(packed, photometric="palette", colormap=palette.reshape(3, 256))
    data = patched(patched(data, 258, "<H", 4), 256, "<I", values.shape[1])
    field = struct.pack("<HH", 320, 3)
    return data.replace(field + struct.pack("<I", 768), field + struct.pack("<I", 3 * colours))


def pack_4_bits(values: np.ndarray) -> np.ndarray:
    """Two values a byte, rows filled up to whole bytes."""
    padded = np.pad(values, ((0, 0), (0, values.shape[1] % 2)))
    return np.ascontiguousarray(padded[:, ::2] << 4 | padded[:, 1::2])


def decoded(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


PALETTE = RANDOM.integers(0, 256, (3, 256), dtype=np.uint8)
PLTE = chunk(b"PLTE", PALETTE.T.tobytes())
PLTE_16 = chunk(b"PLTE", PALETTE.T[:16].tobytes())
BITS = GREY > 127
NIBBLES = GREY & 15
JPEG = encoded(".jpg")
EXIF_JPEG = JPEG[:2] + jpeg_segment(b"Exif\0\0" + EXIF_6) + JPEG[2:]
