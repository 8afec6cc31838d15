"""A table of text, for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_LEAST_NAME, _GAP, _CUT = 12, "  ", "..."


def format_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], most: int | None = None
) -> str:
    """Columns aligned by their widest cell, the first to the left and the others to the right.

    most: of a line; where it would be wider, the longest cells of the first column are cut in their
    middle, as far as that helps, but not below 12.
    """
    every = [list(header), *(list(row) for row in rows)]
    widths = [max(_width(row[c]) for row in every) for c in range(len(header))]
    if most is not None:
        room = most - sum(len(_GAP) + width for width in widths[1:])
        widths[0] = min(widths[0], max(room, _LEAST_NAME))
        every = [[_shorten(row[0], widths[0]), *row[1:]] for row in every]
    lines = []
    for row in every:
        blank = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [row[0] + blank[0], *(b + cell for b, cell in zip(blank[1:], row[1:], strict=True))]
        lines.append(_GAP.join(cells).rstrip())
    lines.insert(1, _GAP.join("-" * width for width in widths))
    return "\n".join(lines)


def _shorten(text: str, most: int) -> str:
    if _width(text) <= most:
        return text
    text = unicodedata.normalize("NFC", text)  # an accent apart is not cut off its letter
    half = min(most, len(text) // 2)
    start, end = text[:half], text[-half:]
    while _width(start) + _width(end) > most - len(_CUT):
        start, end = (start[:-1], end) if _width(start) > _width(end) else (start, end[1:])
    return start + _CUT + end


def _width(text: str) -> int:
    """Columns that a terminal gives it: two to an ideograph, none to an accent on its letter."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of_letter, unicodedata.normalize("NFC", text)))


def _width_of_letter(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1
