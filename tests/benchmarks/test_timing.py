"""Timing: turns and rests in order, statistics that a hand can check, on a clock of its own."""

import statistics
from dataclasses import asdict

import numpy as np
import pytest

from lgg_bench.timing import (
    TimingSettings,
    compare_seconds,
    describe_spread,
    start_cold,
    summarise_seconds,
    time_in_turn,
)


def test_each_round_begins_with_another_one_and_each_turn_with_a_rest_and_an_untimed_call(
    fake_time,
):
    calls = {name: fake_time.worker(name, [1] * 9) for name in "abc"}
    time_in_turn(calls, TimingSettings(rounds=3, calls=2, rest_s=5), fake_time.clock, int)
    turns = [["rest", name, name, name] for name in "abcbcacab"]
    assert fake_time.log == [event for turn in turns for event in turn]


def test_times_the_calls_without_the_rest_and_the_untimed_call(fake_time):
    calls = {
        "a": fake_time.worker("a", [100, 1, 2, 100, 3, 4]),
        "b": fake_time.worker("b", [100, 10, 20, 100, 30, 40]),
    }
    seconds = time_in_turn(calls, TimingSettings(2, 2, rest_s=1000), fake_time.clock, int)
    np.testing.assert_array_equal(seconds["a"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(seconds["b"], [[10, 20], [30, 40]])


def test_advances_once_a_turn(fake_time):
    calls = {name: fake_time.worker(name, [1] * 6) for name in "ab"}
    turns = []
    settings = TimingSettings(rounds=3, calls=1, rest_s=0)
    time_in_turn(calls, settings, fake_time.clock, lambda: turns.append(1))
    assert len(turns) == 6


def test_the_cold_start_keeps_loading_and_the_first_call_apart(fake_time):
    run = fake_time.worker("run", [3, 1])

    def load():
        fake_time.worker("load", [7])()
        return run

    call, result, cold = start_cold(load, 50, fake_time.clock)
    assert (call, result) == (run, "run")
    assert cold == {"load_ms": 7000, "first_ms": 3000}
    assert fake_time.log == ["rest", "load", "run"]


def test_percentiles_are_milliseconds_of_one_slice():
    found = summarise_seconds(np.array([[0.010, 0.020], [0.030, 0.040], [0.050, 0.160]]), slices=2)
    assert found["calls"] == 6
    quartiles = statistics.quantiles([5, 10, 15, 20, 25, 80], n=4, method="inclusive")
    hundredths = statistics.quantiles([5, 10, 15, 20, 25, 80], n=100, method="inclusive")
    assert found["ms_per_slice"] == pytest.approx({
        "p25": quartiles[0], "p50": 17.5, "p75": quartiles[2],
        "p90": hundredths[89], "p99": hundredths[98],
    })  # fmt: skip
    assert found["slices_per_second"] == pytest.approx(1000 / 17.5)


def test_a_ratio_is_taken_within_each_round():
    reference = np.array([[2.0, 2.0], [4.0, 4.0], [6.0, 6.0]])
    seconds = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]])  # ratios 2, 4, 3
    assert asdict(compare_seconds(reference, seconds)) == {"low": 2.5, "median": 3, "high": 3.5}


def test_a_round_that_slows_everybody_down_leaves_the_ratio():
    reference, seconds = np.full((5, 2), 6.0), np.full((5, 2), 2.0)
    slow = np.array([[1], [1], [50], [7], [1]])
    assert asdict(compare_seconds(reference * slow, seconds * slow)) == {
        "low": 3, "median": 3, "high": 3,
    }  # fmt: skip


@pytest.mark.parametrize("other", [99.0, 0.01])
def test_one_call_of_three_that_stalled_or_hurried_leaves_its_round(other):
    stalled = np.array([[2.0, other, 2.0]])
    assert compare_seconds(np.full((1, 3), 4.0), stalled).median == 2


def test_a_spread_is_told_as_its_median_and_the_quartiles_in_order():
    assert describe_spread({"low": 1, "median": 2.25, "high": 3}, ".1f") == "2.2 (1.0-3.0)"
    assert describe_spread(None, ".1f") == ""
