"""From a tree of folders to its files, and back to folders for their results."""

from __future__ import annotations

import errno
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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


@pytest.fixture
def kindless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that tells no kind beside a name, and fails where that of `bad.png` is asked."""
    real = os.scandir

    def fail(**_: Any) -> bool:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def scan(folder: Path) -> Any:
        with real(folder) as found:
            return nullcontext(
                [
                    SimpleNamespace(name=entry.name, path=entry.path, is_dir=fail, is_symlink=fail)
                    if entry.name == "bad.png"
                    else entry
                    for entry in found
                ]
            )

    monkeypatch.setattr(os, "scandir", scan)


@pytest.mark.usefixtures("kindless")
def test_a_folder_of_which_the_disk_does_not_tell_what_is_in_it_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "a" / "bad.png", tmp_path / "a" / "c.png", tmp_path / "b.png"):
        make_folder(path.parent)
        path.touch()
    files = find_files(tmp_path)
    assert [path.name for path in files.slices] == ["b.png"]
    assert files.unreadable == {tmp_path / "a": "a: cannot be listed: Stale file handle"}
    alone = find_files(tmp_path / "a" / "c.png")
    assert [path.name for path in alone.slices] == ["c.png"]
