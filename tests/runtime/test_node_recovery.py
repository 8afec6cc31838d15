"""What a kill leaves behind is taken up again, by the parts that hold the node's records."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")
pytest.importorskip("prometheus_client")

from lgg_runtime.pacs.arrival import Arrival
from lgg_runtime.pacs.config import load_config
from lgg_runtime.pacs.intake import Intake, Session
from lgg_runtime.pacs.jobs import Job, Jobs, Made
from lgg_runtime.pacs.node import Node
from lgg_runtime.pacs.spool import DATABASE, Spool
from lgg_runtime.pacs.state import State
from stand_ins.pacs import write_config

STUDY = "1.2.3"


class Records:
    """The parts as a node opens them, over one folder; the quiet time is over at once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._open()

    def _open(self) -> None:
        self.state = State(self._folder / DATABASE)
        self.spool = Spool(self._folder, self.state.key)
        self.jobs = Jobs(self.state, self.spool, attempts=5)
        self.jobs.recover()
        self.intake = Intake(self.state, self.spool, quiet_seconds=0.0)

    def kill(self) -> None:
        """End as a process that is killed, and start anew."""
        self.state.close()
        self._open()

    def associate(self) -> Session:
        return self.intake.open_session(lambda: True)

    def bring(self, session: Session, *images: int, study: str = STUDY) -> None:
        for image in images:
            arrival = Arrival(study, f"{study}.{image}", b"file %d" % image, b"body %d" % image)
            self.intake.keep(session, arrival)

    def send(self, *images: int, study: str = STUDY) -> None:
        """Bring images over an association that is released, and wait the quiet time."""
        session = self.associate()
        self.bring(session, *images, study=study)
        self.intake.release(session)
        self.intake.settle()

    def claim(self) -> Job:
        job = self.jobs.claim()
        assert job is not None
        return job

    def make(self, job: Job) -> Made:
        return Made(
            self.spool.name_of(f"{job.study} {len(job.files)}"), len(job.files), time.time()
        )

    def states(self, table: str = "study") -> list[str]:
        return [row["state"] for row in self.state.rows(f"SELECT state FROM {table}")]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    made = Records(tmp_path)
    yield made
    made.state.close()


def test_a_late_slice_of_an_association_that_a_kill_ended_is_waited_for(records: Records) -> None:
    records.send(1, 2)
    records.claim()
    records.bring(records.associate(), 3)
    records.kill()
    records.intake.settle()
    assert records.states() == ["held"]
    assert records.jobs.claim() is None
    records.send(3)
    assert len(records.claim().files) == 3


def test_a_slice_that_came_during_interrupted_work_has_its_quiet_time(records: Records) -> None:
    records.send(1, 2)
    records.claim()
    records.send(3)
    records.kill()
    assert records.states() == ["receiving"]
    records.intake.settle()
    assert len(records.claim().files) == 3


def test_a_study_that_grew_before_it_was_put_back_is_waited_for(records: Records) -> None:
    records.send(1, 2)
    job = records.claim()
    late = records.associate()
    records.bring(late, 3)
    records.jobs.put_back(job)
    records.intake.settle()
    assert records.jobs.claim() is None
    records.intake.release(late)
    records.intake.settle()
    assert len(records.claim().files) == 3


def test_a_study_that_grew_during_its_work_makes_a_second_result(records: Records) -> None:
    records.send(1, 2)
    first = records.claim()
    records.send(3)
    records.jobs.complete(first, records.make(first), ())
    records.intake.settle()
    second = records.claim()
    records.jobs.complete(second, records.make(second), ())
    assert records.states() == ["done"]
    sizes = [row["slices"] for row in records.state.rows("SELECT slices FROM result")]
    assert sorted(sizes) == [2, 3]


def test_a_node_awaits_what_an_earlier_process_left_of_a_study_that_grew(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, study={"quiet_seconds": 3600.0}))
    config.node.spool.mkdir()
    earlier = Records(config.node.spool)
    earlier.send(1, 2)
    earlier.claim()
    earlier.bring(earlier.associate(), 3)
    segmenter = SimpleNamespace(name="none", digest="none")
    node = Node(config, earlier.state, segmenter)  # type: ignore[arg-type]
    assert earlier.states() == ["receiving"]
    wait = node.intake.settle()
    assert wait is not None and wait > 3000
    earlier.state.close()
