"""A data set as it is encoded (PS3.5, 7): what its top level says, and how much lies below.

It is walked and nothing is made of it: pydicom makes a thousand bytes of an empty item of eight.
Where a writer breaks the rules, it is read as pydicom reads it, which sees the same object later.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from lgg_runtime.errors import InputError

MOST_NESTED = 32
MOST_PARTS = 1_000_000  # elements and items: some 6,000 frames of an enhanced image have them
_UNDEFINED = 0xFFFFFFFF
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
# PS3.5, 7.1.2: two bytes of nothing and a length of four bytes follow.
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_LONGEST_VALUE = 256


class CostlyHeaderError(InputError):
    """A header with more elements and items than any image has, or nested more deeply."""


def read_values(body: bytes, syntax: str, wanted: Iterable[int]) -> dict[int, str]:
    """The values of these attributes at the top level, without padding, up to the pixels.

    syntax: the transfer syntax; wanted: tags of UIDs. Raises CostlyHeaderError, and ValueError or
    struct.error for a data set that is cut short within a sequence or a head.
    """
    return _Walk(body, syntax, frozenset(wanted)).read()


def read_first_values(body: bytes, syntax: str, wanted: Iterable[int]) -> dict[int, str]:
    """As `read_values`, of a data set that may be damaged: what stands before the damage."""
    walk = _Walk(body, syntax, frozenset(wanted))
    with contextlib.suppress(CostlyHeaderError, ValueError, struct.error):
        walk.read()
    return walk.found


@dataclass(slots=True)
class _Open:
    """A data set, or a sequence, that is being read.

    end: where it ends at the latest; bound: where what is inside has to end; has_length: whether
    it says where it ends, or a delimiter does.
    """

    end: int
    bound: int
    is_sequence: bool
    is_implicit: bool
    has_length: bool


class _Walk:
    def __init__(self, body: bytes, syntax: str, wanted: frozenset[int]):
        self._body, self._wanted = body, wanted
        order = ">" if syntax == BIG_ENDIAN else "<"
        self._implicit = struct.Struct(f"{order}HHL").unpack_from
        self._explicit = struct.Struct(f"{order}HH2sH").unpack_from
        self._long = struct.Struct(f"{order}L").unpack_from
        self._sequence_end = struct.pack(f"{order}HH", _SEQUENCE_END >> 16, _SEQUENCE_END & 0xFFFF)
        self._at = 0
        self.found: dict[int, str] = {}
        top = _Open(len(body), len(body), False, self._looks_implicit(syntax == IMPLICIT), True)
        self._open = [top]

    def read(self) -> dict[int, str]:
        parts = 0
        while self._open:
            innermost = self._open[-1]
            if self._at >= innermost.end:
                self._close(innermost)
                continue
            parts += 1
            if parts > MOST_PARTS:
                raise CostlyHeaderError(f"its header has more than {MOST_PARTS} elements and items")
            if innermost.is_sequence:
                self._read_item(innermost)
            else:
                self._read_element(innermost)
        return self.found

    def _read_item(self, sequence: _Open) -> None:
        if sequence.bound - self._at < 8:
            raise ValueError("an item that is cut short")
        group, element, length = self._implicit(self._body, self._at)
        self._at += 8
        if group << 16 | element == _SEQUENCE_END:
            sequence.end = sequence.end if sequence.has_length else self._at
            self._at, sequence.has_length = sequence.end, True
            return
        if len(self._open) > 2 * MOST_NESTED:
            raise CostlyHeaderError(f"its sequences are nested deeper than {MOST_NESTED}")
        # PS3.5, 6.2.2: what was of unknown VR is implicit inside.
        is_implicit = sequence.is_implicit or self._looks_implicit(False)
        self._enter(sequence, length, is_sequence=False, is_implicit=is_implicit)

    def _read_element(self, data: _Open) -> None:
        if data.bound - self._at < 8:
            self._at = data.bound
            return
        tag, kind, length = self._read_head(data.is_implicit)
        is_end = tag == _ITEM_END or (tag in _PIXELS and len(self._open) == 1)
        if is_end:
            self._open.pop()
        elif self._is_sequence(tag, kind, length):
            self._enter(data, length, is_sequence=True, is_implicit=data.is_implicit)
        elif length == _UNDEFINED:
            self._at = self._body.index(self._sequence_end, self._at, data.bound) + 8
        else:
            is_whole = length <= data.bound - self._at
            if tag in self._wanted and len(self._open) == 1 and is_whole:
                value = self._body[self._at : self._at + min(length, _LONGEST_VALUE)]
                self.found[tag] = value.decode("latin-1").rstrip("\0 ")
            self._at = min(self._at + length, data.bound)

    def _read_head(self, is_implicit: bool) -> tuple[int, bytes | None, int]:
        """Tag, VR where it is told, and length of an element."""
        group, element, kind, length = self._explicit(self._body, self._at)
        if is_implicit or not b"AA" <= kind <= b"ZZ":
            kind, length = None, self._long(self._body, self._at + 4)[0]
        self._at += 8
        if kind in _LONG:
            (length,) = self._long(self._body, self._at)
            self._at += 4
        return group << 16 | element, kind, length

    def _is_sequence(self, tag: int, kind: bytes | None, length: int) -> bool:
        if kind not in (None, b"UN"):
            return kind == b"SQ"
        from pydicom.datadict import dictionary_has_tag, dictionary_VR

        # Asked first: of an unknown tag dictionary_VR looks through all groups that repeat.
        known = dictionary_VR(tag) if dictionary_has_tag(tag) else ""
        if length != _UNDEFINED or (known and kind is None):
            return known == "SQ"
        if kind == b"UN":
            return True
        group, element, _ = self._implicit(self._body, self._at)
        return bool(group << 16 | element == _ITEM)

    def _enter(self, parent: _Open, length: int, is_sequence: bool, is_implicit: bool) -> None:
        has_length = length != _UNDEFINED
        end = min(self._at + length, parent.bound) if has_length else parent.bound
        # pydicom reads a sequence of known length by itself, and an item where it stands.
        bound = end if is_sequence and has_length else parent.bound
        self._open.append(_Open(end, bound, is_sequence, is_implicit, has_length))

    def _close(self, ended: _Open) -> None:
        if ended.is_sequence and not ended.has_length:
            raise ValueError("a sequence without its end")
        if ended.is_sequence:
            self._at = ended.end
        self._open.pop()

    def _looks_implicit(self, is_assumed: bool) -> bool:
        """Whether a data set begins with an element without VR, whatever the syntax says."""
        kind = self._body[self._at + 4 : self._at + 6]
        if len(kind) < 2:
            return is_assumed
        return not all(0x41 <= letter <= 0x5A for letter in kind)
