"""Encoded pictures for the readers' tests, by other people's encoders and by hand."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import tifffile

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
