"""Pictures that are refused, each with its exact words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.readers.raster import (
    read_mask,
    read_raster,
    read_slice,
)
from lgg_runtime.readers.raster_header import Limits
from stand_ins.pictures import (
    BLEED,
    GREY,
    PLTE,
    RGB,
    chunk,
    encoded,
    png,
    tiff,
)

OF_SLICE = "save FLAIR alone, or the three channels pre-contrast, FLAIR, post-contrast"
CHANNELS = "expected one or three channels, found {} of grey with transparency; " + OF_SLICE
SEE_THROUGH = "its alpha channel is not opaque; flatten it onto a background"
# What the catalogue of bad inputs, whose rows are read by `read_raster`, has no row for.
REFUSED: list[tuple[str, bytes, str]] = [
    (
        "two channels",
        tiff(RGB[..., :2], photometric=1, planarconfig=1),
        CHANNELS.format(2),
    ),
    (
        "grey with a transparent value",
        png(GREY, 0, chunk(b"tRNS", b"\0\7")),
        CHANNELS.format(1),
    ),
    (
        "grey with alpha and another sample",
        tiff(RGB, photometric=1, planarconfig=1, extrasamples=[2, 0]),
        CHANNELS.format(3),
    ),
    ("alpha tiff", tiff(BLEED, extrasamples=[2]), SEE_THROUGH),
    ("transparent palette entry", png(GREY, 3, PLTE, chunk(b"tRNS", bytes(256))), SEE_THROUGH),
]


@pytest.mark.parametrize("read", [read_raster, read_slice, read_mask])
@pytest.mark.parametrize(("data", "reason"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_a_bad_file_is_refused_in_one_line(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    read: Callable[[Path], object],
    data: bytes,
    reason: str,
) -> None:
    path = tmp_path / "bad.tif"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read(path)
    if read is read_mask:
        reason = reason.replace(OF_SLICE, "save the mask as grey, without transparency")
    assert str(caught.value) == f"bad.tif: {reason}"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("found", [(7, 5, 3), (5, 7), (5, 7, 4)])
def test_a_decoder_that_gives_another_picture_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: tuple[int, ...]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros(found, np.uint8))
    with pytest.raises(InputError) as caught:
        read_raster(path)
    expected = f"PNG is damaged: expected (5, 7, 3) by its header, decoded {found} of uint8"
    assert str(caught.value) == f"a.png: {expected}"


def test_an_error_of_opencv_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))

    def fail(*_: object) -> None:
        raise cv2.error("many\nlines")

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(InputError, match=r"^a\.png: PNG cannot be decoded: OpenCV refuses it$"):
        read_raster(path)


def test_memory_that_ends_in_opencv_is_not_the_picture_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))

    def fail(*_: object) -> None:
        raise cv2.error("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 48000000")

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(cv2.error, match="Insufficient memory"):
        read_raster(path)


def test_the_limits_of_the_caller_are_held(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff())
    size = len(tiff())
    assert read_raster(path, Limits(max_bytes=size)).pixels.shape == (5, 7, 3)
    with pytest.raises(InputError, match=f"a.tif: holds {size} bytes; at most {size - 1} are read"):
        read_raster(path, Limits(max_bytes=size - 1))
    with pytest.raises(InputError, match=r"^a\.tif: its header claims 7x5 pixels"):
        read_raster(path, Limits(max_pixels=34))
