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


def test_a_table_without_rows_is_its_header() -> None:
    assert format_table(["ab", "c"], []).split("\n") == ["ab  c", "--  -"]
