"""What compressed pixels of DICOM say of themselves, read before a codec is handed them.

A codec makes room for the size that a picture claims, not for that of the data set: of a few
hundred bytes, gigabytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from lgg_runtime.errors import InputError
from lgg_runtime.readers.raster_header import JPEG_MARKER, MOST_SCANS

RLE, JPEG_EXTENDED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.51"
_RLE_HEADER_BYTES = 64
# Start of frame (of JPEG-LS the last but one), and a hierarchy of frames, which is like one.
_SIZES = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7, 0xDE}
_END, _SCAN = 0xD9, 0xDA
_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
# How JPEG 2000 codes a picture, a tile or a component: COD and COC (ISO 15444-1, A.6).
_CODING = re.compile(rb"\xff([\x52\x53])\0(?=.{9})", re.DOTALL)
_MOST_LEVELS, _LARGEST_BLOCK = 32, 8  # ISO 15444-1, tables A.15 and A.18
# As many as 4096 x 4096 pixels in precincts of 32 x 32 and twelve layers have, far above what
# encoders write; openjpeg takes half a GiB for them at the worst.
MOST_PACKETS = 1 << 18
# The end of a picture and the start of one: neither stands in entropy-coded data.
_ANOTHER = re.compile(rb"\xff\xd9\0*+\xff[\x4f\xd8]")


def join_fragments(fragments: Sequence[bytes], data: Any) -> bytes:
    """The compressed picture of one frame, whose size is that of the data set's header.

    Raises InputError, the reason alone, for a picture of another size or of too many scans or
    packets, or more than one, ValueError, IndexError or struct.error for one that is damaged.
    """
    stream = b"".join(fragments)
    rows, columns = int(data.Rows), int(data.Columns)
    if data.file_meta.TransferSyntaxUID == RLE:
        # A frame is one fragment (PS3.5, A.4.2); a run takes two bytes for one at the worst.
        most = _RLE_HEADER_BYTES + 2 * rows * columns * int(data.BitsAllocated) // 8 + 2
        if len(fragments) > 1 or len(stream) > most:
            raise InputError("its compressed pixels are more than its header says; refused")
        return stream
    claims = set(_read_claims(stream))
    if claims != {(rows, columns, 1)}:
        most_claimed = " x ".join(map(str, max(claims, default=("no",))))
        raise InputError(
            f"its compressed picture claims {most_claimed} samples, its header "
            f"{rows} x {columns}; refused"
        )
    if _ANOTHER.search(stream):
        raise InputError("its compressed pixels are more than its header says; refused")
    if stream.count(bytes((0xFF, _SCAN))) > MOST_SCANS:
        raise InputError(f"its compressed picture has more than {MOST_SCANS} scans; refused")
    if stream.startswith(_JPEG_2000) and _count_packets(stream, rows, columns) > MOST_PACKETS:
        raise InputError(f"its compressed picture has more than {MOST_PACKETS} packets; refused")
    return stream


def _read_claims(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Rows, columns and samples a pixel, wherever a picture says them."""
    if stream.startswith(_JPEG_2000):
        right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
        yield bottom - top, right - left, *struct.unpack_from(">H", stream, 40)
        return
    if not stream.startswith(_JPEG):
        raise ValueError("neither JPEG nor JPEG 2000")
    at = len(_JPEG)
    # To the first scan: a second start of frame before it is another claim.
    while marker := JPEG_MARKER.match(stream, at):
        kind, at = marker[1][0], marker.end()
        if kind in (_END, _SCAN):
            return
        if kind in _SIZES:
            yield struct.unpack_from(">HHB", stream, at + 3)
        at += int.from_bytes(stream[at : at + 2], "big")
    raise ValueError("a marker is missing")


def _count_packets(stream: bytes, rows: int, columns: int) -> int:
    """The packets of a JPEG 2000 picture of one component, were all its tiles coded as the one that
    has most of them: a decoder makes room for each, whether it is there or not.
    """
    width, height = struct.unpack_from(">2I", stream, 24)
    height, width = min(max(height, 1), rows), min(max(width, 1), columns)
    tiles: int = -(-rows // height) * -(-columns // width)
    most_layers = most_precincts = 0
    # Wherever they stand; what no decoder takes is no marker, but coded pixels.
    for found in _CODING.finditer(stream):
        at = found.end()
        if found[1] == b"\x52":
            values = struct.unpack_from(">3BH4B", stream, at)
            length, style, _, layers, other, levels, *block = values
            fixed, most_other = 12, 1  # of the colours' transforms
        else:
            length, other, style, levels, *block = struct.unpack_from(">6B", stream, at)
            layers, fixed, most_other = 0, 9, 0  # of the components
        if length != fixed + (style & 1) * (levels + 1):
            continue
        if other > most_other or levels > _MOST_LEVELS or max(block) > _LARGEST_BLOCK:
            continue
        # A byte for each resolution level, the lowest first; without them precincts of 2^15.
        sizes = stream[at - 1 + fixed : at - 1 + length] or b"\xff" * (levels + 1)
        precincts = sum(
            -(-height >> down + (size >> 4)) * -(-width >> down + (size & 15))
            for down, size in enumerate(reversed(sizes))
        )
        most_layers, most_precincts = max(most_layers, layers), max(most_precincts, precincts)
    return tiles * most_layers * most_precincts
