"""Reading ahead: what is read before the model is there, and what becomes of it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from lgg_runtime.errors import ResourceError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.run import reading as module
from lgg_runtime.run.job import Job
from lgg_runtime.run.ledger import Ledger
from lgg_runtime.run.ledger_lines import Finished
from lgg_runtime.run.reading import Reading, ReadyStudy
from lgg_runtime.segmenter import Prepared, Segmenter
from lgg_runtime.workers import Workers

DEADLINE_S = 60


class Watched:
    """Stands in for `load_study`: tells which studies were read, and when the first one was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.real, self.studies, self.first = module.load_study, [], threading.Event()
        monkeypatch.setattr(module, "load_study", self)

    def __call__(self, study: Any, *more: Any) -> Any:
        loaded = self.real(study, *more)
        self.studies.append(study.name)
        self.first.set()
        return loaded


class StandInLedger:
    """Knows one study as finished."""

    def __init__(self, study: str):
        self.finished = Finished(study, {}, {}, (), ())

    def find(self, study: str, _inputs: dict[str, str]) -> Finished | None:
        return self.finished if study == self.finished.study else None


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


@pytest.fixture
def job(source: Path, tmp_path: Path) -> Job:
    return Job(list_studies(source), tmp_path / "out")


@pytest.fixture(scope="module")
def segmenter(artifact: Path) -> Segmenter:
    return Segmenter.load(artifact, LoadSettings(threads=1))


def test_the_first_study_is_read_before_there_is_a_model(
    job: Job, segmenter: Segmenter, watched: Watched
) -> None:
    reading = Reading(job)
    try:
        assert watched.first.wait(DEADLINE_S)
        reading.use(segmenter)
        found = list(reading)
    finally:
        reading.close()
    assert watched.studies == [study.name for study in job.listing.studies]
    for study, ready in zip(job.listing.studies, found, strict=True):
        assert isinstance(ready, ReadyStudy)
        assert ready.study is study
        (volume,) = ready.volumes
        assert isinstance(volume.prepared, Prepared)
        expected = segmenter.prepare(volume.volume)
        assert np.array_equal(volume.prepared.slices, expected.slices)
        assert volume.prepared.boxes == expected.boxes


def test_a_study_read_early_gives_way_to_what_an_earlier_run_finished(
    job: Job, segmenter: Segmenter, watched: Watched
) -> None:
    first, second = job.listing.studies
    reading = Reading(job)
    try:
        assert watched.first.wait(DEADLINE_S)
        ledger = StandInLedger(first.name)
        reading.use(segmenter, ledger)  # type: ignore[arg-type]
        found = list(reading)
    finally:
        reading.close()
    assert found[0] is ledger.finished
    assert isinstance(found[1], ReadyStudy)
    assert found[1].study is second
    assert set(found[1].record.inputs) == {"deep/b/b_1.png"}
    assert found[1].record.proven


def test_a_reading_without_a_model_ends_when_it_is_closed(job: Job, watched: Watched) -> None:
    reading = Reading(job)
    assert watched.first.wait(DEADLINE_S)
    reading.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]
    assert watched.studies == [job.listing.studies[0].name]


def test_threads_end_where_one_more_cannot_begin(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    real, begun = module.Workers.submit, []

    def submit(pool: Any, *task: Any) -> Any:
        if begun:
            raise ResourceError("no thread")
        begun.append(real(pool, *task))
        return begun[0]

    monkeypatch.setattr(module.Workers, "submit", submit)
    before = threading.active_count()
    with pytest.raises(ResourceError, match="no thread"):
        Reading(job)
    assert begun[0].done()
    assert threading.active_count() == before


def test_an_input_that_changes_between_its_reading_and_its_digest_is_not_proven(
    job: Job, segmenter: Segmenter, watched: Watched
) -> None:
    reading = Reading(job)
    try:
        assert watched.first.wait(DEADLINE_S)
        read_early = watched.studies[0]
        (changed, *_) = next(s for s in job.listing.studies if s.name == read_early).files
        changed.write_bytes(changed.read_bytes() + b"more")
        reading.use(segmenter, cast(Ledger, StandInLedger("another")))
        proven = {ready.study.name: ready.record.proven for ready in reading}
    finally:
        reading.close()
    assert [name for name, is_proven in proven.items() if not is_proven] == [read_early]


def test_no_more_studies_than_the_bound_are_begun_ahead(
    source: Path, tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "xyz":
        shutil.copytree(source / "a", source / name)
    job = Job(list_studies(source), tmp_path / "out")
    begun = []
    real = Workers.submit

    def submit(pool: Workers, function: Any, *more: Any) -> Any:
        begun.append(function)
        return real(pool, function, *more)

    monkeypatch.setattr(Workers, "submit", submit)
    monkeypatch.setattr(module, "available_cores", lambda: 1)  # one reader
    reading = Reading(job)
    try:
        reading.use(segmenter)
        assert len(begun) == 2 < len(job.listing.studies)
        next(iter(reading))
        assert len(begun) == 3
    finally:
        reading.close()
