"""A table of text, for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned by their widest cell, the first to the left and the others to the right."""
    every = [list(header), *(list(row) for row in rows)]
    widths = [max(_width(row[c]) for row in every) for c in range(len(header))]
    lines = []
    for row in every:
        blank = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [row[0] + blank[0], *(b + cell for b, cell in zip(blank[1:], row[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _width(text: str) -> int:
    """Columns that a terminal gives it: two to an ideograph, none to an accent on its letter."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of_letter, unicodedata.normalize("NFC", text)))


def _width_of_letter(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1
