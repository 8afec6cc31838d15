"""What is removed in the end, and what stays because somebody may still need it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.errors import UsageError
from lgg_runtime.pacs import retention, retries
from lgg_runtime.pacs.config import Retention
from lgg_runtime.pacs.retention import Sweeper
from lgg_runtime.pacs.retries import queue_again
from lgg_runtime.pacs.spool import RemovalError
from stand_ins.records import ARCHIVE, Records

HOUR, DAY = 3600.0, 86400.0


def sweep(records: Records, **keep: float) -> None:
    Sweeper(records.state, records.spool, Retention(**keep)).step()


def files(records: Records, folder: str) -> list[Path]:
    return [path for path in (records.spool.root / folder).rglob("*") if path.is_file()]


def age(records: Records, seconds: float) -> None:
    records.state.rows("UPDATE study SET last_at = last_at - ?", (seconds,))
    records.state.rows("UPDATE result SET made_at = made_at - ?", (seconds,))
    records.state.rows("UPDATE delivery SET sent_at = sent_at - ?", (seconds,))


def test_images_of_a_finished_study_go_at_their_age_and_not_before(records: Records) -> None:
    records.finish(1, 2)
    age(records, 47 * HOUR)
    sweep(records)
    assert len(files(records, "images")) == 2
    age(records, 2 * HOUR)
    sweep(records)
    assert files(records, "images") == []
    assert len(files(records, "results")) == 1
    assert records.states() == ["done"]


@pytest.mark.parametrize(("days", "known"), [(10, 3), (400, 1)])
def test_an_image_that_cannot_be_removed_is_told_and_keeps_its_own_study_alone(
    records: Records, days: int, known: int
) -> None:
    for study in range(3):
        records.finish(1, study=f"1.2.{study}")
    (stays,) = files(records, f"images/{records.spool.name_of('1.2.0')}")
    stays.unlink()
    stays.mkdir()  # which no user may unlink
    age(records, days * DAY)
    told = rf"^{stays}: cannot be removed \(Is a directory\); see to"
    for _ in range(2):
        with pytest.raises(RemovalError, match=told):
            sweep(records, results_hours=24)
    assert files(records, "images") == files(records, "results") == []
    assert len(records.states()) == known
    stays.rmdir()
    sweep(records)
    assert not stays.parent.exists()
    assert len(records.states()) == known // 3 * 3


@pytest.mark.parametrize("state", ["held", "done"])
@pytest.mark.parametrize("days", [365, -365])
def test_a_clock_that_is_set_by_a_year_removes_nothing_for_a_day(
    records: Records, monkeypatch: pytest.MonkeyPatch, state: str, days: int
) -> None:
    """A dead battery, or a server of time that is wrong, is seen to within that day."""
    clock = SimpleNamespace(now=time.time())
    clock.time = lambda: clock.now
    monkeypatch.setattr(retention, "time", clock)
    records.finish(1, 2)
    records.state.rows("UPDATE study SET state = ?", (state,))
    sweep(records)
    clock.now += days * DAY
    sweep(records)
    clock.now += 0.9 * DAY
    sweep(records)  # also after a restart of the node: each sweep here is of a Sweeper of its own
    assert (records.states(), len(files(records, "images"))) == ([state], 2)
    clock.now -= (days + 0.9) * DAY
    sweep(records)
    for _ in range(2):
        clock.now += 0.6 * DAY
        sweep(records)
    assert (records.states(), len(files(records, "images"))) == ([state], 2), "it was mended"
    clock.now += 0.95 * DAY
    sweep(records)
    assert len(files(records, "images")) == (0 if state == "done" else 2), "nothing stays for ever"


def test_a_machine_that_is_on_for_hours_a_week_does_not_keep_images_for_ever(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=time.time())
    clock.time = lambda: clock.now
    monkeypatch.setattr(retention, "time", clock)
    records.finish(1, 2)
    left = []
    for _ in range(3):
        sweep(records)
        left.append(len(files(records, "images")))
        clock.now += 7 * DAY
    assert left == [2, 2, 0]


@pytest.mark.parametrize(
    ("state", "kept"), [("refused", 0), ("failed", 2), ("held", 2), ("queued", 2)]
)
def test_a_study_that_a_person_may_try_again_keeps_its_images(
    records: Records, state: str, kept: int
) -> None:
    records.finish(1, 2)
    records.state.rows("UPDATE study SET state = ?", (state,))
    age(records, 60 * DAY)
    sweep(records)
    assert len(files(records, "images")) == kept


def test_a_study_whose_images_went_is_not_tried_again_without_them(records: Records) -> None:
    records.finish(1, 2)
    records.state.rows("UPDATE study SET state = 'refused'")
    age(records, 49 * HOUR)
    sweep(records)
    (study,) = records.state.rows("SELECT id FROM study")
    with pytest.raises(UsageError, match="2 of its images were removed; send it again"):
        queue_again(records.state, [study["id"]], everything=False, destinations=[])


@pytest.mark.parametrize("days", [60, 400])
def test_a_study_that_grows_while_it_is_removed_keeps_all(
    records: Records, monkeypatch: pytest.MonkeyPatch, days: float
) -> None:
    records.finish(1, 2)
    age(records, days * DAY)
    rows = records.state.rows

    def look(query: str, values: Sequence[Any] = ()) -> list[Any]:
        found = rows(query, values)
        if found and "FROM study" in query:
            rows("UPDATE study SET state = 'receiving', last_at = strftime('%s')")
        return found

    monkeypatch.setattr(records.state, "rows", look)
    sweep(records)
    assert records.states() == ["receiving"]
    assert len(files(records, "images")) == 2


@pytest.mark.parametrize("state", ["waiting", "sending", "given up"])
def test_a_result_that_is_not_sent_stays_and_so_does_its_study(
    records: Records, state: str
) -> None:
    records.finish(1, to=[ARCHIVE.name])
    records.state.rows("UPDATE delivery SET state = ?", (state,))
    age(records, 400 * DAY)
    sweep(records)
    assert len(files(records, "results")) == 1
    assert records.states() == ["done"]


def test_a_result_stays_its_time_after_it_was_sent(records: Records) -> None:
    records.finish(1, to=[ARCHIVE.name])
    age(records, 8 * DAY)
    records.state.rows("UPDATE delivery SET state = 'sent', sent_at = strftime('%s') - 6 * 86400")
    sweep(records)
    assert len(files(records, "results")) == 1
    records.state.rows("UPDATE delivery SET sent_at = strftime('%s') - 8 * 86400")
    sweep(records)
    assert files(records, "results") == []


@pytest.mark.parametrize("state", ["done", "refused", "failed", "held"])
def test_at_last_the_record_goes_with_all_that_is_left(records: Records, state: str) -> None:
    records.finish(1, 2)
    records.state.rows("UPDATE study SET state = ?", (state,))
    age(records, 89 * DAY)
    sweep(records)
    assert records.states() == [state]
    age(records, 2 * DAY)
    sweep(records)
    assert records.states() == []
    assert files(records, "images") == files(records, "results") == []


@pytest.mark.parametrize("state", ["receiving", "queued", "working"])
def test_a_study_that_has_not_ended_is_never_forgotten(records: Records, state: str) -> None:
    records.finish(1, 2)
    records.state.rows("UPDATE study SET state = ?", (state,))
    age(records, 400 * DAY)
    sweep(records)
    assert records.states() == [state]
    assert len(files(records, "images")) == 2


def test_a_retry_gives_all_attempts_anew(records: Records) -> None:
    made = records.finish(1, to=[ARCHIVE.name])
    records.state.rows("UPDATE study SET state = 'failed', attempts = 5, reason = 'no memory'")
    records.state.rows("UPDATE delivery SET state = 'given up', attempts = 20, next_at = 4e9")
    assert queue_again(records.state, [], everything=True, destinations=[ARCHIVE.name]) == 2
    (study,) = records.state.rows("SELECT * FROM study")
    assert (study["state"], study["attempts"], study["reason"]) == ("queued", 0, "")
    (delivery,) = records.state.rows("SELECT * FROM delivery")
    assert (delivery["result"], delivery["state"]) == (made.result, "waiting")
    assert (delivery["attempts"], delivery["next_at"]) == (0, 0)


@pytest.mark.parametrize("state", ["held", "refused"])
def test_a_retry_of_all_takes_no_study_that_is_held_or_refused(
    records: Records, state: str
) -> None:
    records.send(1)
    records.state.rows("UPDATE study SET state = ?", (state,))
    assert queue_again(records.state, [], everything=True, destinations=[]) == 0
    assert records.states() == [state]


def test_a_retry_by_name_is_of_what_was_given_up_and_of_one_study_alone(records: Records) -> None:
    made = records.finish(1, to=["one", "two"])
    other = records.finish(1, to=["one"], study="1.2.9")
    rows = records.state.rows
    rows("UPDATE delivery SET state = CASE destination WHEN 'one' THEN 'given up' ELSE 'sent' END")
    (study,) = rows("SELECT study FROM result WHERE id = ?", (made.result,))
    assert queue_again(records.state, [study["study"]], False, ["one", "two"]) == 1
    found = rows("SELECT result, destination, state FROM delivery")
    assert {(row["result"], row["destination"]): row["state"] for row in found} == {
        (made.result, "one"): "waiting",
        (made.result, "two"): "sent",
        (other.result, "one"): "given up",
    }
    assert records.states() == ["done", "done"], "neither was in trouble"


@pytest.mark.parametrize("everything", [False, True])
def test_a_study_that_is_forgotten_while_it_is_queued_again_is_none(
    records: Records, monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    records.finish(1)
    records.state.rows("UPDATE study SET state = 'failed'")
    age(records, 400 * DAY)
    (study,) = records.state.rows("SELECT id FROM study")
    rows = records.state.rows

    def look(query: str, values: Sequence[Any] = ()) -> list[Any]:
        found = rows(query, values)
        monkeypatch.undo()
        sweep(records)
        return found

    monkeypatch.setattr(records.state, "rows", look)
    names = [] if everything else [study["id"]]
    assert queue_again(records.state, names, everything, destinations=[]) == 0
    assert records.states() == []


def test_many_studies_are_queued_again_in_few_changes_with_room_for_a_node_between(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    change, clock = records.state.change, SimpleNamespace(**vars(time))
    clock.sleep = lambda seconds: happened.append(f"pause of {seconds} s")
    monkeypatch.setattr(retries, "time", clock)
    monkeypatch.setattr(retries, "_AT_A_TIME", 2)
    for number in range(5):
        records.finish(1, to=[ARCHIVE.name], study=f"1.2.{number}")
    records.state.rows("UPDATE study SET state = 'failed'")
    records.state.rows("UPDATE delivery SET state = 'given up'")
    monkeypatch.setattr(records.state, "change", lambda: (happened.append("change"), change())[1])
    assert queue_again(records.state, [], everything=True, destinations=[ARCHIVE.name]) == 10
    pause = "pause of 0.11 s"  # more than the tenth that SQLite waits between two looks
    assert happened == ["change", pause, "change", pause, "change", "change"]
    assert records.states() == ["queued"] * 5
    assert records.states("delivery") == ["waiting"] * 5


def test_a_failed_study_that_is_held_by_its_turn_is_not_taken_with_all(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part of it has come again, over an association that was not released."""
    for number in range(2):
        records.finish(1, study=f"1.2.{number}")
    records.state.rows("UPDATE study SET state = 'failed'")
    hold = "UPDATE study SET state = 'held' WHERE state = 'failed'"
    clock = SimpleNamespace(**vars(time) | {"sleep": lambda _: records.state.rows(hold)})
    monkeypatch.setattr(retries, "time", clock)
    monkeypatch.setattr(retries, "_AT_A_TIME", 1)
    assert queue_again(records.state, [], everything=True, destinations=[]) == 1
    assert sorted(records.states()) == ["held", "queued"]


