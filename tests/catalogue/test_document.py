"""docs/failures.md is what the catalogue generates, and the catalogue is large enough to trust."""

from __future__ import annotations

from pathlib import Path

from catalogue import SECTIONS
from catalogue.document import write_document

PAGE = Path(__file__).parents[2] / "docs" / "failures.md"
FEWEST_ROWS = 110
EXIT_CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130, 143}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == write_document(), "run `make failures`"


def test_the_catalogue_shows_every_exit_code() -> None:
    rows = [row for section in SECTIONS for row in section.rows]
    assert len(rows) >= FEWEST_ROWS
    assert {row.code for row in rows} == EXIT_CODES


def test_every_row_stands_on_one_line_of_the_page() -> None:
    lines = [line for line in write_document().splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in lines} <= {3, 5}
