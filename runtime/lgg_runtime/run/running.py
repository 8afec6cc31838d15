"""The model on the studies of a job: on a CPU two at once, so that no core waits between them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager
from threading import Event, Lock
from typing import Any

from lgg_runtime.errors import InputError, ModelError
from lgg_runtime.run.finishing import Found
from lgg_runtime.run.ledger_lines import Finished
from lgg_runtime.run.reading import ReadyStudy, ReadyVolume
from lgg_runtime.segmenter import Answer, Segmenter
from lgg_runtime.workers import CHECK_S, Workers


class Running:
    """Runs studies and gives them in order: where the model takes several volumes at once, in
    threads of its own, each of which takes memory.
    """

    def __init__(self, segmenter: Segmenter):
        self._segmenter = segmenter
        self._at_once = segmenter.volumes_at_once  # asked once: it reads the container's quotas
        self._pool = Workers(self._at_once, "study")
        self._taker = Workers(1, "take")
        self._closed = Event()
        self._clock = _Clock()

    @property
    def seconds(self) -> float:
        """For how long a model has run so far."""
        return self._clock.seconds

    def pass_through(
        self, studies: Iterable[ReadyStudy | Finished]
    ) -> Iterator[tuple[ReadyStudy | Finished, list[Found]]]:
        """Each study with what was found in each of its volumes, or why there is nothing; of what
        an earlier run finished, nothing.
        """
        if self._at_once == 1:
            yield from ((study, self._run(study)) for study in studies)
            return
        begun: deque[tuple[ReadyStudy | Finished, Future[list[Found]]]] = deque()
        left = iter(studies)
        while True:
            coming = self._taker.submit(next, left, None)
            # What is found is handed on at once, however long the next study takes to come.
            while begun and self._is_first(begun[0][1], coming):
                yield self._end(*begun.popleft())
            if self._taker.has_failed(coming) or (study := coming.result()) is None:
                break
            begun.append((study, self._pool.submit(self._run, study)))
            if len(begun) == self._at_once:
                yield self._end(*begun.popleft())
        while begun:
            yield self._end(*begun.popleft())
        self._taker.wait_for(coming)  # raises why there is no further one

    def close(self) -> None:
        """End the threads after the batches at hand."""
        self._closed.set()
        self._pool.shutdown(cancel_futures=True)
        self._taker.shutdown(cancel_futures=True)

    def _is_first(self, running: Future[list[Found]], coming: Future[Any]) -> bool:
        """Waits for either; whether the one that runs has ended, or cannot end any more."""
        while not (done := wait((running, coming), CHECK_S, FIRST_COMPLETED).done):
            if not (self._pool.lives and self._taker.lives):
                return True
        return running in done

    def _end(
        self, study: ReadyStudy | Finished, running: Future[list[Found]]
    ) -> tuple[ReadyStudy | Finished, list[Found]]:
        return study, self._pool.wait_for(running)

    def _run(self, study: ReadyStudy | Finished) -> list[Found]:
        if isinstance(study, Finished):
            return []
        with self._clock.going():
            found = [self._run_volume(volume) for volume in study.volumes]
        study.record.left_out = sum(each.left_out for each in found if isinstance(each, Answer))
        return found

    def _run_volume(self, volume: ReadyVolume) -> Found:
        if isinstance(volume.prepared, (InputError, ModelError)):
            return volume.prepared
        try:
            return self._segmenter.run(volume.prepared, self._require_open)
        except (InputError, ModelError) as error:
            return error

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise CancelledError


class _Clock:
    """Seconds in which at least one thread was going."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._going, self._since = 0, 0.0
        self._lock = Lock()

    @contextmanager
    def going(self) -> Iterator[None]:
        with self._lock:
            if not self._going:
                self._since = time.perf_counter()
            self._going += 1
        try:
            yield
        finally:
            with self._lock:
                self._going -= 1
                if not self._going:
                    self.seconds += time.perf_counter() - self._since
