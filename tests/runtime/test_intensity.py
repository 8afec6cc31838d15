"""Normalisation against its formula, written a second time here, and by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgg_runtime.golden import golden_input
from lgg_runtime.intensity import (
    IntensitySettings,
    head_mask,
    is_air_below_0,
    level_percentile,
    normalise,
)
from lgg_runtime.volume import FLAIR

DEFAULT = IntensitySettings()


def by_formula(pixels: np.ndarray, constants: IntensitySettings) -> np.ndarray:
    """The documented formula on whole float64 arrays, without tables."""
    values = pixels.astype(np.float64)
    bright = np.percentile(values, constants.bright_percentile, axis=(0, 1, 2))
    bright = np.where(bright > 0, bright, values.max(axis=(0, 1, 2)))
    head = ((values > constants.head_fraction * bright) & (bright > 0)).any(axis=-1)
    out = np.zeros(pixels.shape, np.uint8)
    for c in np.flatnonzero(bright > 0):
        low, median, high = np.percentile(values[..., c][head], (10, 50, 90))
        spread = max((high - low) / 2.5631031310892007, constants.smallest_spread * bright[c])
        level = constants.centre + constants.scale * (values[..., c] - median) / spread
        out[..., c] = np.clip(np.round(level), 0, 255)
    return out


def picture(seed: int, top: float = 200.0) -> np.ndarray:
    """(3, 20, 24, 3) float: a textured head on a dark border, another contrast a channel."""
    random = np.random.default_rng(seed)
    pixels = random.uniform(0, 0.02, (3, 20, 24, 3))
    pixels[:, 3:17, 4:20] = random.uniform(0.3, 1.0, (3, 14, 16, 3)) * (0.4, 1.0, 0.7)
    return pixels * top


def grey_levels_apart(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


def test_a_pair_checked_by_hand() -> None:
    # 99.5th percentile of 0, 10, ..., 100 is 99.5; the head is 20 ... 100, whose 10th, 50th and
    # 90th percentile are 28, 60 and 92, so that one robust deviation is 64 / 2.5631 = 24.97.
    values = np.arange(0, 101, 10, dtype=np.uint8).reshape(1, 1, 11, 1)
    result = normalise(np.repeat(values, 3, axis=3), DEFAULT)
    expected = [0, 0, 16, 32, 48, 64, 80, 96, 112, 128, 144]
    np.testing.assert_array_equal(result, np.repeat(np.reshape(expected, (1, 1, 11, 1)), 3, axis=3))


@pytest.mark.parametrize("seed", range(3))
def test_8_bit_slices_give_what_the_formula_gives(seed: int) -> None:
    pixels = picture(seed).astype(np.uint8)
    result = normalise(pixels, DEFAULT)
    assert (result.shape, result.dtype) == (pixels.shape, np.uint8)
    assert len(np.unique(result)) > 30
    np.testing.assert_array_equal(result, by_formula(pixels, DEFAULT))


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_other_types_give_what_the_formula_gives(kind: type) -> None:
    pixels = picture(7, top=3000).astype(kind)
    result = normalise(pixels, DEFAULT)
    assert result.dtype == np.uint8
    assert grey_levels_apart(result, by_formula(pixels, DEFAULT)) <= 1


def test_one_picture_of_two_types_gives_one_result() -> None:
    pixels = picture(2).astype(np.uint8)
    result = normalise(pixels, DEFAULT)
    for kind in (np.uint16, np.float64):
        np.testing.assert_array_equal(normalise(pixels.astype(kind), DEFAULT), result)


@pytest.mark.parametrize(
    "changed",
    [
        IntensitySettings(centre=90.0),
        IntensitySettings(scale=30.0),
        IntensitySettings(head_fraction=0.5),
        IntensitySettings(bright_percentile=20.0),  # of the border, so all is head
        IntensitySettings(smallest_spread=2.0),
    ],
)
def test_every_constant_is_used(changed: IntensitySettings) -> None:
    pixels = picture(4).astype(np.uint8)
    pixels[:, :2] = 30  # between the two head fractions
    result = normalise(pixels, changed)
    np.testing.assert_array_equal(result, by_formula(pixels, changed))
    assert not np.array_equal(result, normalise(pixels, DEFAULT))


@settings(max_examples=30)
@given(st.integers(0, 50), st.tuples(*[st.floats(1e-3, 1e4)] * 3))
def test_a_scanners_scale_does_not_matter(seed: int, factors: tuple[float, ...]) -> None:
    pixels = picture(seed)
    scaled = normalise(pixels * factors, DEFAULT)
    assert grey_levels_apart(scaled, normalise(pixels, DEFAULT)) <= 1


def test_each_channel_has_its_own_statistics() -> None:
    pixels = picture(1)
    changed = pixels.copy()
    head = head_mask(pixels, DEFAULT)
    changed[..., FLAIR][head] = 255 - changed[..., FLAIR][head] / 2
    np.testing.assert_array_equal(head_mask(changed, DEFAULT), head)
    before, after = normalise(pixels, DEFAULT), normalise(changed, DEFAULT)
    for other in (0, 2):
        np.testing.assert_array_equal(after[..., other], before[..., other])
    assert not np.array_equal(after[..., FLAIR], before[..., FLAIR])


def test_statistics_are_of_the_volume_and_not_of_the_slice() -> None:
    pixels = picture(3)
    pixels[1] *= 0.5
    result = normalise(pixels, DEFAULT)
    inside = head_mask(pixels, DEFAULT)
    assert np.median(result[1][inside[1]]) < np.median(result[0][inside[0]]) - 20


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_constant_picture_becomes_the_centre(kind: type) -> None:
    result = normalise(np.full((2, 4, 4, 3), 7, kind), DEFAULT)
    np.testing.assert_array_equal(result, np.full((2, 4, 4, 3), 80))


@pytest.mark.parametrize("pixels", [np.zeros((1, 3, 3, 3), np.uint8), np.full((1, 3, 3, 3), -4.0)])
def test_no_signal_becomes_zeros(pixels: np.ndarray) -> None:
    assert not head_mask(pixels, DEFAULT).any()
    np.testing.assert_array_equal(normalise(pixels, DEFAULT), np.zeros(pixels.shape, np.uint8))


def test_a_channel_without_signal_becomes_zeros_and_leaves_the_others() -> None:
    pixels = picture(6).astype(np.uint8)
    pixels[..., 0] = 0
    result = normalise(pixels, DEFAULT)
    assert not result[..., 0].any()
    np.testing.assert_array_equal(result, by_formula(pixels, DEFAULT))
    assert result[..., FLAIR].std() > 10


def test_a_channel_that_is_black_but_for_a_spot_is_scaled_by_the_spot() -> None:
    pixels = np.zeros((1, 20, 20, 3), np.uint8)
    pixels[0, 5, 5] = 50
    assert head_mask(pixels, DEFAULT).sum() == 1
    result = normalise(pixels, DEFAULT)
    np.testing.assert_array_equal(result[0, 5, 5], (80, 80, 80))
    assert result.sum() == 240


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_the_head_is_where_any_channel_is_bright_enough(kind: type) -> None:
    pixels = np.zeros((1, 1, 6, 3), kind)
    pixels[0, 0, :, 0] = (12, 13, 0, 0, 100, 100)  # 12 is not above 0.12 * 100
    pixels[0, 0, :, FLAIR] = (0, 0, 13, 12, 100, 100)
    limits = IntensitySettings(bright_percentile=100.0)
    np.testing.assert_array_equal(
        head_mask(pixels, limits), [[[False, True, True, False, True, True]]]
    )


def test_levels_that_are_counted_have_the_percentiles_of_numpy_to_the_last_bit() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        levels, percent = random.integers(0, 256, (1, 2, 3), np.uint8), random.uniform(0, 100)
        assert level_percentile(levels, percent) == np.percentile(levels, percent)


def test_more_pixels_of_a_level_are_counted_than_float32_counts() -> None:
    levels = np.zeros(2**25 + 1, np.uint8)
    levels[2**24 + 1 :] = 1
    assert level_percentile(levels.reshape(1, -1, 3), 50) == 0


def test_the_input_is_not_changed() -> None:
    pixels = picture(9).astype(np.uint8)
    before = pixels.copy()
    normalise(pixels, DEFAULT)
    np.testing.assert_array_equal(pixels, before)


def test_a_view_of_another_memory_order_gives_the_same() -> None:
    pixels = picture(8).astype(np.uint8)
    np.testing.assert_array_equal(
        normalise(np.asfortranarray(pixels), DEFAULT), normalise(pixels, DEFAULT)
    )


def test_the_pair_of_the_contracts_document() -> None:
    made = normalise(golden_input((1, 128, 128, 3)), IntensitySettings())
    document = (Path(__file__).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
    assert f"`{hashlib.sha256(made.tobytes()).hexdigest()}`" in document
    assert made[0, 60, 72].tolist() == [51, 255, 51]
    assert made[0, 100, 40].tolist() == [117, 105, 117]


@pytest.mark.parametrize(
    ("air", "share", "lit", "is_below"),
    [
        (-55, 0.5, 0.3, False), (-65, 0.5, 0.3, True),  # 0.6 of the bright level
        (-100, 0.008, 0.3, False), (-100, 0.013, 0.3, True),  # stray values
        (-1, 0.5, 0.004, True), (-1, 0.5, 0.007, False),  # too few for a bright level
    ],
)  # fmt: skip
def test_how_far_air_may_lie_below_0(air: float, share: float, lit: float, is_below: bool) -> None:
    values = np.zeros(1000, np.float32)
    values[: int(1000 * share)], values[1000 - int(1000 * lit) :] = air, 100
    pixels = np.repeat(values.reshape(1, 10, 100, 1), 3, axis=3)
    assert is_air_below_0(pixels, (100.0, 100.0, 100.0)) is is_below


def test_a_tie_is_broken_by_the_order_in_which_the_contract_computes() -> None:
    # 99.5 % are at most 192, the spread is 0.05 * 192, and 33 comes to 117.5 but for rounding.
    levels = np.repeat(np.array([24, 33, 192], np.uint8), (940, 20, 40))
    pixels = np.repeat(levels.reshape(1, 25, 40, 1), 3, axis=3)
    gain = 40 / (0.05 * 192)
    documented = [round(gain * v + (80 - gain * 24)) for v in (24, 33)]
    assert documented != [round(80 + 40 * (v - 24) / (0.05 * 192)) for v in (24, 33)]
    for values in (pixels, pixels.astype(np.uint16)):
        found = normalise(values, DEFAULT)
        assert found[values == 24].max() == documented[0]
        assert set(found[values == 33].tolist()) == {documented[1]}
