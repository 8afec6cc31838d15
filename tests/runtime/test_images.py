"""What is written of a slice, read back by another library."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from lgg_runtime.readers.raster import read_mask, read_raster
from lgg_runtime.volume import FLAIR, Volume
from lgg_runtime.writers.formats import OUTPUTS
from lgg_runtime.writers.images import (
    SliceResult,
    encode_heatmap,
    encode_mask,
    encode_overlay,
    encode_probability,
    show_scan,
    stretch_flair,
)
from stand_ins.eyes import EYES, differ
from stand_ins.results import found_in

SIZES = [(1, 1), (1, 7), (7, 1), (33, 21), (64, 64)]
RED, BLUE = (255, 40, 40), (0, 190, 255)


def result(size: tuple[int, int], truth: np.ndarray | None = None) -> SliceResult:
    random = np.random.default_rng(size)
    probability = random.random(size, np.float32)
    probability.flat[0] = 1.0
    grey = random.integers(0, 256, size, dtype=np.uint8)
    return SliceResult(grey, probability >= 0.5, probability, truth)


def decode(data: bytes) -> np.ndarray:
    """RGB or grey pixels of a PNG."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each chunk of a PNG, check sums verified."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, found = 8, []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        (check,) = struct.unpack_from(">I", data, at + 8 + length)
        assert check == zlib.crc32(kind + content)
        found.append((kind, content))
        at += 12 + length
    return found


@pytest.mark.parametrize("size", SIZES)
def test_a_mask_is_0_and_255_pixel_for_pixel(size: tuple[int, int]) -> None:
    slice_ = result(size)
    pixels = decode(encode_mask(slice_))
    assert (pixels.dtype, pixels.shape) == (np.uint8, size)
    np.testing.assert_array_equal(pixels, np.where(slice_.mask, 255, 0))


@pytest.mark.parametrize("found", [False, True])
def test_an_empty_and_a_full_mask_are_written_too(found: bool) -> None:
    slice_ = SliceResult(
        np.zeros((5, 3), np.uint8), np.full((5, 3), found), np.full((5, 3), found, np.float32)
    )
    assert set(decode(encode_mask(slice_)).ravel()) == {255 * found}


@pytest.mark.parametrize("size", SIZES)
def test_probabilities_are_written_bit_for_bit(size: tuple[int, int]) -> None:
    slice_ = result(size)
    data = encode_probability(slice_)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages[0].description == "research use only, not for diagnosis"
        assert file.pages[0].tags["ImageDescription"].count == 37, "one NUL ends it"
        pixels = file.asarray()
    again = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(again, slice_.probability)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels.reshape(size), slice_.probability)


@pytest.mark.parametrize("size", SIZES)
def test_a_tiffs_fields_are_in_rising_order_and_at_even_places(size: tuple[int, int]) -> None:
    """As TIFF 6.0 has it (section 2), which not every reader forgives."""
    with tifffile.TiffFile(io.BytesIO(encode_probability(result(size)))) as file:
        (page,) = file.pages
        assert page.offset % 2 == 0
        assert page.tags["ImageDescription"].valueoffset % 2 == 0
        codes = [tag.code for tag in sorted(page.tags, key=lambda tag: tag.offset)]
    assert codes == sorted(codes) and 270 in codes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["overlay", "heatmap"])
def test_pictures_are_rgb_of_the_slices_size(name: str, size: tuple[int, int]) -> None:
    pixels = decode(OUTPUTS[name][1](result(size, truth=np.ones(size, bool))))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (*size, 3))


@pytest.mark.parametrize("name", ["mask", "overlay", "heatmap"])
def test_every_png_says_what_it_is_for(name: str) -> None:
    found = chunks(OUTPUTS[name][1](result((33, 21))))
    kinds = [kind for kind, _ in found]
    assert kinds[0] == b"IHDR" and kinds[-1] == b"IEND" and kinds.count(b"IHDR") == 1
    assert (b"tEXt", b"Comment\0research use only, not for diagnosis") in found


@pytest.mark.parametrize("encode", [encode_overlay, encode_heatmap])
def test_pictures_carry_the_words_in_their_pixels(encode: object) -> None:
    black = SliceResult(
        np.zeros((64, 128), np.uint8), np.zeros((64, 128), bool), np.zeros((64, 128), np.float32)
    )
    pixels = decode(encode(black))  # type: ignore[operator]
    assert not pixels[:45].any()
    assert (pixels[45:].max(axis=2) > 100).sum() > 50


@pytest.mark.parametrize("width", [5, 60, 128, 512])
def test_the_words_are_smaller_on_a_narrow_picture_and_not_larger_on_a_wide_one(
    width: int,
) -> None:
    black = np.zeros((64, width), np.uint8)
    slice_ = SliceResult(black, black > 0, black.astype(np.float32))
    columns = np.flatnonzero(decode(encode_overlay(slice_)).any(axis=(0, 2)))
    if width == 5:
        assert not columns.size
    else:
        assert columns[0] == 3 and 50 < columns[-1] < min(width - 3, 80)


