"""Records of images that come late, or again after their files were removed or lost."""

from __future__ import annotations

import pytest

pytest.importorskip("pynetdicom")

from stand_ins.records import STUDY, Records

ONE = f"{STUDY}.1"


def lose(records: Records, uid: str) -> None:
    records.spool.image(records.spool.name_of(STUDY), records.spool.name_of(uid)).unlink()


def test_a_study_that_grows_after_its_images_were_removed_is_kept_for_its_time_again(
    records: Records,
) -> None:
    records.finish(1)
    records.state.rows("UPDATE study SET purged = 1")
    records.send(1, 2)
    (row,) = records.state.rows("SELECT purged, state FROM study")
    assert (row["purged"], row["state"]) == (0, "queued")


def test_an_image_that_comes_again_after_its_file_was_removed_is_there_again(
    records: Records,
) -> None:
    records.finish(1)
    lose(records, ONE)
    records.state.rows("UPDATE instance SET present = 0")
    records.state.rows("UPDATE study SET purged = 1")
    records.send(1)
    (row,) = records.state.rows(
        "SELECT present, purged FROM instance JOIN study ON study = study.id"
    )
    assert (row["present"], row["purged"]) == (1, 0)


def test_a_study_whose_lost_image_comes_again_while_it_is_worked_on_is_done_once_more(
    records: Records,
) -> None:
    records.send(1, 2)
    job = records.claim()
    lose(records, ONE)
    records.send(1)
    records.jobs.complete(job, records.make(job), [])
    assert records.states() == ["receiving"]


def test_a_lost_image_is_not_confirmed_by_an_association_that_is_not_released(
    records: Records,
) -> None:
    for _ in range(2):
        session = records.associate()
        records.bring(session, 1)
        records.intake.close_session(session)
        lose(records, ONE)
    records.intake.settle()
    assert records.states() == ["held"]
