"""How often the check of inputs warns, on pictures and patients made by code."""

import pytest

from lgg_bench import plausibility
from lgg_bench.non_brain import KINDS
from lgg_bench.plausibility import PlausibilityBench, measure_plausibility, tabulate
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
