"""Which study is worked on next, and on which images; what is told of one that is refused."""

from __future__ import annotations

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.errors import InputError, LggError, ModelError
from lgg_runtime.pacs.jobs import Job, Made
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.pacs.worker import Worker
from stand_ins.records import STUDY, Records

LATER = "1.2.9"


def test_the_study_that_has_waited_longest_is_the_next(records: Records) -> None:
    for study in (LATER, STUDY):
        records.send(1, study=study)
    records.state.rows(
        "UPDATE study SET ready_at = ready_at + 60 WHERE id = ?", (records.spool.name_of(LATER),)
    )
    assert [records.claim().study for _ in range(2)] == [
        records.spool.name_of(study) for study in (STUDY, LATER)
    ]


@pytest.mark.parametrize("column", ["confirmed", "present"])
def test_a_job_is_of_the_images_that_are_confirmed_and_there(records: Records, column: str) -> None:
    records.send(1, 2, 3)
    lost = records.spool.name_of(f"{STUDY}.2")
    records.state.rows(f"UPDATE instance SET {column} = 0 WHERE id = ?", (lost,))
    job = records.claim()
    assert {path.stem for path in job.files} == {
        records.spool.name_of(f"{STUDY}.{image}") for image in (1, 3)
    }
    assert len(job.digests) == 2


def test_a_study_whose_end_is_recorded_is_not_put_back(records: Records) -> None:
    records.send(1)
    job = records.claim()
    records.jobs.complete(job, records.make(job), ())
    records.jobs.put_back(job)
    (row,) = records.state.rows("SELECT state, attempts FROM study")
    assert tuple(row) == ("done", 1)


def test_a_study_that_grew_has_all_its_attempts_again(records: Records) -> None:
    records.finish(1)
    records.state.rows("UPDATE study SET attempts = 4")
    records.send(2)
    assert [row["attempts"] for row in records.state.rows("SELECT attempts FROM study")] == [0]


@pytest.mark.parametrize(("kind", "state"), [(InputError, "refused"), (ModelError, "failed")])
def test_what_is_told_of_a_study_without_a_result_is_why_and_holds_no_uid(
    records: Records, kind: type[LggError], state: str
) -> None:
    uid = "1.2.826.0.1.3680043.8.498.123456789"

    def refuse(_job: Job) -> Made:
        raise kind(f"series {uid}: no FLAIR")

    records.send(1)
    assert Worker(records.jobs, refuse, [], Tally(), 5).step() == 0.0
    (row,) = records.state.rows("SELECT state, reason FROM study")
    assert row["state"] == state
    assert uid not in row["reason"]
    assert row["reason"].endswith(": no FLAIR")
