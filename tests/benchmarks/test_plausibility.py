"""How often the check of inputs warns, on pictures and patients made by code."""

import numpy as np
import pytest

from lgg_bench import plausibility
from lgg_bench.non_brain import KINDS
from lgg_bench.plausibility import (
    PlausibilityBench,
    _head_share,
    measure_plausibility,
    tabulate,
)
from lgg_bench.tables import describe_record
from lgg_train.run import SPLIT_FILE

SETTINGS = PlausibilityBench(drawn=2, size=64)


def test_every_kind_of_picture_and_every_test_patient_is_judged(data, run):
    record = measure_plausibility(data, run / SPLIT_FILE, SETTINGS)
    results = record.results
    assert results["by_kind"].keys() == KINDS.keys()
    assert results["pictures"] == 2 * len(KINDS)
    assert results["warned"] == 2 * sum(results["by_kind"].values())
    assert results["by_kind"]["constant"] == results["by_kind"]["white noise"] == 1
    assert (results["volumes"], results["slices"]) == (2, 10)
    text = describe_record(record)
    assert "Pictures that are no brain MRI" in text
    assert "Test patients" in text


@pytest.mark.parametrize(
    ("doubted", "rows"),
    [
        (
            lambda pixels: len(pixels) > 1,
            [["slices", "10", "10"], ["slices alone", "10", "0"], ["volumes", "2", "2"]],
        ),
        (
            lambda pixels: len(pixels) == 1,
            [["slices", "10", "0"], ["slices alone", "10", "10"], ["volumes", "2", "0"]],
        ),
    ],
)
def test_slices_are_counted_alone_and_in_their_volume(data, run, monkeypatch, doubted, rows):
    monkeypatch.setattr(plausibility, "find_doubts", lambda pixels, _: ["odd"] * doubted(pixels))
    _, patients = tabulate(measure_plausibility(data, run / SPLIT_FILE, SETTINGS))
    assert patients.rows == rows


def test_a_head_is_where_two_channels_or_more_are_above_their_background():
    pixels = np.zeros((3, 10, 10, 3), np.uint8)
    pixels[0] = 200
    pixels[1, :, :, 0], pixels[1, :5, :, 1], pixels[1, :, :2, 2] = 200, 200, 20
    np.testing.assert_allclose(_head_share(pixels), [1, 0.5, 0])


def test_pictures_are_drawn_as_many_and_by_the_seed_that_the_settings_say(data, run, monkeypatch):
    asked = []

    def draw(*given):
        asked.append(given)
        yield "black", np.zeros((64, 64, 3), np.uint8)

    monkeypatch.setattr(plausibility, "draw_non_brain", draw)
    measure_plausibility(data, run / SPLIT_FILE, PlausibilityBench(drawn=2, size=64, seed=5))
    assert asked == [(2, 64, 5)]