def box(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((60, 60), bool)
    mask[rows, columns] = True
    return mask


def test_an_overlay_outlines_what_was_found_in_red_and_the_reference_in_blue() -> None:
    found, truth = box(slice(5, 15), slice(5, 15)), box(slice(5, 15), slice(30, 40))
    grey = np.full((60, 60), 100, np.uint8)
    slice_ = SliceResult(grey, found, found.astype(np.float32), truth)
    pixels = decode(encode_overlay(slice_))
    assert tuple(pixels[5, 5]) == tuple(pixels[14, 14]) == RED
    assert tuple(pixels[5, 30]) == tuple(pixels[14, 39]) == BLUE
    assert tuple(pixels[10, 10]) == (139, 85, 85)  # a quarter of red over three of grey
    assert tuple(pixels[10, 35]) == tuple(pixels[25, 25]) == (100, 100, 100)
    without = decode(encode_overlay(SliceResult(grey, found, slice_.probability)))
    assert not (without == BLUE).all(axis=-1).any()


@pytest.mark.parametrize("eyes", EYES)
def test_its_colours_are_told_apart_without_red_or_green(eyes: str) -> None:
    red, blue = (tuple(level / 255 for level in colour) for colour in (RED, BLUE))
    assert differ(red, blue, eyes) > 20


def test_every_part_of_a_mask_and_every_hole_in_it_is_outlined() -> None:
    found = box(slice(5, 15), slice(5, 15)) | box(slice(5, 25), slice(30, 50))
    found[10:20, 35:45] = False
    pixels = decode(encode_overlay(SliceResult(np.zeros((60, 60), np.uint8), found, found)))
    for row, column in ((5, 5), (14, 14), (5, 30), (24, 49), (9, 40), (15, 34)):
        assert tuple(pixels[row, column]) == RED


@pytest.mark.parametrize(
    ("probability", "colour"), [(0, (50, 50, 50)), (0.25, (65, 36, 74)), (1, (212, 214, 141))]
)
def test_a_heatmaps_colour_covers_four_fifths_of_the_probabilitys_root(
    probability: float, colour: tuple[int, int, int]
) -> None:
    """Of inferno's (87, 16, 110) and (252, 255, 164), over a grey of 50."""
    grey = np.full((60, 60), 50, np.uint8)
    values = np.full((60, 60), probability, np.float32)
    pixels = decode(encode_heatmap(SliceResult(grey, values >= 0.5, values)))
    assert tuple(pixels[0, 0]) == pytest.approx(colour, abs=1)


def test_a_heatmap_is_clear_at_0_and_brighter_where_the_probability_is_higher() -> None:
    probability = np.zeros((60, 60), np.float32)
    probability[:30] = np.linspace(0, 1, 60, dtype=np.float32)
    grey = np.full((60, 60), 50, np.uint8)
    pixels = decode(encode_heatmap(SliceResult(grey, probability >= 0.5, probability)))
    assert tuple(pixels[35, 30]) == tuple(pixels[0, 0]) == (50, 50, 50)
    red = pixels[10, :, 0].astype(int)
    assert red[-1] > 200 and pixels[10, -1, 1] > 200  # yellow, near white
    assert 50 < red[15] < red[30] < red[45] < red[59]


def test_flair_is_stretched_by_the_volume_and_not_by_the_slice() -> None:
    flair = np.zeros((2, 10, 20), np.uint16)
    flair[0], flair[1] = 1000, 500
    shown = stretch_flair(flair)
    assert shown.dtype == np.uint8
    assert (set(shown[0].ravel()), set(shown[1].ravel())) == ({255}, {128})


def test_a_scans_pictures_show_each_slice_on_its_own_flair() -> None:
    pixels = np.full((3, 4, 5, 3), 7, np.uint8)
    pixels[..., FLAIR] = np.array([40, 80, 200])[:, None, None]
    probability = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 4, 5)
    shown = show_scan(found_in(Volume(pixels), probability))
    assert [set(slice_.grey.ravel()) for slice_ in shown] == [{51}, {102}, {255}]
    for index, slice_ in enumerate(shown):
        np.testing.assert_array_equal(slice_.mask, probability[index] >= 0.5)
        np.testing.assert_array_equal(slice_.probability, probability[index])


def test_flair_is_stretched_to_its_highest_two_hundredth() -> None:
    flair = np.full((1, 100, 100), 40, np.uint8)
    flair[0, 0], flair[0, 1, :49] = 100, 200  # fewer than a two hundredth are brighter than 100
    for kind in (np.uint8, np.uint16):
        shown = stretch_flair(flair.astype(kind))
        assert (shown[0, 9, 9], shown[0, 0, 0], shown[0, 1, 0]) == (102, 255, 255)


def test_flair_without_signal_is_black_and_the_brighter_of_two_pixels_is_white() -> None:
    flair = np.zeros((1, 100, 100), np.uint8)
    assert not stretch_flair(flair).any()
    flair[0, 3, 4:6] = 18, 9
    assert stretch_flair(flair)[0, 3, 4:6].tolist() == [255, 128]


@pytest.mark.parametrize("size", SIZES)
def test_a_written_mask_reads_back_with_the_projects_own_reader(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    slice_ = result(size)
    path = tmp_path / f"s{OUTPUTS['mask'][0]}"
    path.write_bytes(encode_mask(slice_))
    np.testing.assert_array_equal(read_mask(path) > 0, slice_.mask)
    overlay = tmp_path / f"s{OUTPUTS['overlay'][0]}"
    overlay.write_bytes(encode_overlay(slice_))
    assert read_raster(overlay).pixels.shape == (*size, 3)


@pytest.mark.parametrize("size", [(7, 5), (5, 7), (256, 256)])
def test_an_empty_mask_is_a_whole_picture_of_its_own_size(size: tuple[int, int]) -> None:
    empty = SliceResult(None, np.zeros(size, bool), np.zeros(size, np.float32))
    assert np.array_equal(decode(encode_mask(empty)), np.zeros(size, np.uint8))
    assert encode_mask(empty) == encode_mask(empty)
