"""The tool that finds error paths, on a source whose paths are counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from coverage import CoverageData

from catalogue import error_paths

SOURCE = """\
def f(x):
    if x:
        raise ValueError(
            "x"
        )
    try:
        return 1 / x
    except ZeroDivisionError:
        return None
"""


def test_raises_and_handlers_are_found_with_their_lines() -> None:
    assert sorted(error_paths.error_paths(SOURCE)) == [(3, 4, 5), (9,)]


def test_what_no_line_was_run_of_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "readers" / "f.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    monkeypatch.setattr(error_paths, "ROOT", tmp_path)
    data = CoverageData(no_disk=True)
    data.add_lines({str(path): [1, 2, 3]})
    assert error_paths.untaken(data) == (2, ["readers/f.py:9"])
    data.add_lines({str(path): [9]})
    assert error_paths.untaken(data) == (2, [])
