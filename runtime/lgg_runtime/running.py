"""The model on the studies of a job: on a CPU two at once, so that no core waits between them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from threading import Event, Lock

from lgg_runtime.errors import InputError, ModelError
from lgg_runtime.ledger_lines import Finished
from lgg_runtime.reading import ReadyStudy, ReadyVolume
from lgg_runtime.results import Found
from lgg_runtime.segmenter import Answer, Segmenter
from lgg_runtime.workers import Workers


class Running:
    """Runs studies in threads of its own and gives them in order."""

    def __init__(self, segmenter: Segmenter):
        self._segmenter = segmenter
        self._pool = Workers(segmenter.volumes_at_once, "study")
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
        begun: deque[tuple[ReadyStudy | Finished, Future[list[Found]]]] = deque()
        for study in studies:
            begun.append((study, self._pool.submit(self._run, study)))
            if len(begun) == self._segmenter.volumes_at_once:
                yield self._end(*begun.popleft())
        while begun:
            yield self._end(*begun.popleft())

    def close(self) -> None:
        """End the threads after the batches at hand."""
        self._closed.set()
        self._pool.shutdown(cancel_futures=True)

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
