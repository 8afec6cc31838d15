"""Writes and studies that wait: never more than the bound, none dropped."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from lgg_runtime.errors import OutputConflictError, ResourceError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.run.finishing import STUDIES_PENDING, Finishing
from lgg_runtime.run.job import Job
from lgg_runtime.run.journal import DONE, InputRecord, Journal
from lgg_runtime.run.ledger import Ledger, open_ledger
from lgg_runtime.run.pending import SLICES_PENDING, PendingWrites, StudyRecord
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.workers import Workers


class Waiting:
    """Stands in for a pool of threads: does nothing before it is waited for."""

    def __init__(self) -> None:
        self.waiting: list[Future[Any]] = []
        self.most = self.done = 0

    def submit(self, *_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append(future)
        self.most = max(self.most, len(self.waiting))
        return future

    def has_failed(self, _: Future[Any]) -> bool:
        return False

    def wait_for(self, future: Future[Any]) -> list[str]:
        self.waiting.remove(future)
        self.done += 1
        return []


def test_no_more_writes_than_the_bound_wait() -> None:
    pool, journal = Waiting(), Journal({})
    writes = PendingWrites(cast(Workers, pool), journal, None)
    for number in range(3 * SLICES_PENDING):
        record = InputRecord(f"{number}", DONE, "")
        writes.submit(list, record, StudyRecord("a", {}, True))
    assert pool.most == SLICES_PENDING
    writes.finish()
    assert (pool.waiting, pool.done) == ([], 3 * SLICES_PENDING)
    assert [record.name for record in journal.inputs] == [str(n) for n in range(pool.done)]


def test_a_ledger_that_the_disk_refuses_hides_no_earlier_failure_and_stops_no_end() -> None:
    class Full:
        def append(self, _: object) -> None:
            raise ResourceError("journal.jsonl: the disk is full")

    journal = Journal({})
    writes = PendingWrites(cast(Workers, Waiting()), journal, cast(Ledger, Full()))
    first, second = (StudyRecord(name, {name: "digest"}, True) for name in "ab")
    writes.submit(list, InputRecord("a", DONE, ""), first)
    writes.end_study(first)
    writes.submit(list, InputRecord("b", DONE, ""), second)
    writes.cancel()
    assert [record.name for record in journal.inputs] == ["a", "b"]


def test_nothing_is_written_into_a_folder_that_another_run_has_begun_in(tmp_path: Path) -> None:
    pool, written = Workers(1), list[str]()

    def write() -> list[str]:
        written.append("a mask")
        return []

    with open_ledger(tmp_path, {}, resume=False) as ledger:
        writes = PendingWrites(pool, Journal({}), ledger)
        writes.submit(write, InputRecord("a", DONE, ""), StudyRecord("a", {}, True))
        writes.finish()
        with open_ledger(tmp_path, {}, resume=False):
            writes.submit(write, InputRecord("b", DONE, ""), StudyRecord("b", {}, True))
            with pytest.raises(OutputConflictError):
                writes.finish()
    pool.shutdown()
    assert written == ["a mask"]


def test_no_more_studies_than_the_bound_wait_to_be_finished(
    tmp_path: Path, source: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(list_studies(source), tmp_path / "out")
    results = Finishing(job, Segmenter.load(artifact, LoadSettings(threads=2)), Journal({}))
    results.close()
    pool = Waiting()
    monkeypatch.setattr(results, "_finisher", pool)
    for _ in range(3 * STUDIES_PENDING):
        results.add(cast(Any, None))
    assert pool.most == STUDIES_PENDING
    results.finish()
    assert (pool.waiting, pool.done) == ([], 3 * STUDIES_PENDING)
