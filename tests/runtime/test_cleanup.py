"""3-D components against scipy, and which of them stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from lgg_runtime.cleanup import CleanupSettings, clean_up, drop_small, label_components

# Eight neighbours within the slice, the same pixel of the slices before and after.
STRUCTURE = np.zeros((3, 3, 3), bool)
STRUCTURE[1] = True
STRUCTURE[:, 1, 1] = True


def volume(*slices: str) -> np.ndarray:
    """Slices drawn as rows of `#` and `.`, separated by blanks."""
    return np.array([[[c == "#" for c in row] for row in s.split()] for s in slices])


def partition(labels: np.ndarray) -> np.ndarray:
    """Labels numbered by first appearance: equal for equal components."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].reshape(labels.shape)


@pytest.mark.parametrize(
    ("mask", "count"),
    [
        (volume("#.. .#. ..#"), 1),  # diagonal within a slice
        (volume("#. ..", ".. .#"), 2),  # diagonal between slices
        (volume("#. ..", ".# .."), 2),  # beside each other in two slices
        (volume("#.", "#."), 1),
        (volume("#.", "..", "#."), 2),  # a slice between
        (volume("#.#", "###"), 1),  # joined by the second slice
        (volume("###", "#.#", "###"), 1),
        (volume("#.#", "#.#"), 2),
        (volume("..", ".."), 0),
        (volume("##", "##"), 1),
    ],
)
def test_what_touches_is_one_component(mask: np.ndarray, count: int) -> None:
    labels, found = label_components(mask)
    assert found == count
    assert labels.dtype == np.int32
    assert sorted(set(labels[mask])) == list(range(1, count + 1))
    assert not labels[~mask].any()


@pytest.mark.parametrize("seed", range(4))
def test_components_of_a_larger_volume_are_those_of_scipy(seed: int) -> None:
    mask = np.random.default_rng(seed).random((9, 31, 29)) < 0.12 + 0.06 * seed
    labels, found = label_components(mask)
    expected, count = ndimage.label(mask, STRUCTURE)
    assert found == count
    np.testing.assert_array_equal(partition(labels), partition(expected))


@given(hnp.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))))
def test_components_of_any_small_volume_are_those_of_scipy(mask: np.ndarray) -> None:
    labels, found = label_components(mask)
    expected, count = ndimage.label(mask, STRUCTURE)
    assert found == count
    np.testing.assert_array_equal(partition(labels), partition(expected))


# Components of 4 (two slices), 2 and 1 voxels.
THREE = volume("##..# ....#", "##... .....", "..... ..#..")


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        (CleanupSettings(), [4, 2, 1]),
        (CleanupSettings(smallest_fraction=1.0), [4]),
        (CleanupSettings(smallest_fraction=0.5), [4, 2]),
        (CleanupSettings(smallest_fraction=0.51), [4]),
        (CleanupSettings(smallest_voxels=2), [4, 2]),
        (CleanupSettings(smallest_voxels=4), [4]),
        (CleanupSettings(smallest_voxels=5), []),
        (CleanupSettings(smallest_fraction=0.5, smallest_voxels=3), [4]),
    ],
)
def test_small_components_go(settings: CleanupSettings, sizes: list[int]) -> None:
    labels, count = ndimage.label(THREE, STRUCTURE)
    expected = np.zeros(THREE.shape, bool)
    for label in range(1, count + 1):
        if (labels == label).sum() in sizes:
            expected |= labels == label
    assert expected.sum() == sum(sizes)
    np.testing.assert_array_equal(clean_up(THREE, settings), expected)


def test_the_largest_is_the_largest_of_the_volume_and_not_of_its_slice() -> None:
    mask = volume("###..# .....#", "#..... ......", "#..... ......")
    kept = clean_up(mask, CleanupSettings(smallest_fraction=1.0))
    np.testing.assert_array_equal(kept, volume("###... ......", "#..... ......", "#..... ......"))


def test_components_of_one_size_all_stay() -> None:
    mask = volume("##.##", ".....", "..##.")
    kept = clean_up(mask, CleanupSettings(smallest_fraction=1.0))
    np.testing.assert_array_equal(kept, mask)


def test_a_component_of_just_the_smallest_fraction_stays() -> None:
    for percent in range(1, 101):
        sizes = np.array([100, percent, percent - 1])
        assert CleanupSettings(percent / 100).keeps(sizes).tolist() == [True, True, False]


def test_an_empty_volume_stays_empty_and_is_a_copy() -> None:
    mask = np.zeros((2, 3, 3), bool)
    kept = clean_up(mask, CleanupSettings(1.0, 10))
    assert kept.dtype == bool and kept.shape == mask.shape and not kept.any()
    assert not np.shares_memory(kept, mask)


def test_the_input_is_not_changed() -> None:
    mask = THREE.copy()
    clean_up(mask, CleanupSettings(smallest_fraction=1.0))
    np.testing.assert_array_equal(mask, THREE)


@given(hnp.arrays(bool, (2, 4, 4)), st.floats(0, 1), st.integers(0, 6))
def test_clean_up_takes_away_alone_and_a_second_time_nothing(
    mask: np.ndarray, fraction: float, voxels: int
) -> None:
    settings = CleanupSettings(fraction, voxels)
    kept = clean_up(mask, settings)
    assert not (kept & ~mask).any()
    np.testing.assert_array_equal(clean_up(kept, settings), kept)


@pytest.mark.parametrize(
    ("fraction", "voxels", "told"),
    [
        (0, 0, "none"),
        (0, 50, "3-D components of at least 50 voxels stay"),
        (0.5, 0, "3-D components of at least 0.5 of the largest stay"),
        (0.5, 1, "3-D components of at least 0.5 of the largest and 1 voxel stay"),
        (1, 0, "the largest 3-D component stays"),
        (1, 50, "the largest 3-D component stays, if it has at least 50 voxels"),
    ],
)
def test_what_stays_is_told_in_words(fraction: float, voxels: int, told: str) -> None:
    assert CleanupSettings(fraction, voxels).describe() == told


@pytest.mark.parametrize(
    ("settings", "dropped"),
    [
        (CleanupSettings(), 0.0),
        (CleanupSettings(smallest_fraction=0.5), 0.25),
        (CleanupSettings(smallest_fraction=1.0), 0.75),
        (CleanupSettings(smallest_voxels=5), 1.0),  # the largest itself
    ],
)
def test_the_largest_that_is_dropped_is_told(settings: CleanupSettings, dropped: float) -> None:
    mask = volume("####.# ......", "...... .###..")  # of 4, 1 and 3 voxels
    assert drop_small(mask, settings)[1] == dropped
    assert drop_small(np.zeros((2, 3, 4), bool), settings)[1] == 0.0
