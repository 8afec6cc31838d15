"""Where results may go: folders and names are what the disk takes them for, not their text."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stand_ins.runs import Infer, files


@pytest.fixture
def second_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Another name of a folder, as where it is mounted twice: a link that no path can tell."""
    monkeypatch.setattr("os.path.realpath", os.path.abspath)

    def name(folder: Path) -> Path:
        other = tmp_path / "mounted"
        other.symlink_to(folder, target_is_directory=True)
        return other

    return name


@pytest.mark.parametrize("below", [".", "a", "new"])
def test_an_input_that_is_mounted_a_second_time_takes_no_output(
    source: Path, artifact: Path, call_infer: Infer, second_name: Callable[[Path], Path], below: str
) -> None:
    (source / "a" / "a_2_mask.png").write_bytes(b"the reference")
    before = files(source)
    result = call_infer(source, "-o", second_name(source) / below, "-m", artifact)
    assert (result.code, files(source)) == (2, before)
    assert "lies inside the input" in result.err
    assert (source / "a" / "a_2_mask.png").read_bytes() == b"the reference"


def test_nor_does_a_folder_of_it_that_is_mounted_by_itself(
    source: Path, artifact: Path, call_infer: Infer, second_name: Callable[[Path], Path]
) -> None:
    before = files(source)
    result = call_infer(source, "-o", second_name(source / "a"), "-m", artifact)
    assert (result.code, files(source)) == (2, before)
    assert "would lie inside the input" in result.err


def test_nor_does_the_folder_of_a_single_slice(
    source: Path, artifact: Path, call_infer: Infer, second_name: Callable[[Path], Path]
) -> None:
    before = files(source)
    result = call_infer(source / "a" / "a_2.png", "-o", second_name(source / "a"), "-m", artifact)
    assert (result.code, files(source)) == (2, before)
