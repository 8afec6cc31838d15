"""Pictures as bytes: by other people's encoders, and by hand what no encoder writes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import tifffile

PNG_START = b"\x89PNG\r\n\x1a\n"
EXIF_6 = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, 1, 6, 0)


def encode(suffix: str, pixels: np.ndarray, *options: int) -> bytes:
    """What OpenCV writes of pixels in RGB, RGBA or grey."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    shown = pixels[..., order[pixels.shape[2]]] if pixels.ndim == 3 else pixels
    done, data = cv2.imencode(suffix, shown, options)
    assert done
    return bytes(data.tobytes())


def encode_tiff(pixels: np.ndarray, **options: Any) -> bytes:
    """What tifffile writes; its description is left out so that bytes are the same everywhere."""
    buffer = io.BytesIO()
    container = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    kind = "rgb" if pixels.ndim > 2 else 1
    with tifffile.TiffWriter(buffer, **container) as writer:
        writer.write(pixels, **{"photometric": kind, "metadata": None, **options})
    return buffer.getvalue()


def value_place(tiff: bytes, tag: int) -> int:
    """Where a field's value lies."""
    with tifffile.TiffFile(io.BytesIO(tiff)) as file:
        return int(file.pages.first.tags[tag].valueoffset)


def patched(tiff: bytes, tag: int, form: str, *values: int) -> bytes:
    """The TIFF with a field's values replaced."""
    changed = bytearray(tiff)
    struct.pack_into(form, changed, value_place(tiff, tag), *values)
    return bytes(changed)


def sharing(tiff: bytes) -> bytes:
    """The TIFF of four short strips with each from the first one's place to the file's end."""
    (first,) = struct.unpack_from("<I", tiff, value_place(tiff, 273))
    return patched(patched(tiff, 273, "<4I", *[first] * 4), 279, "<4H", *[len(tiff) - first] * 4)


def looping(tiff: bytes) -> bytes:
    """The TIFF with its first page followed by itself."""
    data = bytearray(tiff)
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


def repeating_tiff(times: int) -> bytes:
    """A directory that says one field of a million values that many times."""
    field = struct.Struct("<HHII").pack(320, 1, 2**20, 14 + 12 * times)
    start = struct.pack("<2sHIH", b"II", 42, 8, times)
    return start + field * times + bytes(4) + bytes(2**20)


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    """Of a PNG."""
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def jpeg_segment(content: bytes, marker: int = 0xE1) -> bytes:
    return struct.pack(">BBH", 255, marker, len(content) + 2) + content


def encode_png(
    packed: bytes,
    *between: bytes,
    size: tuple[int, int],
    bits: int = 8,
    colour: int = 2,
    methods: tuple[int, int, int] = (0, 0, 0),
) -> bytes:
    """A PNG whose header claims columns and rows; packed: rows, each behind its filter's byte;
    `between` lies after the first chunk.
    """
    first = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, *methods))
    pixels = chunk(b"IDAT", zlib.compress(packed))
    return PNG_START + first + b"".join(between) + pixels + chunk(b"IEND")


def jpeg_frame(size: tuple[int, int], frame: int = 0xC0, bits: int = 8, parts: int = 3) -> bytes:
    """A JPEG of which only the frame header and the markers make sense; size: columns, rows."""
    body = struct.pack(">BHHB", bits, size[1], size[0], parts) + bytes(3 * parts)
    scan = b"\xff\xda\0\x02" + b"\x12\xff\x00\xff\xd0\x34"
    return b"\xff\xd8" + jpeg_segment(body, frame) + scan + b"\xff\xd9"
