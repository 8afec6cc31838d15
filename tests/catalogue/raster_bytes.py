"""Raster files made by code, whole and damaged, as bytes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile

from catalogue.row import encode, head

PIXELS = head()
GREY = np.ascontiguousarray(PIXELS[..., 0])
OPAQUE = np.dstack([PIXELS, np.full_like(GREY, 255)])
EXIF_6 = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, 1, 6, 0)
JPEG = encode(".jpg", PIXELS)
PNG_START = b"\x89PNG\r\n\x1a\n"


def tiff(pixels: np.ndarray = PIXELS, **options: Any) -> bytes:
    """What tifffile writes; its description is left out so that bytes are the same everywhere."""
    buffer = io.BytesIO()
    container = {name: options.pop(name) for name in ("bigtiff",) if name in options}
    kind = "rgb" if pixels.ndim > 2 else 1
    with tifffile.TiffWriter(buffer, **container) as writer:
        writer.write(pixels, **{"photometric": kind, "metadata": None, **options})
    return buffer.getvalue()


def patched(data: bytes, tag: int, form: str, *values: int) -> bytes:
    """The TIFF with a field's values replaced."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages.first.tags[tag].valueoffset
    packed = struct.pack(form, *values)
    return data[:place] + packed + data[place + len(packed) :]


def looping_tiff() -> bytes:
    """A TIFF whose first page is followed by itself."""
    data = bytearray(tiff())
    start = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * entries, start)
    return bytes(data)


def chained_tiff(pages: int) -> bytes:
    """Directories of one field each, one after the other."""
    starts = range(8, 8 + 18 * pages, 18)
    page = struct.Struct("<HHHIII")
    return struct.pack("<2sHI", b"II", 42, 8) + b"".join(
        page.pack(1, 256, 4, 1, 1, start) for start in [*starts[1:], 0]
    )


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


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


def jpeg_segment(content: bytes, marker: int = 0xE1) -> bytes:
    return struct.pack(">BBH", 255, marker, len(content) + 2) + content


def jpeg_of(frame: int = 0xC0, size: tuple[int, int] = (48, 40), parts: int = 3) -> bytes:
    """A JPEG of which only the frame header and the markers make sense."""
    body = struct.pack(">BHHB", 8, size[1], size[0], parts) + bytes(3 * parts)
    scan = b"\xff\xda\0\x02" + b"\x12\x34"
    return b"\xff\xd8" + jpeg_segment(body, frame) + scan + b"\xff\xd9"


def turned_jpeg() -> bytes:
    return JPEG[:2] + jpeg_segment(b"Exif\0\0" + EXIF_6) + JPEG[2:]
