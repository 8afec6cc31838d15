"""Tables of text."""

from __future__ import annotations

from lgg_runtime.table import format_table


def test_a_table_is_aligned() -> None:
    assert format_table(["patient", "n"], [["a", "1000"], ["long name", "2"]]).split("\n") == [
        "patient       n",
        "---------  ----",
        "a          1000",
        "long name     2",
    ]


def test_a_line_ends_with_its_last_cell_that_is_not_empty() -> None:
    lines = format_table(["name", "mL", "doubts"], [["a", "1.50", ""], ["b", "", "yes"]])
    assert lines.splitlines()[2:] == ["a     1.50", "b              yes"]


def test_a_table_without_rows_is_its_header() -> None:
    assert format_table(["ab", "c"], []).split("\n") == ["ab  c", "--  -"]
