"""Tables of results, for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lgg_runtime.table import format_table


@dataclass(frozen=True)
class Table:
    """A title, columns of which the first names the row, and lines that explain them."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def as_text(self) -> str:
        return "\n".join((self.title, "", format_table(self.header, self.rows), *self.notes))

    def as_markdown(self) -> str:
        lines = [f"**{self.title}**", ""]
        rules = [":--", *("--:" for _ in self.header[1:])]
        lines += [_row(cells) for cells in (self.header, rules, *self.rows)]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines)


def compare_cell(found: float | None, allowed: float | None, unit: float) -> str:
    """Found / allowed, in units of 1 / `unit`; without a limit what was found alone."""
    if found is None:
        return "-"
    return f"{unit * found:.2g}" + ("" if allowed is None else f" / {unit * allowed:g}")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
