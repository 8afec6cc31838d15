"""Diameters of masks drawn by hand."""

import numpy as np
import pytest

from lgg_runtime.measures import axes_mm


def test_nothing_measures_nothing() -> None:
    assert axes_mm(np.zeros((2, 4, 4), bool), (5, 1, 1)) == (0, 0)


def test_a_single_pixel_has_its_own_width() -> None:
    mask = np.zeros((3, 4, 4), bool)
    mask[2, 1, 1] = True
    assert axes_mm(mask, (5, 2, 2)) == (2, 2)


def test_a_bar_is_as_long_and_as_wide_as_it_was_drawn() -> None:
    mask = np.zeros((2, 20, 20), bool)
    mask[1, 4:6, 3:15] = True
    long_axis, short_axis = axes_mm(mask, (5, 1, 1))
    assert long_axis == pytest.approx(np.hypot(11, 1) + 1)
    # Across the bar's diagonal, which is its longest diameter.
    assert short_axis == pytest.approx(2 * 11 / np.hypot(11, 1) + 1)


def test_lengths_follow_the_spacing_of_rows_and_columns() -> None:
    mask = np.zeros((1, 9, 9), bool)
    mask[0, 2:7, 4] = True
    assert axes_mm(mask, (5, 3, 1))[0] == pytest.approx(4 * 3 + 2)
    assert axes_mm(mask.transpose(0, 2, 1), (5, 3, 1))[0] == pytest.approx(4 * 1 + 2)


def test_the_first_slice_of_the_longest_diameter_is_taken() -> None:
    mask = np.zeros((4, 9, 9), bool)
    mask[0, 4, 2:5] = mask[1, 4, 1:8] = mask[2, 4, 3:5] = True
    mask[3, 4, 1:8] = mask[3, 3, 4] = True  # as long, and wider
    assert axes_mm(mask, (5, 1, 1)) == (7, 1)


def test_the_last_digit_of_a_spacing_does_not_choose_between_equal_diameters() -> None:
    plane = np.array([[0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], bool)
    mask = np.stack([plane, plane[:, ::-1]])
    long_axis, short_axis = axes_mm(mask, (5, 4.8, 4.8))
    for side in (np.nextafter(4.8, 0), np.nextafter(4.8, 9)):
        for spacing in ((5, side, 4.8), (5, 4.8, side)):
            assert axes_mm(mask, spacing) == pytest.approx((long_axis, short_axis))


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_short_axis_is_across_a_slanting_lesion_and_not_along_it(mirrored: bool) -> None:
    rows, columns = np.indices((12, 12))
    plane = (abs(rows - columns) <= 1) & (rows > 0) & (columns > 0)
    mask = (plane[:, ::-1] if mirrored else plane)[None]
    long_axis, short_axis = axes_mm(mask, (5, 1, 1))
    assert long_axis == pytest.approx(10 * np.sqrt(2) + 1)
    assert short_axis == pytest.approx(2 / np.sqrt(2) + 1)
