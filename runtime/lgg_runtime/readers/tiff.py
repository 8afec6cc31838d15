"""TIFF and BigTIFF: the directory of the first page, and where its pixels lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from lgg_runtime.errors import InputError


class Tag(IntEnum):
    """The fields that are read, by the numbers that TIFF 6.0 gives them."""

    WIDTH = 256
    HEIGHT = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_LENGTHS = 279
    PLANAR_CONFIGURATION = 284
    PREDICTOR = 317
    PALETTE = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_LENGTHS = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339


COMPRESSIONS = {
    1: "none",
    2: "CCITT RLE",
    3: "CCITT T.4",
    4: "CCITT T.6",
    5: "LZW",
    6: "old JPEG",
    7: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    34712: "JPEG 2000",
    34925: "LZMA",
    50000: "ZSTD",
    50001: "WebP",
    50002: "JPEG XL",
}
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_SIZES |= {16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_WANTED = frozenset(Tag)
_MAX_ENTRIES = _MAX_PAGES = 65535
_MAX_VALUES = 2**20
# Of all fields together: many of them may stand for the same bytes, or one field again and again.
_MAX_ALL_VALUES = 4 * _MAX_VALUES
CUT = "TIFF is cut short or damaged"
# Pages may be the channels of one slice: each alone would be taken for a slice of FLAIR.
ONE_PAGE = "save a file a slice, its three channels as RGB"


@dataclass(frozen=True)
class Layout:
    """Where the pixels lie.

    is_planar: each sample has strips or tiles of its own. is_tiled: in tiles, all of one size; the
    last strip ends with the picture. block: rows and columns of a strip or tile. spans: offset and
    length of each in bytes. palette: (3 * 2**bits) values, all reds first, or empty.
    """

    width: int
    height: int
    samples: int
    bits: int
    compression: int
    predictor: int
    fill_order: int
    is_planar: bool
    is_tiled: bool
    block: tuple[int, int]
    spans: tuple[tuple[int, int], ...]
    palette: tuple[int, ...]


@dataclass(frozen=True)
class Directory:
    """The integer fields of one page, by tag; `size` is that of the file in bytes."""

    fields: dict[int, tuple[int, ...]]
    is_big: bool
    size: int

    def first_value(self, tag: Tag, default: int | None = None) -> int:
        """The first value of a field; without a default the field has to be there."""
        value = self.fields.get(tag) or ((default,) if default is not None else ())
        if not value:
            raise InputError(f"{CUT}: the required field {tag} is missing; export it again")
        return value[0]

    def layout(self, width: int, height: int, samples: int, bits: int) -> Layout:
        """Raises InputError unless every strip or tile the size asks for is inside the file."""
        is_tiled = Tag.TILE_WIDTH in self.fields
        if is_tiled:
            rows, columns = self.first_value(Tag.TILE_HEIGHT), self.first_value(Tag.TILE_WIDTH)
        else:
            rows, columns = min(self.first_value(Tag.ROWS_PER_STRIP, height), height), width
        if rows < 1 or columns < 1:
            raise InputError(f"{CUT}: a strip or tile of no size")
        offsets = self.fields.get(Tag.TILE_OFFSETS if is_tiled else Tag.STRIP_OFFSETS, ())
        lengths = self.fields.get(Tag.TILE_LENGTHS if is_tiled else Tag.STRIP_LENGTHS, ())
        planes = samples if self.first_value(Tag.PLANAR_CONFIGURATION, 1) == 2 else 1
        blocks = planes * -(-height // rows) * -(-width // columns)
        if not len(offsets) == len(lengths) == blocks:
            raise InputError(
                f"{CUT}: expected {blocks} strips or tiles, "
                f"found {len(offsets)} offsets and {len(lengths)} lengths"
            )
        spans = tuple(zip(offsets, lengths, strict=True))
        if any(offset + length > self.size for offset, length in spans):
            raise InputError(f"{CUT}: a strip or tile ends outside the file; copy the file again")
        return Layout(
            width=width,
            height=height,
            samples=samples,
            bits=bits,
            compression=self.first_value(Tag.COMPRESSION, 1),
            predictor=self.first_value(Tag.PREDICTOR, 1),
            fill_order=self.first_value(Tag.FILL_ORDER, 1),
            is_planar=planes > 1,
            is_tiled=is_tiled,
            block=(rows, columns),
            spans=spans,
            palette=self.fields.get(Tag.PALETTE, ()),
        )


def read_directory(data: bytes) -> tuple[Directory, int]:
    """The first page's directory, and the number of pages.

    Raises InputError when a directory or a field's value lies outside the file, when a field that
    is read has another kind or stands twice, or when the chain of directories loops.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = _unpack(order + "H", data, 2)[0] == 43
    if is_big and _unpack(order + "HH", data, 4) != (8, 0):
        raise InputError(f"{CUT}: BigTIFF offsets are not of 8 bytes")
    start = _unpack(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)[0]
    fields, following = _read_entries(data, start, order, is_big)
    seen = {start}
    while following:
        if following in seen:
            raise InputError(f"{CUT}: its list of pages loops; export it again")
        if len(seen) == _MAX_PAGES:
            raise InputError(f"expected one page, found more than {_MAX_PAGES}; {ONE_PAGE}")
        seen.add(following)
        following = _skip_entries(data, following, order, is_big)[2]
    return Directory(fields, is_big, len(data)), len(seen)