def test_of_names_of_which_one_is_wrong_none_is_queued(records: Records) -> None:
    records.send(1)
    records.state.rows("UPDATE study SET state = 'held'")
    (study,) = records.state.rows("SELECT id FROM study")
    with pytest.raises(UsageError, match="expected the name of one study, found 0"):
        queue_again(records.state, [study["id"], "f" * 32], everything=False, destinations=[])
    assert records.states() == ["held"]


def test_a_name_of_two_studies_is_refused(records: Records) -> None:
    for end in "12":
        records.state.rows(
            "INSERT INTO study (id, state, last_at) VALUES (?, 'failed', 0)", (f"abc{end}",)
        )
    for name, found in (("abc", 2), ("d", 0)):
        with pytest.raises(
            UsageError, match=f"{name}: expected the name of one study, found {found}"
        ):
            queue_again(records.state, [name], everything=False, destinations=[])
    assert records.states() == ["failed", "failed"]


@pytest.mark.parametrize("name", ["", "%", "a_c", "ABC"])
def test_what_is_no_name_queues_nothing(records: Records, name: str) -> None:
    records.state.rows("INSERT INTO study (id, state, last_at) VALUES ('abc', 'held', 0)")
    with pytest.raises(UsageError, match=f"'{name}': expected the name of a study"):
        queue_again(records.state, [name], everything=False, destinations=[])
    assert records.states() == ["held"]
