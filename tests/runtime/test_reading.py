"""Reading ahead: what is read before the model is there, and what becomes of it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgg_runtime import reading as module
from lgg_runtime.errors import ResourceError
from lgg_runtime.job import Job
from lgg_runtime.ledger_lines import Finished
from lgg_runtime.loading import LoadSettings
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.reading import Reading, ReadyStudy
from lgg_runtime.segmenter import Prepared, Segmenter

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
