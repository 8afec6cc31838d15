"""What of a PNG goes to the decoder: the chunks of its pixels, once they are known to be whole.

libpng writes its complaints to standard error past every log level, so it is handed nothing that
it would complain about.
"""

from __future__ import annotations

import zlib

from lgg_runtime.errors import InputError
from lgg_runtime.readers.raster_header import PNG_PIXEL_CHUNKS, PNG_SIGNATURE, Header, png_chunks

_INTERLACED = 28  # the byte of the header chunk's last field
# Adam7: first column and row, and the steps between them (PNG 3rd edition, 8.2).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
           (0, 1, 1, 2))  # fmt: skip
_STEP_BYTES = 1 << 20
_DAMAGED = "PNG cannot be decoded; is it damaged?"


def pixel_chunks(data: bytes, header: Header) -> bytes:
    """The PNG reduced to the chunks of its pixels, so that nobody inflates its text and profiles.

    Raises InputError unless its stream inflates to as many bytes as the header asks for.
    """
    parts, stream = [PNG_SIGNATURE], []
    for kind, start, end in png_chunks(data):
        if kind in PNG_PIXEL_CHUNKS:
            parts.append(data[start - 8 : end + 4])
        if kind == b"IDAT":
            stream.append(data[start:end])
    _require_whole(stream, _stream_bytes(header, bool(data[_INTERLACED])))
    return b"".join(parts)


def _stream_bytes(header: Header, is_interlaced: bool) -> int:
    """Inflated size of all rows, each with one byte before it that names its filter."""
    passes = _PASSES if is_interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = (
            -(-(side - first) // step)
            for side, first, step in ((header.width, left, across), (header.height, top, down))
        )
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * header.samples * header.bits // 8))
    return total


def _require_whole(stream: list[bytes], expected: int) -> None:
    """Inflates no more than one step beyond what is expected, and keeps none of it."""
    inflater, found = zlib.decompressobj(), 0
    try:
        for part in stream:
            rest = part
            while rest and not inflater.eof and found <= expected:
                found += len(inflater.decompress(rest, _STEP_BYTES))
                rest = inflater.unconsumed_tail
    except zlib.error as error:
        raise InputError(_DAMAGED) from error
    if found != expected:
        raise InputError(_DAMAGED)
