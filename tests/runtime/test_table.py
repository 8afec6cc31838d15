"""Tables of text."""

from __future__ import annotations

import unicodedata

import pytest

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


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("王小明", 6),
        ("ﾜﾝ", 2),  # half as wide
        ("김민준", 6),
        (unicodedata.normalize("NFD", "김민준"), 6),  # as macOS writes names
        (unicodedata.normalize("NFD", "Müller"), 6),
        ("ก็", 1),  # a mark that is part of no other letter
    ],
)
def test_a_column_is_as_wide_as_a_terminal_shows_it(name: str, columns: int) -> None:
    header, rule, named, other = format_table(["", "n"], [[name, "1"], ["x" * 8, "2"]]).split("\n")
    assert rule == "--------  -"
    assert header == " " * 10 + "n" and other == "x" * 8 + "  2"
    assert named == name + " " * (10 - columns) + "1"
    assert format_table(["", name], []).split("\n")[1] == "  " + "-" * columns


def test_long_names_are_cut_in_their_middle_to_fit_a_line() -> None:
    rows = [["study/of/many/folders/p7", "1"], ["王小明王小明王小明王小明", "2"], ["short", "3"]]
    whole = format_table(["", "n"], rows)
    assert format_table(["", "n"], rows, 27) == whole and max(map(len, whole.split("\n"))) == 27
    _, _, *lines = format_table(["", "n"], rows, 23).split("\n")
    assert lines == [
        "study/of/...lders/p7  1",
        "王小明王...明王小明   2",
        "short" + " " * 17 + "3",
    ]
    apart = unicodedata.normalize("NFD", "ü" * 13)
    assert format_table(["", "n"], [[apart, "1"]], 1).split("\n")[2] == "üüüüü...üüüü  1"
    for narrow in (15, 1):
        lines = format_table(["", "n"], rows, narrow).split("\n")
        assert lines[2:] == ["study...s/p7  1", "王小...小明   2", "short         3"]
