"""The lossless compressions of TIFF, each bounded by the bytes that are wanted.

A decoder returns fewer bytes than wanted when its data end early, so that the caller can say so,
and never more; it raises InputError when the data contradict themselves.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np

from lgg_runtime.errors import InputError

Decoder = Callable[[memoryview, int], bytes | memoryview]

_CLEAR, _END, _FIRST_ENTRY = 256, 257, 258
_ROOTS = [bytes([value]) for value in range(256)] + [b"", b""]
# TIFF 6.0 section 13: codes grow from 9 to 12 bits, one code early, by the number of entries made
# since the last Clear alone; so the place of every code up to the next Clear is known beforehand.
_NEWEST_ENTRY = np.arange(4096 - _FIRST_ENTRY + 1) + _FIRST_ENTRY - 1
_WIDTHS = 9 + np.searchsorted((510, 1022, 2046), _NEWEST_ENTRY)
_ENDS = np.cumsum(_WIDTHS)
_MASKS = (1 << _WIDTHS) - 1
# A strip that holds more than twice its pixels and so many bytes is refused: many strips may share
# one stream that inflates without end. Some writers fill the last strip up to the height of others.
_SURPLUS = 1 << 18
_DAMAGED = "TIFF is damaged: a strip or tile does not follow its compression; copy the file again"


def copy(data: memoryview, wanted: int) -> memoryview:
    """Data that are not compressed."""
    return data[:wanted]


def inflate(data: memoryview, wanted: int) -> bytes:
    """Deflate, with its check sum, which stands behind all that the strip inflates to."""
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(data, wanted)
        if len(unpacked) == wanted and not stream.eof:
            stream.decompress(stream.unconsumed_tail, wanted + _SURPLUS)
    except zlib.error as error:
        raise InputError(_DAMAGED) from error
    if len(unpacked) == wanted and not stream.eof:
        raise InputError(_DAMAGED)
    return unpacked


def unpack_bits(data: memoryview, wanted: int) -> bytes:
    """PackBits (TIFF 6.0, section 9)."""
    unpacked = bytearray()
    at = 0
    while at < len(data) and len(unpacked) < wanted:
        head = data[at]
        if head < 128:
            unpacked += data[at + 1 : at + 2 + head]
            at += 2 + head
        elif head > 128:
            unpacked += bytes(data[at + 1 : at + 2]) * (257 - head)
            at += 2
        else:
            at += 1
    return bytes(unpacked[:wanted])


def read_lzw(data: memoryview, wanted: int) -> bytes:
    """LZW, by OpenCV where it can, which is some thirty times as fast as `expand_lzw`."""
    return expand_lzw_by_opencv(data, wanted) or expand_lzw(data, wanted)


def expand_lzw_by_opencv(data: memoryview, wanted: int) -> bytes | None:
    """The wanted bytes as the pixels of a 16-bit picture of one row, None where that fails.

    For 16 bits OpenCV asks libtiff for the strip itself and gives up with it when the data are
    short or wrong; for 8 bits it asks for a picture, which is given whatever happened.
    """
    width = wanted // 2
    if wanted % 2:
        return None
    # Width, height, bits, LZW, black is zero, strip offset, samples, rows a strip, strip length.
    values = (width, 1, 16, 5, 1, 122, 1, 1, len(data))
    tags = (256, 257, 258, 259, 262, 273, 277, 278, 279)
    fields = (struct.pack("<HHII", tag, 4, 1, n) for tag, n in zip(tags, values, strict=True))
    file = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + b"".join(fields) + bytes(4) + data
    try:
        row = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if row is None or row.shape != (1, width) or row.dtype != np.uint16:
        return None
    return row.astype("<u2", copy=False).tobytes()


def expand_lzw(data: memoryview, wanted: int) -> bytes:
    """LZW (TIFF 6.0, section 13), one run of codes between two Clears at a time."""
    padded = np.frombuffer(bytes(data) + b"\0\0\0", np.uint8).astype(np.int64)
    if padded[0] << 1 | padded[1] >> 7 != _CLEAR:
        raise InputError(_DAMAGED)
    unpacked = bytearray()
    bit, last = 9, 8 * len(data)
    # An encoder clears once in some 3,800 codes; a stream of little else would only cost time.
    for _ in range(16 + wanted // 128):
        if len(unpacked) >= wanted:
            break
        inside = int(np.searchsorted(_ENDS, last - bit, side="right"))
        stops = bit + _ENDS[:inside]
        starts = stops - _WIDTHS[:inside]
        at = starts >> 3
        words = padded[at] << 16 | padded[at + 1] << 8 | padded[at + 2]
        codes = words >> (24 - (starts & 7) - _WIDTHS[:inside]) & _MASKS[:inside]
        breaks = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        run = int(breaks[0]) if len(breaks) else inside
        unpacked += _expand_run(codes[:run].tolist(), wanted - len(unpacked))
        if not len(breaks) or codes[run] == _END:
            break
        bit = int(stops[run])
    return bytes(unpacked[:wanted])


def _expand_run(codes: list[int], wanted: int) -> bytes:
    """The bytes of the codes between two Clears, at least the wanted ones."""
    table = _ROOTS.copy()
    strings: list[bytes] = []
    previous = b""
    for code in codes:
        if code < len(table):
            string = table[code]
        elif code == len(table) and previous:
            string = previous + previous[:1]
        elif sum(map(len, strings)) >= wanted:
            break
        else:
            raise InputError(_DAMAGED)
        if previous:
            table.append(previous + string[:1])
        previous = string
        strings.append(string)
    return b"".join(strings)


DECODERS: dict[int, Decoder] = {
    1: copy,
    5: read_lzw,
    8: inflate,
    32773: unpack_bits,
    32946: inflate,
}
PREDICTED = frozenset({5, 8, 32946})  # the compressions whose data a predictor may precede
