"""The head's box: by hand, as the documentation states it, and for any head that can be drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lgg_runtime.crop import Box, CropSettings, find_boxes, whole_frames

EXACT = CropSettings(line_fraction=0.0, margin=0, step=1)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 70), st.integers(1, 70))
SETTINGS = st.builds(
    CropSettings, st.sampled_from((0.0, 0.125, 0.3)), st.integers(0, 20), st.integers(1, 40)
)


def disc(centre: tuple[int, int], radius: int, size: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2)


def test_the_documented_pair() -> None:
    head = np.stack([disc((40, 70), radius, (100, 120)) for radius in (30, 16, 6)])
    box = Box(0, 8, 96, 112)
    assert find_boxes(head, CropSettings()) == (box, box, None)


def test_a_box_without_margin_or_step_is_the_heads_extent() -> None:
    head = np.zeros((1, 9, 8), bool)
    head[0, 2:5, 3:7] = True
    assert find_boxes(head, EXACT) == (Box(2, 3, 3, 4),)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((8, 20), (4, 20)),  # 12 and twice 2 are 16, which grow by 4 to 20
        ((0, 12), (0, 20)),  # at the edge: all growth on the other side
        ((38, 50), (30, 20)),
        ((3, 45), (0, 50)),  # the next multiple is beyond the frame, so all of it
    ],
)
def test_a_side_grows_to_the_step_and_stays_in_the_frame(
    rows: tuple[int, int], expected: tuple[int, int]
) -> None:
    head = np.zeros((1, 50, 20), bool)
    head[0, slice(*rows)] = True
    (box,) = find_boxes(head, CropSettings(line_fraction=0.2, margin=2, step=20))
    assert box is not None
    assert (box.top, box.height) == expected
    assert (box.left, box.width) == (0, 20)


def test_a_head_of_more_than_255_pixels_is_boxed_as_any_other() -> None:
    head = np.zeros((1, 330, 340), bool)
    head[0, 20:290, 30:290] = True
    exact = CropSettings(margin=0, step=1)
    assert find_boxes(head, exact) == (Box(20, 30, 270, 260),)


def test_noise_around_the_head_does_not_widen_its_box() -> None:
    head = disc((60, 60), 25, (128, 128))[None]
    noise = np.random.default_rng(0).random(head.shape) < 0.03
    noise[:, 30:91] = noise[..., 30:91] = False  # where it would make rows of the head longer
    assert noise.any()
    assert find_boxes(head | noise, CropSettings()) == find_boxes(head, CropSettings())


def test_a_slice_of_noise_is_not_run() -> None:
    noise = np.random.default_rng(1).random((1, 128, 128)) < 0.03
    assert find_boxes(noise, CropSettings()) == (None,)


def test_a_slice_that_is_not_run_does_not_widen_the_box_of_others() -> None:
    head = np.zeros((3, 9, 8), bool)
    head[0, 2:5, 3:7] = head[1, 8] = head[2, :, 0] = True  # a bright row, and a bright column
    half = CropSettings(line_fraction=0.3, margin=0, step=1)
    assert find_boxes(head, half) == (Box(2, 3, 3, 4), None, None)


@settings(max_examples=60, deadline=None)
@given(SHAPES.flatmap(lambda shape: arrays.arrays(bool, shape)), SETTINGS)
def test_the_box_holds_every_head_within_the_frame(head: np.ndarray, chosen: CropSettings) -> None:
    height, width = head.shape[1:]
    # By the definition, a pixel at a time.
    rows, columns, with_head = set(), set(), []
    for plane in head:
        of_rows = {
            y for y in range(height) if sum(plane[y]) >= max(1, chosen.line_fraction * width)
        }
        of_columns = {
            x for x in range(width) if sum(plane[:, x]) >= max(1, chosen.line_fraction * height)
        }
        with_head.append(bool(of_rows and of_columns))
        if with_head[-1]:
            rows |= of_rows
            columns |= of_columns
    boxes = find_boxes(head, chosen)
    assert [box is not None for box in boxes] == with_head
    for box in filter(None, boxes):
        for held, start, length, frame in (
            (rows, box.top, box.height, height),
            (columns, box.left, box.width, width),
        ):
            first = max(min(held) - chosen.margin, 0)
            last = min(max(held) + 1 + chosen.margin, frame)
            assert 0 <= start <= first and last <= start + length <= frame
            wanted = math.ceil((last - first) / chosen.step) * chosen.step
            assert length == min(wanted, frame)


@settings(max_examples=40, deadline=None)
@given(SHAPES.flatmap(lambda shape: arrays.arrays(bool, shape)), SETTINGS, st.integers(0, 99))
def test_what_is_cut_out_is_restored_where_it_was(
    head: np.ndarray, chosen: CropSettings, seed: int
) -> None:
    values = np.random.default_rng(seed).random(head.shape, np.float32)
    slices = np.repeat((values * 255).astype(np.uint8)[..., None], 3, axis=-1)
    for plane, slice_, box in zip(values, slices, find_boxes(head, chosen), strict=True):
        if box is None:
            continue
        frame = np.zeros_like(plane)
        part = box.cut(slice_)
        assert part.shape == (*box.size, 3)
        box.restore(part[..., 0].astype(np.float32), frame)
        inside = np.zeros(plane.shape, bool)
        inside[box.top : box.top + box.height, box.left : box.left + box.width] = True
        np.testing.assert_array_equal(frame, np.where(inside, slice_[..., 0], 0))


def test_whole_frames_cut_nothing() -> None:
    slices = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    for slice_, box in zip(slices, whole_frames(2, 3, 4), strict=True):
        np.testing.assert_array_equal(box.cut(slice_), slice_)
