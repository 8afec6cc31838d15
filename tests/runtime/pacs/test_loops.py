"""A thread's steps: an error ends none, is told once, and is over with the next that goes well."""

from __future__ import annotations

import logging
import threading

import pytest

from lgg_runtime.errors import ResourceError
from lgg_runtime.pacs import loops
from lgg_runtime.pacs.loops import Loop


def test_an_error_ends_no_loop_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loops, "WAIT_AFTER_ERROR_SECONDS", 0.0)
    outcomes = [ResourceError("full"), ResourceError("full"), ValueError("of a patient"), None]
    seen, ended = [], threading.Event()

    def step() -> float | None:
        seen.append((loop.failure, loop.is_well))
        if not outcomes:
            ended.set()
            return None
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome
        return 0.0

    loop = Loop("a loop", step)
    assert not loop.is_well, "it has not begun"
    with caplog.at_level(logging.ERROR):
        loop.start()
        assert ended.wait(20)
        loop.tell_to_stop()
        assert loop.join(20)
    full, defect = ("full", False), ("ValueError", False)
    assert seen == [("", True), full, full, defect, ("", True)]
    assert [record.getMessage() for record in caplog.records] == [
        "a loop: full",
        "a loop: ValueError",
    ]
    assert not loop.is_well, "it has ended"


def test_a_loop_that_waits_takes_its_next_step_when_it_is_woken() -> None:
    steps = threading.Semaphore(0)

    def step() -> float | None:
        steps.release()
        return 3600.0

    loop = Loop("a loop", step)
    loop.start()
    assert steps.acquire(timeout=20)
    loop.wake()
    assert steps.acquire(timeout=20)
    loop.tell_to_stop()
    assert loop.join(20)


def test_a_loop_that_is_woken_within_a_step_takes_the_next_one_at_once() -> None:
    steps = threading.Semaphore(0)

    def step() -> float | None:
        loop.wake()
        steps.release()
        return 3600.0

    loop = Loop("a loop", step)
    loop.start()
    assert steps.acquire(timeout=20)
    assert steps.acquire(timeout=20)
    loop.tell_to_stop()
    assert loop.join(20)


def test_a_loop_waits_as_its_step_says_and_a_bounded_time_where_it_says_nothing() -> None:
    outcomes: list[float | ResourceError | None] = [2.0, None, ResourceError("full"), 0.0]
    waits, ended = [], threading.Event()

    class Waits(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return True

    def step() -> float | None:
        outcome = outcomes.pop(0)
        if not outcomes:
            loop.tell_to_stop()
            ended.set()
        if isinstance(outcome, ResourceError):
            raise outcome
        return outcome

    loop = Loop("a loop", step)
    loop._wake = Waits()
    loop.start()
    assert ended.wait(20) and loop.join(20)
    assert waits == [2.0, loops.LONGEST_WAIT_SECONDS, loops.WAIT_AFTER_ERROR_SECONDS]


def test_a_loop_that_did_not_begin_has_nothing_to_end() -> None:
    loop = Loop("a loop", lambda: None)
    loop.tell_to_stop()
    assert loop.join(20)
