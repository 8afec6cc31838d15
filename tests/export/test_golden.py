"""The golden pair: the input of the documented formula, and the samples of an answer."""

import hashlib

import numpy as np
import pytest

from lgg_export.golden import make_golden
from lgg_runtime.golden import SHAPE, golden_input


def test_the_input_follows_the_documented_formula():
    made = golden_input((2, 9, 40, 3))
    assert made.dtype == np.uint8
    for n in range(2):
        for y in range(9):
            for x in range(40):
                for c in range(3):
                    expected = (7 * n + 11 * y + 13 * x + 5 * c + x * y // 8) % 256
                    assert made[n, y, x, c] == expected


def test_values_that_a_host_in_another_language_can_check():
    made = golden_input()
    assert made.shape == SHAPE == (1, 64, 64, 3)
    assert made[0, 0, 0].tolist() == [0, 5, 10]
    assert made[0, 1, 0].tolist() == [11, 16, 21]
    assert made[0, 63, 63].tolist() == [216, 221, 226]


def run_formula(slices):
    """An artifact whose probability tells row and column."""
    rows, columns = np.mgrid[: slices.shape[1], : slices.shape[2]]
    return (rows / 100 + columns / 10_000).astype(np.float32)[None]


def test_samples_are_rows_and_columns_0_16_32_48_row_by_row():
    golden = make_golden(run_formula, tolerance=0.01)
    steps = (0, 16, 32, 48)
    expected = [row / 100 + column / 10_000 for row in steps for column in steps]
    assert golden.samples == pytest.approx(expected, abs=1e-6)
    assert (golden.shape, golden.tolerance) == (SHAPE, 0.01)


def test_digests_are_of_the_bytes_that_go_in_and_out():
    golden = make_golden(run_formula, tolerance=0.01)
    given = golden_input()
    assert golden.input_sha256 == hashlib.sha256(given.tobytes()).hexdigest()
    assert golden.output_sha256 == hashlib.sha256(run_formula(given).tobytes()).hexdigest()
