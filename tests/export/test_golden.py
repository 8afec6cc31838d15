"""The golden pair: the input of the documented formula, and the samples of an answer."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from lgg_export.artifact import read_contract
from lgg_runtime.errors import ModelError
from lgg_runtime.golden import SHAPE, check_golden, golden_input, make_golden
from lgg_runtime.loading import SHIPPED, find_model


@pytest.mark.parametrize("shape", [(2, 9, 40, 3), (1, 48, 32, 3)])
def test_the_input_follows_the_documented_formula(shape):
    made = golden_input(shape)
    assert made.dtype == np.uint8
    _, rows, columns, _ = shape
    r = min(rows, columns)
    for n, y, x, c in np.ndindex(shape):
        dy, dx = y - rows // 2, x - columns // 2
        expected = 0
        if dx * dx + dy * dy < (7 * r // 16) ** 2:
            expected = 64 + (7 * n + 7 * y + 13 * x + x * y // 8) % 32
            if c == 1 and (dx - r // 8) ** 2 + (dy + r // 16) ** 2 < (r // 8) ** 2:
                expected += 128
        assert made[n, y, x, c] == expected


def test_values_that_a_host_in_another_language_can_check():
    made = golden_input()
    assert made.shape == SHAPE == (1, 128, 128, 3)
    assert made[0, 0, 0].tolist() == [0, 0, 0]
    assert made[0, 100, 40].tolist() == [88, 88, 88]
    assert made[0, 60, 72].tolist() == [72, 200, 72]


def run_formula(slices):
    """An artifact whose probability tells row and column."""
    rows, columns = np.mgrid[: slices.shape[1], : slices.shape[2]]
    return (rows / 100 + columns / 10_000).astype(np.float32)[None]


def test_samples_are_rows_and_columns_0_16_32_and_on_row_by_row():
    golden = make_golden(run_formula, tolerance=0.01)
    steps = range(0, 128, 16)
    expected = [row / 100 + column / 10_000 for row in steps for column in steps]
    assert golden.samples == pytest.approx(expected, abs=1e-6)
    assert (golden.shape, golden.tolerance) == (SHAPE, 0.01)


def test_digests_are_of_the_bytes_that_go_in_and_out():
    golden = make_golden(run_formula, tolerance=0.01)
    given = golden_input()
    assert golden.input_sha256 == hashlib.sha256(given.tobytes()).hexdigest()
    assert golden.output_sha256 == hashlib.sha256(run_formula(given).tobytes()).hexdigest()


def test_samples_of_another_input_are_refused():
    golden = replace(make_golden(run_formula, tolerance=0.01), input_sha256="0" * 64)
    with pytest.raises(ModelError, match="golden input is another one than this version makes"):
        check_golden(run_formula, golden)


@pytest.mark.parametrize(
    ("shape", "samples"),
    [((1, 528, 16, 3), 33), ((1, 24, 32, 3), 3), ((1, 16, 16, 10**9), 1), ((9, 16, 16, 3), 1)],
)
def test_an_input_that_no_export_makes_is_refused_before_it_is_made(shape, samples):
    golden = replace(make_golden(run_formula, 0.01), shape=shape, samples=(0.5,) * samples)
    with pytest.raises(ModelError, match="golden pair is damaged"):
        check_golden(run_formula, golden)


def test_samples_that_no_float32_holds_are_refused_without_a_warning():
    golden = make_golden(run_formula, tolerance=0.01)
    golden = replace(golden, samples=(1e308, *golden.samples[1:]))
    with pytest.raises(ModelError, match=r"differs by 1e\+308"):
        check_golden(run_formula, golden)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("answer", [0.0, 0.5, 1.0, np.nan])
def test_one_answer_for_all_is_none_of_a_shipped_models(name, answer):
    golden = read_contract(find_model(name)).golden
    assert max(golden.samples) > 0.9 and min(golden.samples) < 0.1
    with pytest.raises(ModelError, match="answer to the golden input differs"):
        check_golden(lambda slices: np.full(slices.shape[:3], answer, np.float32), golden)
