"""From a tree of folders to its files, and back to folders for their results."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lgg_runtime.readers.tree import find_files
from lgg_runtime.writers.atomic import make_folder

DEEP = 300


@pytest.fixture
def few_calls() -> Iterator[None]:
    """Fewer calls within calls than a tree has folders, as with Python's own limit of 1,000."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + DEEP // 2)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("few_calls")
def test_folders_may_be_nested_deeper_than_python_nests_calls(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * DEEP)
    make_folder(deep)
    for path in (deep / "p_1.png", deep.parent / "q_1.png", tmp_path / "a.png", tmp_path / "z.png"):
        path.touch()
    files = find_files(tmp_path)
    assert [path.name for path in files.slices] == ["a.png", "p_1.png", "q_1.png", "z.png"]
    assert not files.unreadable
