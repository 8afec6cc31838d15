"""Comparing the speed of several callables within one run, so that all meet the same machine.

They take turns, round after round, and each round begins with another one. The first call after
loading is kept apart. Before each turn there is a rest and one untimed call: the idle threads of
onnxruntime go on spinning for about 50 ms after a call and would slow the next one's turn down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_R = TypeVar("_R")
_Name = TypeVar("_Name", bound=Hashable)
Seconds = npt.NDArray[np.float64]  # (rounds, calls)


@dataclass(frozen=True)
class TimingSettings:
    """How often to time: rounds, timed calls of a turn, and the rest before each turn."""

    rounds: int = 20
    calls: int = 2
    rest_s: float = 0.1


@dataclass(frozen=True)
class Clock:
    """now: seconds of a steady clock; sleep: waits that many."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | npt.NDArray[np.float64]) -> Spread:
        low, median, high = np.percentile(values, (25, 50, 75))
        return cls(float(low), float(median), float(high))


def describe_spread(spread: dict[str, float] | None, form: str) -> str:
    """A Spread's JSON as `median (low-high)`, each number in that form; empty for None."""
    if spread is None:
        return ""
    return f"{spread['median']:{form}} ({spread['low']:{form}}-{spread['high']:{form}})"


def start_cold(
    load: Callable[[], Callable[[], _R]], rest_s: float, clock: Clock
) -> tuple[Callable[[], _R], _R, dict[str, float]]:
    """Load something that can be called and call it once; returns it, its result, and milliseconds
    of loading, `load_ms`, and of the call, `first_ms`.
    """
    clock.sleep(rest_s)
    start = clock.now()
    call = load()
    loaded = clock.now()
    result = call()
    return (
        call,
        result,
        {"load_ms": 1e3 * (loaded - start), "first_ms": 1e3 * (clock.now() - loaded)},
    )


def time_in_turn(
    calls: Mapping[_Name, Callable[[], Any]],
    settings: TimingSettings,
    clock: Clock,
    advance: Callable[[], object],
) -> dict[_Name, Seconds]:
    """Time every callable in every round; seconds of each call, (rounds, calls).

    advance: called after each turn, for a progress bar.
    """
    seconds = {name: np.zeros((settings.rounds, settings.calls)) for name in calls}
    for number, name in take_turns(list(calls), settings.rounds):
        clock.sleep(settings.rest_s)
        calls[name]()
        for call in range(settings.calls):
            start = clock.now()
            calls[name]()
            seconds[name][number, call] = clock.now() - start
        advance()
    return seconds


def take_turns(names: Sequence[_Name], rounds: int) -> Iterator[tuple[int, _Name]]:
    """The number of the round and a name: every name in every round, each of which begins with
    another one.
    """
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            yield number, name


def summarise_seconds(seconds: Seconds, slices: int) -> dict[str, Any]:
    """Milliseconds a slice as percentiles over all calls, and slices a second at the median.

    slices: of one call. Percentiles are interpolated linearly, so p99 of few calls is close to
    the slowest one; the number of calls stands beside.
    """
    milliseconds = 1e3 * seconds.ravel() / slices
    names = (25, 50, 75, 90, 99)
    values = np.percentile(milliseconds, names)
    return {
        "calls": int(seconds.size),
        "ms_per_slice": {f"p{n}": float(v) for n, v in zip(names, values, strict=True)},
        "slices_per_second": float(1e3 / values[names.index(50)]),
    }


def compare_seconds(reference: Seconds, seconds: Seconds) -> Spread:
    """How many times faster than the reference: the ratio within each round, over all rounds.

    Both (rounds, calls), from the same run. Above 1 the reference is slower.
    """
    return Spread.of(np.median(reference, axis=1) / np.median(seconds, axis=1))
