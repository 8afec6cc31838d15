"""Files appear whole or not at all, and a refusal is one line with its remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from lgg_runtime.errors import InputError, ResourceError
from lgg_runtime.writers.atomic import (
    PART_SUFFIX,
    make_folder,
    remove,
    require_folder,
    require_names,
    require_writable,
    telling_refusal,
    write_atomically,
)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("data", [b"", b"new", bytes(10**6)])
def test_a_file_is_written_whole(tmp_path: Path, data: bytes) -> None:
    write_atomically(tmp_path / "f.png", data)
    assert (tmp_path / "f.png").read_bytes() == data
    assert names(tmp_path) == ["f.png"]


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f.png"
    path.write_bytes(b"old and longer")
    with path.open("rb") as reader:
        write_atomically(path, b"new")
        assert reader.read() == b"old and longer"  # who reads the old one reads it to its end
    assert path.read_bytes() == b"new"


def test_the_name_is_taken_only_when_all_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.png"
    path.write_bytes(b"old")
    seen = []
    real = os.fsync

    def watch(handle: int) -> None:
        seen.append((path.read_bytes(), (tmp_path / f"f.png{PART_SUFFIX}").read_bytes()))
        real(handle)

    monkeypatch.setattr(os, "fsync", watch)
    write_atomically(path, b"new")
    assert seen == [(b"old", b"new")]


def test_a_refused_file_that_a_library_names_in_bytes_is_told() -> None:
    refusal = OSError(errno.EINVAL, "Invalid argument", b"run/a:b")
    with (
        pytest.raises(ResourceError, match=r"^a:b: cannot be written: .* no name with ':'"),
        telling_refusal(Path("events")),
    ):
        raise refusal


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "f.png").write_bytes(b"old")
    with pytest.raises(ResourceError, match=r"^f\.png: the disk is full; free some space$"):
        write_atomically(tmp_path / "f.png", b"new")
    assert (tmp_path / "f.png").read_bytes() == b"old"
    assert names(tmp_path) == ["f.png"]


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(ResourceError):
        write_atomically(tmp_path / "f.png", b"new")
    assert names(tmp_path) == []


def test_an_interruption_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    (tmp_path / "f.png").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "f.png", b"new")
    assert names(tmp_path) == ["f.png"]
    assert (tmp_path / "f.png").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/f.png", "No such file or directory"),
        ("file/f.png", "Not a directory"),
        ("folder", "Is a directory"),
        ("n" * 300, "File name too long"),
    ],
)
def test_a_refusal_is_told_in_the_systems_words(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResourceError, match=f"cannot be written: {reason}"):
        write_atomically(tmp_path / name, b"new")
    assert names(tmp_path) == ["file", "folder"]


def test_folders_are_made_with_their_parents_and_may_be_there(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match=f"{Path(name).name}: cannot be written"):
        make_folder(tmp_path / name)


def test_a_folder_that_could_not_be_made_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"deep: cannot be written: Not a directory"):
        require_folder(tmp_path / "file" / "deep")
    require_folder(tmp_path / "new" / "deep")
    with pytest.raises(ResourceError, match=r"cannot be written: File name too long$"):
        require_folder(tmp_path / ("x" * 300) / "deep")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("flags", "reason"), [(0, "Permission denied"), (os.ST_RDONLY, "Read-only file system")]
)
def test_a_folder_in_a_read_only_one_could_not_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int, reason: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_flag=flags))
    with pytest.raises(ResourceError, match=f"^new: cannot be written: {reason}$"):
        require_folder(tmp_path / "new")
    with pytest.raises(ResourceError, match=f"^model.onnx: cannot be written: {reason}$"):
        require_writable(tmp_path / "model.onnx")


def test_a_disk_that_is_gone_as_it_is_asked_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(_path: Path) -> None:
        raise OSError(errno.ENOTCONN, "not connected")

    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    monkeypatch.setattr(os, "statvfs", ask)
    with pytest.raises(ResourceError, match=r"^new: cannot be written: not connected$"):
        require_folder(tmp_path / "new")


def test_a_file_in_whose_place_a_folder_stands_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(ResourceError, match=r"^model\.onnx: cannot be written: Is a directory$"):
        require_writable(tmp_path / "model.onnx")
    (tmp_path / "older.onnx").touch()
    for name in ("older.onnx", "new.onnx"):
        require_writable(tmp_path / name)


def test_a_file_in_a_folder_that_is_not_there_could_not_be_written(tmp_path: Path) -> None:
    reason = rf"^model\.onnx: cannot be written: no folder {tmp_path}/none; make it first$"
    with pytest.raises(ResourceError, match=reason):
        require_writable(tmp_path / "none" / "model.onnx")


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ResourceError, match=r"^report\.html: cannot be written: "):
        remove(tmp_path / "report.html")


def test_a_file_whose_folder_may_not_be_looked_into_could_not_be_written(tmp_path: Path) -> None:
    reason = r"^model\.onnx: cannot be written: File name too long$"
    with pytest.raises(ResourceError, match=reason):
        require_writable(tmp_path / ("n" * 300) / "model.onnx")


def test_a_file_that_may_not_be_looked_at_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").symlink_to("n" * 300)
    reason = r"^model\.onnx: cannot be written: File name too long$"
    with pytest.raises(ResourceError, match=reason):
        require_writable(tmp_path / "model.onnx")


def test_the_longest_names_are_those_that_a_disk_takes(tmp_path: Path) -> None:
    file, folder = "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 125, "a" * 255  # 250 bytes, and 255
    require_names([file], [folder])
    (tmp_path / folder).mkdir()
    write_atomically(tmp_path / folder / file, b"")
    for longer in (([file + "a"], []), ([], [folder + "a"])):
        with pytest.raises(InputError, match="a name of 256 bytes, at most 255 are possible"):
            require_names(*longer)
    with pytest.raises(ResourceError, match="File name too long"):
        write_atomically(tmp_path / folder / (file + "a"), b"")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOENT])  # of ntfs-3g, and of exfat-fuse
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scan 10:30_1_mask.png", "scan 10:30_1_mask.png: {}; {} with ':'{}"),
        ("why?*/s/a_mask.png", "why\\?\\*: {}; {} with '\\*' or '\\?'{}"),
        ("p./a_mask.png", "p.: {}; {} with '.' at the end{}"),
        ("a\x01_mask.png", r"a\\x01_mask.png: {}; {} with '\\x01'{}"),
        ("CON/a_mask.png", "CON: {}; {} of a device as 'CON'{}"),
        ("lpt1.a.b/a_mask.png", "lpt1.a.b: {}; {} of a device as 'lpt1'{}"),
    ],
)
def test_what_a_disk_for_windows_refuses_in_a_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str, said: str
) -> None:
    def refuse(path: Path, *_args: object, **_options: object) -> NoReturn:
        raise OSError(number, os.strerror(number), str(path))

    path = tmp_path / name
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    told = "a disk or share made for Windows takes no name"
    remedy = "; rename it, or choose another disk"
    expected = said.format(f"cannot be written: {os.strerror(number)}", told, remedy)
    with pytest.raises(ResourceError, match=f"^{expected}$"):
        if path.parent != tmp_path:
            make_folder(path.parent)
        write_atomically(path, b"")
    with pytest.raises(ResourceError, match=r"^a_mask\.png: cannot be written: [^;]+$"):
        write_atomically(tmp_path / "a_mask.png", b"")
