"""Text is read of files and pipes; what never ends is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lgg_runtime.readers import regular
from lgg_runtime.readers.regular import read_text


def test_a_file_is_read_whole_and_a_longer_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text"
    path.write_bytes("Ünï\r\n".encode())
    monkeypatch.setattr(regular, "_MOST_TEXT", path.stat().st_size)
    assert read_text(path) == path.read_text("utf-8") == "Ünï\n"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(OSError, match="more than 7 bytes"):
        read_text(path)


def test_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="a device; expected a file or a pipe"):
        read_text(tmp_path / "link")


def test_a_pipe_is_read_to_its_end_and_one_without_a_writer_is_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_text(tmp_path / "pipe") == ""
    reading, writing = os.pipe()  # as a shell's <(...) gives
    os.write(writing, b"{}")
    os.close(writing)
    assert read_text(Path(f"/dev/fd/{reading}")) == "{}"
    os.close(reading)
