"""What a raster file says about itself, read from its bytes before anything is decoded.

The format is told by content against an allow-list, never by suffix. Lengths, offsets, check sums
and the claimed size are verified here, so that a decoder is only handed a whole file of a size
that was agreed to. Errors carry the reason alone; the reader of the file adds its name.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lgg_runtime.errors import InputError
from lgg_runtime.readers.tiff import Layout, Tag, read_directory

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_BEFORE = {b"PLTE": {b"PLTE", b"tRNS", b"IDAT"}, b"tRNS": {b"tRNS", b"IDAT"}}

_FOREIGN = (
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"%PDF", "PDF"),
    (0, b"\x1f\x8b", "gzip"),
    (8, b"WEBP", "WebP"),
    (128, b"DICM", "DICOM"),
    (344, b"n+1\0", "NIfTI"),
)
_TIFF_COLOURS = {0: "inverted grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr"}
_TIFF_FORMATS = {1: "unsigned", 2: "signed", 3: "float", 4: "untyped", 5: "complex", 6: "complex"}
_PNG_COLOURS = {  # colour type: colour, samples, permitted bits (PNG 3rd edition, table 11.1)
    0: ("grey", 1, (1, 2, 4, 8, 16)),
    2: ("RGB", 3, (8, 16)),
    3: ("palette", 1, (1, 2, 4, 8)),
    4: ("grey", 2, (8, 16)),
    6: ("RGB", 4, (8, 16)),
}
_JPEG_COLOURS = {1: "grey", 3: "RGB", 4: "CMYK"}
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_JPEG_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_MARKER = re.compile(rb"\xff++([\x01-\xfe])")
# What ends entropy-coded data: not a stuffed zero, a restart, or a fill byte.
_JPEG_SCAN_END = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
MOST_SCANS = 100  # of a JPEG; each goes over the whole picture, and encoders write some ten
_CUT = "is cut short or damaged; copy the file again"


@dataclass(frozen=True)
class Limits:
    """What one file may claim. max_bytes bounds the file and the decoded pixels alike."""

    max_pixels: int = 64 * 2**20
    max_bytes: int = 512 * 2**20


@dataclass(frozen=True)
class Header:
    """Facts about one whole file; pixels are width x height of `samples` values of `bits` bits.

    format: TIFF, BigTIFF, PNG or JPEG. sample_format: unsigned, signed, float, complex, untyped.
    colour: grey, inverted grey, RGB, palette, CMYK, or another colour's name; a palette has one
    sample. has_alpha: transparency in any form. orientation: the EXIF value, 1 where absent.
    layout: where the pixels of a TIFF lie, None for the other formats.
    """

    format: str
    width: int
    height: int
    samples: int
    bits: int
    colour: str
    sample_format: str = "unsigned"
    pages: int = 1
    orientation: int = 1
    has_alpha: bool = False
    layout: Layout | None = None


def read_header(data: bytes, limits: Limits) -> Header:
    """The header of a TIFF, BigTIFF, PNG or JPEG held in memory.

    Raises InputError where the format is another, the file is not whole, or it claims more than
    the limits.
    """
    for magic, parse in _PARSERS:
        if data.startswith(magic):
            return parse(data, limits)
    if not data:
        raise InputError("expected TIFF, PNG or JPEG, found an empty file; copy the file again")
    found = next((name for at, magic, name in _FOREIGN if data.startswith(magic, at)), "")
    what = f"found {found}" if found else "found neither; is it an image, and whole?"
    raise InputError(f"expected TIFF, PNG or JPEG content, {what}")


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each chunk up to and with IEND."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        yield kind, at + 8, end
        if kind == b"IEND":
            return
        at = end + 4
    raise InputError(f"PNG {_CUT}")


def _tiff(data: bytes, limits: Limits) -> Header:
    page, pages = read_directory(data)
    samples = page.first_value(Tag.SAMPLES_PER_PIXEL, 1)
    depths = page.fields.get(Tag.BITS_PER_SAMPLE, (1,))
    formats = page.fields.get(Tag.SAMPLE_FORMAT, (1,))
    width, height = page.first_value(Tag.WIDTH), page.first_value(Tag.HEIGHT)
    _check_size(width, height, samples, max(depths), limits)
    if len(depths) not in (1, samples) or len({*depths}) != 1 or len({*formats}) != 1:
        raise InputError("TIFF samples of different depths; expected 8-bit samples throughout")
    layout = page.layout(width, height, samples, depths[0])
    _check_size(layout.block[1], layout.block[0], samples, depths[0], limits)
    photometric = page.first_value(Tag.PHOTOMETRIC, -1)
    colour = _TIFF_COLOURS.get(photometric, f"TIFF photometric {photometric}")
    has_extra = samples == 2 or any(page.fields.get(Tag.EXTRA_SAMPLES, ()))
    return Header(
        format="BigTIFF" if page.is_big else "TIFF",
        width=width,
        height=height,
        samples=samples,
        bits=depths[0],
        colour=colour,
        sample_format=_TIFF_FORMATS.get(formats[0], "unknown"),
        pages=pages,
        orientation=page.first_value(Tag.ORIENTATION, 1),
        has_alpha=samples == 4 if colour == "RGB" else samples > 1 and has_extra,
        layout=layout,
    )


def _png(data: bytes, limits: Limits) -> Header:
    kinds: set[bytes] = set()
    pages = orientation = 1
    fields = (0, 0, 0, 0, 0, 0, 0)
    view = memoryview(data)
    for kind, start, end in png_chunks(data):
        if zlib.crc32(view[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise InputError(f"PNG {_CUT}: the check sum of a chunk is wrong")
        if (kind == b"IHDR") == bool(kinds) or (kind == b"IHDR" and end - start != 13):
            raise InputError(f"PNG {_CUT}: its header chunk is wrong")
        if not kind[0] & 32 and kind not in PNG_PIXEL_CHUNKS:
            raise InputError("PNG with a critical chunk of no standard; save it as plain PNG")
        if kinds & _PNG_BEFORE.get(kind, set()):
            raise InputError(f"PNG {_CUT}: its chunks are out of order")
        kinds.add(kind)
        if kind == b"IHDR":
            fields = struct.unpack_from(">IIBBBBB", data, start)
            samples = _PNG_COLOURS.get(fields[3], ("", 1, ()))[1]
            _check_size(fields[0], fields[1], samples, fields[2], limits)
        elif kind == b"acTL" and end - start == 8:
            pages = int.from_bytes(data[start : start + 4], "big")
        elif kind == b"eXIf":
            orientation = _exif_orientation(data[start:end])
    width, height, bits, colour_type, *methods = fields
    colour, samples, permitted = _PNG_COLOURS.get(colour_type, ("", 0, ()))
    needed = {b"IDAT", b"PLTE"} if colour == "palette" else {b"IDAT"}
    if bits not in permitted or methods[:2] != [0, 0] or methods[2] > 1 or not needed <= kinds:
        raise InputError(f"PNG {_CUT}: its header is no valid one")
    has_alpha = samples in (2, 4) or b"tRNS" in kinds
    facts = (width, height, samples, bits, colour)
    return Header("PNG", *facts, pages=pages, orientation=orientation, has_alpha=has_alpha)


def _jpeg(data: bytes, limits: Limits) -> Header:
    orientation, scans = 1, 0
    header: Header | None = None
    for kind, start, end in _jpeg_segments(data):
        if kind in _JPEG_FRAMES:
            if header is not None or end - start < 6:
                raise InputError(f"JPEG {_CUT}: its frame header is wrong")
            bits, height, width, samples = struct.unpack_from(">BHHB", data, start)
            _check_size(width, height, samples, bits, limits)
            colour = _JPEG_COLOURS.get(samples, f"{samples}-component colour")
            header = Header("JPEG", width, height, samples, bits, colour)
        elif kind in _JPEG_OTHER_FRAMES:
            raise InputError(f"JPEG process 0x{kind:X} is not read; save it as baseline JPEG")
        elif kind == 0xE1 and data.startswith(b"Exif\0\0", start):
            orientation = _exif_orientation(data[start + 6 : end])
        scans += kind == 0xDA
        if scans > MOST_SCANS:
            raise InputError(f"JPEG of more than {MOST_SCANS} scans; save it as baseline JPEG")
    if header is None or not scans:
        raise InputError(f"JPEG {_CUT}: it holds no picture")
    return replace(header, orientation=orientation)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the content of each segment up to the end marker.

    What may be wrong inside the entropy-coded data is seen by the decoder only.
    """
    at = 2
    while True:
        marker = JPEG_MARKER.match(data, at)
        if marker is None:
            raise InputError(f"JPEG {_CUT}: a marker is missing at byte {at}")
        kind, at = marker[1][0], marker.end()
        if kind == 0xD9:
            return
        end = at + int.from_bytes(data[at : at + 2], "big")
        if end < at + 2 or end > len(data):
            raise InputError(f"JPEG {_CUT}: a segment ends outside the file")
        yield kind, at + 2, end
        at = end
        if kind == 0xDA:
            scan_end = _JPEG_SCAN_END.search(data, at)
            if scan_end is None:
                raise InputError(f"JPEG {_CUT}: its end marker is missing")
            at = scan_end.start()


def _exif_orientation(exif: bytes) -> int:
    """The orientation, 1 where the block is damaged: the pixels do not depend on it."""
    try:
        return read_directory(exif)[0].first_value(Tag.ORIENTATION, 1)
    except InputError:
        return 1


def _check_size(width: int, height: int, samples: int, bits: int, limits: Limits) -> None:
    claim = f"its header claims {width}x{height} pixels of {samples} samples"
    if min(width, height, samples, bits) < 1:
        raise InputError(f"{claim}; expected at least one of each")
    too_large = width * height > limits.max_pixels
    if too_large or width * height * samples * ((bits + 7) // 8) > limits.max_bytes:
        raise InputError(
            f"{claim}; at most {limits.max_pixels} pixels in {limits.max_bytes} bytes are read"
        )


_PARSERS = (
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"II+\0", _tiff),
    (b"MM\0+", _tiff),
    (PNG_SIGNATURE, _png),
    (b"\xff\xd8\xff", _jpeg),
)
