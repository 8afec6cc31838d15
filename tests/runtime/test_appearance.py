"""The statistics of a slice: what they are of known pictures, and that every shape has some."""

from __future__ import annotations

import numpy as np
import pytest

from lgg_runtime.appearance import measure_slice
from lgg_train.phantom import PhantomSettings, make_phantom


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """A phantom's slices, (S, H, W, 3)."""
    return make_phantom(1, PhantomSettings(patients=2, slices=5, size=128, seed=7))[0]


def test_a_mirrored_head_has_the_same_statistics(head: np.ndarray) -> None:
    ours, mirrored = measure_slice(head[2]), measure_slice(head[2][:, ::-1])
    assert ours is not None and mirrored is not None
    assert mirrored == pytest.approx(ours, abs=0.02)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (2, 2, 3), (300, 1, 3)])
def test_any_shape_is_measured(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    measured = measure_slice(pixels)
    assert measured is None or all(np.isfinite(value) for value in measured.values())


def test_speckle_has_more_grain_than_a_head(head: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(100, 256, head.shape[1:], np.uint8)
    speckle, smooth = measure_slice(noise), measure_slice(head[2])
    assert speckle is not None and smooth is not None
    assert speckle["grain"] > 4 > smooth["grain"]


def _fill(inside: np.ndarray, value: np.ndarray | float = 200.0) -> np.ndarray:
    """The same picture in all three sequences, 0 outside of the object."""
    return np.repeat(np.where(inside, value, 0.0)[..., None], 3, axis=2)


def _measure(pixels: np.ndarray) -> dict[str, float]:
    measured = measure_slice(pixels)
    assert measured is not None
    return measured


ROWS, COLUMNS = np.mgrid[:96, :96] - 47.5
ELLIPSE = (COLUMNS / 40) ** 2 + (ROWS / 20) ** 2 <= 1


def test_an_even_ellipse_has_the_shape_and_the_values_of_one() -> None:
    measured = _measure(_fill(ELLIPSE))
    # The blur before the outline moves it outwards by less than a pixel.
    assert 20 / 40 <= measured["oval"] <= 21 / 41 + 0.01
    assert measured["ellipse"] == pytest.approx(1, abs=0.02)
    assert measured["solidity"] == pytest.approx(1, abs=0.02)
    assert measured["lean"] == pytest.approx(0, abs=0.01)
    assert measured["mirror"] == -1  # nothing that varies
    even = {"frame": 0, "median": 1, "dark": 1, "spread": 0, "mode": 1, "rough": 0, "flat": 1}
    assert {name: measured[name] for name in even} == even


def test_a_triangle_leans_by_the_skewness_of_a_triangular_distribution() -> None:
    triangle = (np.abs(COLUMNS) < (ROWS + 40) / 2) & (ROWS < 40)
    assert _measure(_fill(triangle))["lean"] == pytest.approx(-2 * 2**0.5 / 5, abs=0.02)
    assert _measure(_fill(triangle[::-1]))["lean"] == pytest.approx(2 * 2**0.5 / 5, abs=0.02)


def test_two_squares_side_by_side_are_one_object_beside_another() -> None:
    measured = _measure(_fill((np.abs(ROWS) < 20) & (np.abs(np.abs(COLUMNS) - 24) < 20)))
    assert measured["oval"] == pytest.approx(1, abs=0.02)
    assert measured["outside"] > 0.2


def test_the_left_half_of_a_picture_covers_half_of_its_frame() -> None:
    assert _measure(_fill(COLUMNS < 0))["frame"] == pytest.approx(0.5, abs=0.01)


def test_a_sequence_that_is_another_one_inverted_agrees_least() -> None:
    pixels = _fill(ELLIPSE, 100 + COLUMNS)
    assert _measure(pixels)["agree"] == pytest.approx(1)
    pixels[..., 2] = np.where(ELLIPSE, 100 - COLUMNS, 0)
    assert _measure(pixels)["agree"] == pytest.approx(-1)


def test_a_ramp_is_its_own_mirror_image_in_one_direction_alone() -> None:
    # The object, bright enough everywhere, rises to the right and is the same up and down.
    pixels = _fill(ELLIPSE, 100 + COLUMNS)
    assert _measure(pixels)["mirror"] == pytest.approx(1, abs=0.01)
    corner = _fill(ELLIPSE, 100 + COLUMNS / 2 + ROWS)
    assert _measure(corner)["mirror"] < 0.7


def test_the_steps_of_a_ramp_are_its_slope_across_and_0_down() -> None:
    measured = _measure(_fill(ELLIPSE, 100 + COLUMNS))
    assert measured["flat"] == pytest.approx(0.5, abs=0.03)
    # The mean of steps, half of them 0, over their root mean square.
    assert measured["tail"] == pytest.approx(0.5 / 0.5**0.5, abs=0.03)
    assert measured["grain"] == pytest.approx(1, abs=0.3)


def test_speckle_in_one_pixel_of_two_is_all_grain() -> None:
    checks = _fill(ELLIPSE, np.where((ROWS + COLUMNS) % 2, 200, 100))
    assert _measure(checks)["flat"] == 0
    assert _measure(checks)["tail"] == pytest.approx(1)
    assert _measure(checks)["grain"] > 20
