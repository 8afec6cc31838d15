"""Studies that run at once: in order, each as if alone, and ended when the run ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, current_thread
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from lgg_runtime.crop import whole_frames
from lgg_runtime.errors import InputError, ModelError
from lgg_runtime.grid import ModelGrid
from lgg_runtime.loading import LoadSettings
from lgg_runtime.readers.listing import Study
from lgg_runtime.run import running as running_module
from lgg_runtime.run.ledger_lines import Finished
from lgg_runtime.run.pending import StudyRecord
from lgg_runtime.run.reading import ReadyStudy, ReadyVolume
from lgg_runtime.run.running import Running
from lgg_runtime.segmenter import Answer, Prepared, Segmenter
from lgg_runtime.volume import Volume

PIXELS = np.zeros((2, 16, 16, 3), np.uint8)
VOLUME = Volume(PIXELS)
PREPARED = Prepared(ModelGrid.of(VOLUME), PIXELS, whole_frames(2, 16, 16), None)
ANSWER = Answer(np.zeros((2, 16, 16), np.float32), left_out=1)
WAIT_S = 60


def study(name: str, *prepared: Prepared | InputError | ModelError) -> ReadyStudy:
    volumes = tuple(ReadyVolume(None, VOLUME, each) for each in prepared or (PREPARED,))
    return ReadyStudy(Study(name, Path(), ()), StudyRecord(name, {}, True), volumes, ())


def runs(run: Callable[..., Answer], at_once: int = 2) -> Running:
    """What passes studies through a model that does this."""
    model = SimpleNamespace(volumes_at_once=at_once, run=run)
    return Running(cast(Segmenter, model))


def names(passed: Any) -> list[str]:
    return [ready.study.name for ready, _ in passed]


def test_two_run_at_once_and_come_in_order() -> None:
    both, left = Barrier(2), [Event(), Event()]

    def run(_prepared: Prepared, _before: object) -> Answer:
        place = both.wait(WAIT_S)  # no study ends before the next one has begun
        if place == 0:
            assert left[1].wait(WAIT_S)  # whichever it is ends last
        left[place].set()
        return ANSWER

    running = runs(run)
    assert names(running.pass_through(iter([study("a"), study("b")]))) == ["a", "b"]
    running.close()


def test_how_many_run_at_once_is_asked_once_for_any_number_of_studies() -> None:
    asked: list[int] = []

    class Model:
        @property
        def volumes_at_once(self) -> int:  # of a real one, the container's files are read for it
            asked.append(2)
            return 2

        def run(self, _prepared: Prepared, _before: object) -> Answer:
            return ANSWER

    running = Running(cast(Segmenter, Model()))
    assert names(running.pass_through(map(study, "abcdef"))) == list("abcdef")
    running.close()
    assert len(asked) == 1


def test_where_the_model_takes_one_at_a_time_no_thread_is_begun() -> None:
    ran: list[str] = []

    def run(_prepared: Prepared, _before: object) -> Answer:
        ran.append(current_thread().name)
        return ANSWER

    def studies() -> Iterator[ReadyStudy]:
        for number, name in enumerate("abc"):
            assert len(ran) == number, "a study is fetched once the one before has run"
            yield study(name)

    running = runs(run, at_once=1)
    assert names(running.pass_through(studies())) == list("abc")
    assert ran == [current_thread().name] * 3
    running.close()


def test_what_cannot_run_is_told_in_its_place_and_what_is_left_out_is_counted() -> None:
    def run(_prepared: Prepared, _before: object) -> Answer:
        if answers:
            return answers.pop()
        raise ModelError("no number")

    answers = [ANSWER]
    refused = InputError("no head")
    mixed = study("mixed", PREPARED, refused, PREPARED)
    done = Finished("done", {}, {}, (), ())
    running = runs(run)
    (first, found), (second, nothing) = running.pass_through(iter([mixed, done]))
    assert first is mixed and second is done and nothing == []
    assert found[:2] == [ANSWER, refused]
    assert isinstance(found[2], ModelError)
    assert mixed.record.left_out == 1
    running.close()


def test_any_other_failure_is_raised_where_its_study_would_come() -> None:
    def run(_prepared: Prepared, _before: object) -> Answer:
        raise MemoryError

    running = runs(run)
    with pytest.raises(MemoryError):
        list(running.pass_through(iter([study("a"), study("b")])))
    running.close()


def test_to_close_ends_a_run_before_its_next_batch() -> None:
    begun, ended = Event(), Event()

    def run(_prepared: Prepared, before_batch: Callable[[], object]) -> Answer:
        try:
            while True:
                before_batch()
                begun.set()
        finally:
            ended.set()

    running = runs(run)

    def interrupt() -> None:
        with pytest.raises(CancelledError):
            list(running.pass_through(iter([study("a")])))

    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(interrupt)
        assert begun.wait(WAIT_S)
        assert not ended.is_set()
        running.close()
        assert ended.is_set()
        waiting.result(WAIT_S)


def test_what_is_found_is_handed_on_while_the_next_study_is_still_to_come() -> None:
    handed = Event()

    def studies() -> Iterator[ReadyStudy]:
        yield study("a")
        assert handed.wait(WAIT_S)
        raise MemoryError

    running = runs(lambda *_: ANSWER)
    passed = running.pass_through(studies())
    assert next(passed)[0].study.name == "a"
    handed.set()
    with pytest.raises(MemoryError):
        next(passed)
    running.close()


def test_a_study_that_runs_is_handed_on_before_a_failure_to_get_the_next_one() -> None:
    failed = Event()

    def studies() -> Iterator[ReadyStudy]:
        yield study("a")
        failed.set()
        raise MemoryError

    def run(_prepared: Prepared, _before: object) -> Answer:
        assert failed.wait(WAIT_S)
        return ANSWER

    running = runs(run)
    passed = running.pass_through(studies())
    assert next(passed)[0].study.name == "a"
    with pytest.raises(MemoryError):
        next(passed)
    running.close()


def test_time_in_which_two_run_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [100.0, 107.0]
    clock = SimpleNamespace(perf_counter=lambda: times.pop(0))
    monkeypatch.setattr(running_module, "time", clock)
    both = Barrier(2)

    def run(_prepared: Prepared, _before: object) -> Answer:
        both.wait(WAIT_S)
        return ANSWER

    running = runs(run)
    list(running.pass_through(iter([study("a"), study("b")])))
    running.close()
    assert running.seconds == 7


def test_a_cpu_takes_two_volumes_at_once_but_not_within_a_limit_of_memory(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Segmenter.load(artifact, LoadSettings(threads=2))
    assert segmenter.volumes_at_once == 2
    monkeypatch.setattr("lgg_runtime.segmenter.is_memory_limited", lambda: True)
    assert segmenter.volumes_at_once == 1


@pytest.mark.parametrize("settings", [LoadSettings(threads=1), LoadSettings()])
def test_where_one_thread_is_asked_for_no_second_one_computes(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, settings: LoadSettings
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    segmenter = Segmenter.load(artifact, settings)
    computing: set[str] = set()

    def run(prepared: Prepared, before: Callable[[], object]) -> Answer:
        computing.add(current_thread().name)
        return segmenter.run(prepared, before)

    running = runs(run, segmenter.volumes_at_once)
    assert names(running.pass_through(map(study, "abcdef"))) == list("abcdef")
    running.close()
    assert computing == {current_thread().name}


def test_a_gpu_takes_one() -> None:
    backend = SimpleNamespace(provider="cuda", contract=SimpleNamespace(threshold=0.5))
    assert Segmenter(cast(Any, backend), LoadSettings()).volumes_at_once == 1


def test_an_answer_is_the_same_with_and_without_a_look_before_each_batch(artifact: Path) -> None:
    segmenter = Segmenter.load(artifact, LoadSettings(threads=1, batch=2, first_look=artifact))
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    prepared, looks = segmenter.prepare(Volume(pixels)), []
    watched = segmenter.run(prepared, lambda: looks.append(1))
    alone = segmenter.run(prepared)
    np.testing.assert_array_equal(watched.probability, alone.probability)
    assert len(looks) >= 6, "three batches of each network"
