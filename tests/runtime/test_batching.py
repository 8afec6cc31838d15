"""What reaches a backend: boxes of one size together, padded and contiguous."""

from __future__ import annotations

import numpy as np
import pytest

from lgg_runtime.batching import run_boxes
from lgg_runtime.crop import Box, whole_frames


class Recorder:
    """Stands in for a backend: keeps the shapes, and answers with the first channel."""

    contract = type("Contract", (), {"size_multiple": 16})

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.runs: list[np.ndarray] = []

    def run(self, slices: np.ndarray) -> np.ndarray:
        self.shapes.append(slices.shape)
        self.runs.append(slices)
        assert slices.flags.c_contiguous
        assert not slices[:, 20:32].any() and not slices[:, :, 33:48].any()
        return slices[..., 0] / np.float32(255)


def make_slices(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(1, 256, (count, 20, 33, 3), dtype=np.uint8)


def test_a_batch_holds_no_more_slices_than_asked_for() -> None:
    backend, slices = Recorder(), make_slices(7)
    found = run_boxes(backend, slices, whole_frames(*slices.shape[:3]), 3)
    assert backend.shapes == [(3, 32, 48, 3), (3, 32, 48, 3), (1, 32, 48, 3)]
    np.testing.assert_allclose(found, slices[..., 0] / 255, atol=1e-6)


def test_boxes_of_one_size_share_a_run_and_a_slice_without_head_has_none() -> None:
    boxes = [Box(0, 0, 20, 33), None, Box(4, 0, 16, 16), Box(0, 0, 20, 33)]
    backend, slices = Recorder(), make_slices(4)
    found = run_boxes(backend, slices, boxes, 8)
    assert backend.shapes == [(2, 32, 48, 3), (1, 16, 16, 3)]
    expected = slices[..., 0] / np.float32(255)
    expected[1] = 0
    expected[2, :4] = expected[2, :, 16:] = 0
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_whole_frames_in_a_row_are_run_where_they_lie() -> None:
    slices = np.full((5, 64, 64, 3), 7, np.uint8)
    slices[:, 20:32] = slices[:, :, 33:48] = 0
    frame = Box(0, 0, 64, 64)
    backend = Recorder()
    for boxes in ([None, frame, frame, None, None], [frame, None, frame, None, None]):
        found = run_boxes(backend, slices, boxes, 8)
        chosen = np.array([box is not None for box in boxes])
        np.testing.assert_array_equal(
            found > 0, slices[..., 0].astype(bool) & chosen[:, None, None]
        )
    assert [np.shares_memory(run, slices) for run in backend.runs] == [True, False]


def test_a_box_that_its_padding_makes_as_large_as_the_frame_is_padded_with_zeros() -> None:
    slices = np.full((2, 32, 48, 3), 7, np.uint8)
    backend = Recorder()  # which takes nothing else there
    run_boxes(backend, slices, [Box(0, 0, 20, 33), Box(0, 0, 20, 33)], 8)
    assert backend.shapes == [(2, 32, 48, 3)]


def test_what_is_called_before_each_run_may_end_it() -> None:
    backend, slices, told = Recorder(), make_slices(5), []

    def stop_at_the_third() -> None:
        told.append(len(backend.runs))
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_boxes(backend, slices, whole_frames(*slices.shape[:3]), 2, stop_at_the_third)
    assert told == [0, 1, 2] and len(backend.runs) == 2
