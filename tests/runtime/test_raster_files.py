"""What lies behind a name: no file, a changing one, or one that is damaged."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgg_runtime.errors import InputError
from lgg_runtime.readers.raster import (
    read_raster,
    read_slice,
)
from stand_ins.pictures import (
    EXIF_JPEG,
    GREY,
    JPEG,
    PLTE,
    RGB,
    encoded,
    png,
    tiff,
)


@pytest.mark.parametrize("path", [Path("/dev/zero"), Path("/")])
def test_a_device_or_a_folder_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match=r": expected a regular file, found a folder, pipe"):
        read_raster(path)


def test_a_path_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"^a\\x00\.tif: cannot be opened: .*embedded null"):
        read_raster(Path("a\0.tif"))


def test_a_disk_error_is_refused_and_the_file_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff())
    closed: list[int] = []
    close = os.close

    def fail(_: int) -> os.stat_result:
        raise OSError(5, "Input/output error")

    def close_and_fail(handle: int) -> None:  # as over a network whose server is gone
        closed.append(handle)
        close(handle)
        fail(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fail)
        patch.setattr(os, "close", close_and_fail)
        with pytest.raises(InputError, match=r"^a\.tif: cannot be read: Input/output error$"):
            read_raster(path)
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("content", "later_ns"),
    [(tiff() + b"more", 0), (tiff()[:-1], 0), (tiff(), 1_000_000_000)],
    ids=["grown", "shrunk", "written again"],
)
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, later_ns: int
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff())
    stat = os.fstat

    def change(handle: int) -> os.stat_result:
        before = stat(handle)
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + later_ns))
        return before

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", change)
        with pytest.raises(InputError, match=r"^a\.tif: changed while it was read; try again"):
            read_raster(path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"h\xc3\xa9l\xc3\xa8ne \xe8\x84\xb3.png", "hélène 脳.png"),
        (b"caf\xe9.png", "caf\\udce9.png"),
        (b"two\nlines.png", "two\\nlines.png"),
        (b"bell\x1b[31m.png", "bell\\x1b[31m.png"),
    ],
)
def test_every_name_can_be_read_and_shown_in_one_line(
    tmp_path: Path, name: bytes, shown: str
) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(encoded(".png"))
    np.testing.assert_array_equal(read_slice(path), RGB)
    path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read_slice(path)
    assert str(caught.value).startswith(f"{shown}: expected TIFF")
    assert len(str(caught.value).splitlines()) == 1


WHOLE = {
    "tiff": tiff(metadata=None),
    "strips": tiff(metadata=None, rowsperstrip=2),
    "bigtiff": tiff(metadata=None, bigtiff=True),
    "deflate": tiff(metadata=None, compression="zlib", predictor=True),
    "planes": tiff(RGB.transpose(2, 0, 1), metadata=None, planarconfig="separate"),
    "tiles": tiff(metadata=None, tile=(16, 16), compression="zlib"),
    "lzw, directory last": encoded(".tif"),
    "packbits, directory last": encoded(".tif", RGB, 259, 32773),
    "raw, directory last": encoded(".tif", RGB, 259, 1),
    "grey tiff": tiff(GREY, metadata=None),
    "png": encoded(".png"),
    "grey png": encoded(".png", GREY),
    "palette png": png(GREY, 3, PLTE),
    "jpeg": JPEG,
    "exif jpeg": EXIF_JPEG,
    "progressive jpeg": encoded(".jpg", RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
}


def is_read(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    try:
        read_slice(path)
    except InputError:
        return False
    return True


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_prefix_of_a_file_never_yields_pixels(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    assert read_slice(path).shape == (5, 7, 3)
    assert [length for length in range(len(data)) if is_read(path, data[:length])] == []


def with_check_sums(data: bytes) -> bytes:
    """The PNG with the check sums that its changed chunks ask for."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 8 + struct.unpack_from(">I", data, at)[0]
        parts.append(data[at:end] + struct.pack(">I", zlib.crc32(data[at + 4 : end])))
        at = end + 4
    return b"".join(parts) + data[at:]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(list(WHOLE.values()))))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["set", "set", "set", "insert", "delete"])):
            case "set":
                data[at] = draw(st.integers(0, 255))
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "delete":
                del data[at : at + draw(st.integers(1, min(4, len(data) - 1)))]
    return with_check_sums(bytes(data)) if data[:4] == b"\x89PNG" else bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@settings(max_examples=600, deadline=None)
@given(data=damaged_files())
def test_damage_gives_an_input_error_or_a_slice(folder: Path, data: bytes) -> None:
    path = folder / "a.tif"
    path.write_bytes(data)
    try:
        pixels = read_slice(path)
    except InputError as error:
        assert str(error).startswith("a.tif: ")
        assert len(str(error).splitlines()) == 1
    else:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.size > 0
