"""How a delivery's end is taken, and how long its destination is left alone after it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.pacs import outbox as outbox_module
from lgg_runtime.pacs import sender as sender_module
from lgg_runtime.pacs.outbox import Outbox
from lgg_runtime.pacs.sender import Sender
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.pacs.transport import DeliveryError, Transport
from stand_ins.records import ARCHIVE, RESULT, Records

UNREADABLE = b"a link to itself"
TO = replace(ARCHIVE, first_wait_seconds=7.0, attempts=2)


def make_sender(records: Records, transport: Transport, tally: Tally) -> Sender:
    outbox = Outbox(records.state, records.spool, TO)
    return Sender(TO, outbox, transport, tally)


def send_another(records: Records, name: str, seconds: float, to: str = TO.name) -> None:
    """A result of the same study, made so many seconds after the first one, that was sent there. By
    the clock it is older all the same, which was set back meanwhile.
    """
    records.state.rows(
        "INSERT INTO result SELECT ?, study, digest, 1, 0, 0, 0, made_at - 60, 1 FROM result",
        (name,),
    )
    records.state.rows("UPDATE result SET rowid = rowid + ? WHERE id = ?", (3 * seconds, name))
    records.state.rows(
        "INSERT INTO delivery (result, destination, state, next_at) VALUES (?, ?, 'sent', 0)",
        (name, to),
    )


def test_a_result_is_sent_once(records: Records) -> None:
    seen = []

    def send(path: Path, is_unsure: bool) -> None:
        seen.append((path.read_bytes(), is_unsure))

    tally = Tally()
    records.finish(1, to=[TO.name])
    sender = make_sender(records, send, tally)
    assert [sender.step(), sender.step()] == [0.0, None]
    assert seen == [(RESULT, False)]
    assert tally.read() == {("deliveries", "archive", "sent"): 1}


@pytest.mark.parametrize(
    ("failure", "wait", "is_unsure"),
    [
        (DeliveryError("cannot be reached", is_passing=True), 7.0, False),
        (DeliveryError("was silent", is_passing=True, is_unsure=True), 7.0, True),
        (DeliveryError("does not take this one"), 0.0, False),
        (KeyError("a defect"), 0.0, True),
    ],
    ids=repr,
)
def test_only_a_failure_that_concerns_every_result_stops_the_others_meanwhile(
    records: Records, failure: Exception, wait: float, is_unsure: bool
) -> None:
    def send(_path: Path, _is_unsure: bool) -> None:
        raise failure

    tally = Tally()
    records.finish(1, to=[TO.name])
    assert make_sender(records, send, tally).step() == wait
    (row,) = records.state.rows("SELECT * FROM delivery")
    assert (row["state"], bool(row["unsure"])) == ("waiting", is_unsure)
    expected = "KeyError" if isinstance(failure, KeyError) else str(failure)
    assert row["reason"] == expected
    assert tally.read() == {("deliveries", "archive", "failed"): 1}


def test_a_destination_is_left_alone_for_its_wait_whatever_wakes_its_sender(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, now = [], [1000.0]

    def send(path: Path, _is_unsure: bool) -> None:
        tried.append((path.stem, now[0]))
        if now[0] < 1007:
            raise DeliveryError("cannot be reached", is_passing=True)

    monkeypatch.setattr(sender_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    first = records.finish(1, to=[TO.name])
    sender = make_sender(records, send, Tally())
    assert sender.step() == 7.0
    second = records.finish(1, to=[TO.name], study="1.2.9")
    assert sender.step() == 7.0
    now[0] = 1006.5
    assert sender.step() == 0.5
    now[0] = 1007.0
    assert [sender.step(), sender.step()] == [0.0, None]
    assert tried == [(first.result, 1000.0), (second.result, 1007.0)]


def test_a_result_that_fails_after_another_was_taken_does_not_hold_up_the_others(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, now, is_down = [], [time.time() + 60], False

    def send(path: Path, _is_unsure: bool) -> None:
        tried.append(names[path.stem])
        if is_down or names[path.stem] == "never":
            raise DeliveryError("has no room", is_passing=True)

    clock = SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0])
    monkeypatch.setattr(sender_module, "time", clock)
    monkeypatch.setattr(outbox_module, "time", clock)
    patient = replace(TO, attempts=20)
    sender = Sender(patient, Outbox(records.state, records.spool, patient), send, Tally())
    names = {records.finish(1, to=[TO.name]).result: "never"}
    assert sender.step() == 7.0
    names[records.finish(1, to=[TO.name], study="1.2.9").result] = "first"
    now[0] += 7.0
    assert [sender.step(), sender.step()] == [0.0, 0.0]
    names[records.finish(1, to=[TO.name], study="1.2.10").result] = "second"
    assert [sender.step(), sender.step()] == [0.0, None]
    assert tried == ["never", "first", "never", "second"]
    # Once more it has failed before "second" was taken. Then the destination itself takes nothing.
    is_down = True
    now[0] += 14.0
    assert sender.step() == 0.0
    names[records.finish(1, to=[TO.name], study="1.2.11").result] = "third"
    assert sender.step() == 7.0
    now[0] += 28.0
    assert sender.step() == 7.0 * 2
    now[0] += 14.0
    assert sender.step() == 7.0 * 8


def test_after_one_that_is_given_up_the_next_has_its_turn(records: Records) -> None:
    sent = []

    def send(path: Path, _is_unsure: bool) -> None:
        sent.append(path.stem)
        if path.stem == first.result:
            raise DeliveryError("cannot be reached", is_passing=True)

    first = records.finish(1, to=[TO.name])
    records.state.rows("UPDATE delivery SET attempts = 1")
    second = records.finish(1, to=[TO.name], study="1.2.9")
    sender = make_sender(records, send, Tally())
    assert [sender.step(), sender.step()] == [None, 0.0]
    assert sent == [first.result, second.result]
    assert records.states("delivery") == ["given up", "sent"]


@pytest.mark.parametrize(
    ("damaged", "is_unsure"),
    [(None, 0), (RESULT[:-1], 1), (b"", 0), (RESULT[:-1] + b"?", 0), (UNREADABLE, 0)],
)
def test_a_result_whose_file_is_lost_is_made_again_and_then_sent(
    records: Records, damaged: bytes | None, is_unsure: int
) -> None:
    seen: list[tuple[bytes, bool]] = []
    made = records.finish(1, to=[TO.name])
    records.state.rows("UPDATE delivery SET unsure = ?", (is_unsure,))
    path = records.spool.result(made.result)
    path.unlink()
    if damaged == UNREADABLE:
        path.symlink_to(path)
    elif damaged is not None:
        path.write_bytes(damaged)
    sender = make_sender(
        records, lambda *sent: seen.append((sent[0].read_bytes(), sent[1])), Tally()
    )
    assert sender.step() == 0.0
    assert sender.step() is None, "it waits meanwhile"
    for _ in range(2 * TO.attempts):  # to wait for it is no attempt
        (row,) = records.state.rows("SELECT state, reason, unsure, attempts FROM delivery")
        assert tuple(row) == ("waiting", "its file was lost; it is made again", is_unsure, 0)
        records.state.rows("UPDATE delivery SET next_at = 0")
        sender.step()
    job = records.claim()
    assert job.interrupted == 0
    assert not records.jobs.complete(job, records.make(job, b"anew"), [TO.name]), "it is known"
    records.state.rows("UPDATE delivery SET next_at = 0")
    sender.step()
    assert seen == [(b"anew", bool(is_unsure))]
    assert (records.states("delivery"), records.states()) == (["sent"], ["done"])


def test_a_lost_result_is_dropped_where_a_later_one_goes_to_the_same_place(
    records: Records,
) -> None:
    made = records.finish(1, to=[TO.name, "elsewhere"])
    records.spool.result(made.result).unlink()
    send_another(records, "later", 1)
    tally = Tally()
    assert make_sender(records, lambda *_: None, tally).step() == 0.0
    left = records.state.rows("SELECT result, destination, state FROM delivery ORDER BY result")
    assert [tuple(row) for row in left] == sorted(
        [(made.result, "elsewhere", "waiting"), ("later", TO.name, "sent")]
    )
    assert tally.read() == {}


def test_a_lost_result_is_not_dropped_for_a_later_one_that_goes_elsewhere(
    records: Records,
) -> None:
    made = records.finish(1, to=[TO.name])
    records.spool.result(made.result).unlink()
    send_another(records, "later", 1, "elsewhere")
    make_sender(records, lambda *_: None, Tally()).step()
    (row,) = records.state.rows("SELECT result, reason FROM delivery WHERE destination = 'archive'")
    assert row["result"] == made.result
    assert row["reason"].startswith("its file is gone, and it is not made again")


def test_a_lost_result_is_not_given_up_for_an_earlier_one(records: Records) -> None:
    made = records.finish(1, to=[TO.name])
    records.spool.result(made.result).unlink()
    send_another(records, "earlier", -1)
    make_sender(records, lambda *_: None, Tally()).step()
    left = records.state.rows("SELECT result FROM delivery WHERE destination = ?", (TO.name,))
    assert sorted(row["result"] for row in left) == sorted([made.result, "earlier"])


@pytest.mark.parametrize(
    ("change", "hindrance"),
    [
        (
            "UPDATE instance SET present = 0",
            "its images were removed as well: send the study again",
        ),
        ("UPDATE study SET state = 'held'", "its study is held"),
        (
            "INSERT INTO result "
            "SELECT 'later', study, digest, 1, 0, 0, 0, made_at + 1, 1 FROM result",
            "a later result of its study takes its place",
        ),
    ],
)
def test_a_lost_result_that_cannot_be_made_again_says_why_and_is_given_up(
    records: Records, change: str, hindrance: str
) -> None:
    made = records.finish(1, to=[TO.name])
    records.spool.result(made.result).unlink()
    records.state.rows(change)
    sender = make_sender(records, lambda *_: None, Tally())
    for _ in range(TO.attempts):
        records.state.rows("UPDATE delivery SET next_at = 0")
        sender.step()
    (row,) = records.state.rows("SELECT state, reason FROM delivery")
    assert tuple(row) == ("given up", f"its file is gone, and it is not made again: {hindrance}")
    assert "queued" not in records.states()
