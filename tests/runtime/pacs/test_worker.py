"""How each study ended: in its record, in the counts, and in one line of the log."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.errors import InputError
from lgg_runtime.pacs.jobs import Job, Made
from lgg_runtime.pacs.spool import NAME_DIGITS
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.pacs.worker import Worker
from stand_ins.records import STUDY, Records


def test_each_study_s_end_is_recorded_counted_and_told(
    records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    errors = {"1.2.1": InputError("no FLAIR of 1.2.840.1.2.3"), "1.2.2": ValueError("of a patient")}
    names = {records.spool.name_of(study): error for study, error in errors.items()}

    def make(job: Job) -> Made:
        if job.study in names:
            raise names[job.study]
        return records.make(job)

    for study in (*errors, "1.2.3"):
        records.send(1, 2, study=study)
    tally = Tally()
    worker = Worker(records.jobs, make, ["archive"], tally, attempts=5)
    with caplog.at_level(logging.INFO):
        assert [worker.step() for _ in range(4)] == [0.0, 0.0, 0.0, None]
        records.state.rows("UPDATE study SET state = 'queued' WHERE state = 'done'")
        assert worker.step() == 0.0
    rows = records.state.rows("SELECT state, reason FROM study ORDER BY ready_at")
    refused, failed, done = map(tuple, rows)
    assert (refused[0], failed, done) == ("refused", ("failed", "ValueError"), ("done", ""))
    assert tally.read() == {
        ("studies", "refused"): 1,
        ("studies", "failed"): 1,
        ("studies", "done"): 2,
    }
    one, two, three = (records.spool.name_of(s)[:NAME_DIGITS] for s in (*errors, "1.2.3"))
    lines = [re.sub(r"in \d\.\d\d s", "in T", line) for line in caplog.messages]
    assert lines == [
        f"study {one} refused: {refused[1]}",
        f"study {two} failed: ValueError",
        f"study {three}: 2 slices in T",
        f"study {three}: 2 slices in T; the result is the one that was known",
    ]
    assert "1.2.840" not in caplog.text
    assert records.states("delivery") == ["waiting"]


def test_what_a_result_s_reader_should_know_is_told(
    records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    records.send(1)

    def make(job: Job) -> Made:
        return replace(records.make(job), caution="a region was dropped")

    with caplog.at_level(logging.WARNING):
        Worker(records.jobs, make, [], Tally(), attempts=5).step()
    name = records.spool.name_of(STUDY)[:NAME_DIGITS]
    assert caplog.messages == [f"study {name}: a region was dropped"]


def test_a_study_that_ends_the_node_again_and_again_is_given_up_told_and_counted(
    records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    records.send(1)
    records.send(1, study="1.2.2")
    for _ in range(2):
        records.claim()
        records.jobs.recover()
    tally = Tally()
    worker = Worker(records.jobs, records.make, [], tally, attempts=2)
    with caplog.at_level(logging.WARNING):
        assert worker.step() == 0.0, "the next study does not wait for a further one to come"
    (row,) = records.state.rows("SELECT state, reason FROM study WHERE state != 'queued'")
    assert tuple(row) == ("failed", "the node ended 2 times while it worked on it")
    assert tally.read() == {("studies", "failed"): 1}
    (line,) = caplog.messages
    assert line.endswith(f"failed: {row['reason']}")
    assert worker.step() == 0.0
    assert tally.read() == {("studies", "failed"): 1, ("studies", "done"): 1}