def _skip_entries(data: bytes, start: int, order: str, is_big: bool) -> tuple[int, int, int]:
    """Where the entries of the directory begin, their number, and the next directory or 0."""
    number = _unpack(order + ("Q" if is_big else "H"), data, start)[0]
    if not 0 < number <= _MAX_ENTRIES:
        raise InputError(f"{CUT}: a directory of {number} entries; copy the file again")
    begin = start + (8 if is_big else 2)
    end = begin + number * (20 if is_big else 12)
    return begin, number, _unpack(order + ("Q" if is_big else "I"), data, end)[0]


def _read_entries(
    data: bytes, start: int, order: str, is_big: bool
) -> tuple[dict[int, tuple[int, ...]], int]:
    begin, number, following = _skip_entries(data, start, order, is_big)
    entry, offset, inline = ("HHQ", "Q", 8) if is_big else ("HHI", "I", 4)
    step = struct.calcsize("<" + entry) + inline
    fields: dict[int, tuple[int, ...]] = {}
    values = 0
    for at in range(begin, begin + number * step, step):
        tag, kind, count = struct.unpack_from(order + entry, data, at)
        value = at + step - inline
        size = count * _TYPE_SIZES.get(kind, 0)
        if size > inline:
            value = struct.unpack_from(order + offset, data, value)[0]
            if value + size > len(data):
                raise InputError(f"{CUT}: field {tag} lies outside the file; copy the file again")
        if tag in _WANTED and count:
            if kind not in _INTEGERS:
                raise InputError(f"{CUT}: field {tag} is of kind {kind}; export it again")
            if count > _MAX_VALUES:
                raise InputError(f"TIFF field {tag} has {count} values; at most {_MAX_VALUES}")
            values += count
            if values > _MAX_ALL_VALUES:
                raise InputError(
                    f"{CUT}: its fields have more than {_MAX_ALL_VALUES} values; export it again"
                )
            found = struct.unpack_from(f"{order}{count}{_INTEGERS[kind]}", data, value)
            if min(found) < 0 or fields.setdefault(tag, found) != found:
                raise InputError(
                    f"{CUT}: field {tag} is negative, or stands twice and differs; export it again"
                )
    return fields, following


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    if at + struct.calcsize(form) > len(data):
        raise InputError(f"{CUT}: its directory lies outside the file; copy the file again")
    return struct.unpack_from(form, data, at)
