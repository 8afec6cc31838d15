"""When a study is quiet, and what is told of one that is held."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.errors import ResourceError
from lgg_runtime.pacs import intake as module
from lgg_runtime.pacs.arrival import Arrival
from lgg_runtime.pacs.intake import DUPLICATE, REFUSED_OBJECT, STORED, Intake
from lgg_runtime.pacs.retries import let_go
from stand_ins.records import STUDY, Records

ONE = f"{STUDY}.1"


def reason_of(records: Records) -> str:
    (row,) = records.state.rows("SELECT state, reason FROM study")
    assert row["state"] == "held"
    return str(row["reason"])


def test_the_quiet_time_begins_anew_with_the_end_of_an_association(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, time=lambda: now))
    records.intake = Intake(records.state, records.spool, quiet_seconds=10.0)
    session = records.associate()
    records.bring(session, 1)
    now = 108.0
    records.intake.release(session)
    now = 111.0
    assert records.intake.settle() == 7.0
    assert records.states() == ["receiving"]
    now = 118.0
    assert records.intake.settle() is None
    assert records.states() == ["queued"]


def test_a_held_study_tells_of_an_object_that_was_refused_since(records: Records) -> None:
    first = records.associate()
    records.bring(first, 1, 2)
    records.intake.close_session(first)
    records.intake.settle()
    assert reason_of(records).startswith("2 of its images came over associations that were not")
    second = records.associate()
    records.bring(second, 1)
    second.has_refusals = True
    records.intake.release(second)
    assert reason_of(records) == REFUSED_OBJECT


def test_a_held_study_that_a_person_let_go_of_is_taken_up_again_once_it_comes_whole(
    records: Records,
) -> None:
    broken = records.associate()
    records.bring(broken, 1, 2)
    records.intake.close_session(broken)
    records.intake.settle()
    (row,) = records.state.rows("SELECT id, state FROM study")
    assert row["state"] == "held"
    assert let_go(records.state, row["id"][:11]) == 0, "shorter than status shows it"
    assert let_go(records.state, row["id"][:12]) == 1
    assert records.states() == ["refused"]
    assert let_go(records.state, row["id"]) == 0
    records.send(1, 2)
    assert records.states() == ["queued"]
    records.jobs.end(records.claim(), "refused", "a gap")
    records.send(1, 2)
    assert records.states() == ["refused"]


def test_a_failed_study_that_a_person_let_go_of_is_taken_up_again_once_it_comes_again(
    records: Records,
) -> None:
    records.send(1, 2)
    records.jobs.end(records.claim(), "failed", "no memory")
    records.send(1, 2)
    (row,) = records.state.rows("SELECT id, state FROM study")
    assert row["state"] == "failed"
    assert let_go(records.state, row["id"]) == 1
    records.send(1, 2)
    assert records.states() == ["queued"]


def test_a_study_waits_for_no_association_that_ended_unseen(records: Records) -> None:
    is_open = True
    session = records.intake.open_session(lambda: is_open)
    records.bring(session, 1)
    assert records.intake.settle() == 0.1, "it does not look without a pause"
    assert records.states() == ["receiving"]
    is_open = False
    records.intake.settle()
    assert records.states() == ["held"]
    records.intake.close_session(session)  # as where its end is told late


def test_an_image_that_comes_as_its_study_is_queued_is_awaited(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_one, late = records.intake._settle_one, []

    def settle_and_receive(study: str) -> bool:
        is_settled = settle_one(study)
        if not late:
            late.append(records.intake.open_session(lambda: False))  # it ends unseen
            records.bring(late[0], 2)
        return is_settled

    monkeypatch.setattr(records.intake, "_settle_one", settle_and_receive)
    records.send(1)
    assert records.states() == ["receiving"]
    records.intake.settle()
    assert records.states() == ["held"]


def test_a_study_that_was_forgotten_is_awaited_no_more(records: Records) -> None:
    session = records.associate()
    records.bring(session, 1)
    records.intake.release(session)
    records.state.rows("DELETE FROM study")
    assert records.intake.settle() is None


def test_an_image_that_two_associations_bring_at_once_is_kept_once(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, writes, outcomes = records.spool.keep_image, [], []

    def keep_slowly(study: str, instance: str, data: bytes) -> None:
        writes.append(instance)
        if len(writes) == 1:
            second.start()
            second.join(0.5)  # it would be through, if it did not wait
        keep(study, instance, data)

    def bring() -> None:
        arrival = Arrival(STUDY, ONE, b"file", b"body")
        outcomes.append(records.intake.keep(records.associate(), arrival))

    second = threading.Thread(target=bring, daemon=True)
    monkeypatch.setattr(records.spool, "keep_image", keep_slowly)
    bring()
    second.join(20)
    assert not second.is_alive()
    assert outcomes == [STORED, DUPLICATE]
    assert len(writes) == 1


@pytest.mark.parametrize("is_known", [False, True])
def test_of_an_image_that_the_disk_does_not_take_nothing_is_recorded(
    records: Records, is_known: bool
) -> None:
    if is_known:
        records.send(1)
        records.spool.remove_images(records.spool.name_of(STUDY), [records.spool.name_of(ONE)])
        records.state.rows("UPDATE instance SET present = 0")
    (records.spool.root / "images" / records.spool.name_of(STUDY)).touch()  # in a folder's place
    before = [tuple(row) for row in records.state.rows("SELECT * FROM instance")]
    with pytest.raises(ResourceError):
        records.bring(records.associate(), 1)
    assert [tuple(row) for row in records.state.rows("SELECT * FROM instance")] == before


def test_where_the_spools_disk_is_away_nothing_is_written_in_the_folder_below_it(
    records: Records,
) -> None:
    away, root = records.spool.root.with_name("away"), records.spool.root
    root.rename(away)
    session = records.associate()
    with pytest.raises(ResourceError, match="was removed or replaced meanwhile"):
        records.bring(session, 1)
    assert not root.exists()
    away.rename(root)
    records.bring(session, 1)
    records.intake.release(session)
    records.intake.settle()
    assert records.states() == ["queued"]
