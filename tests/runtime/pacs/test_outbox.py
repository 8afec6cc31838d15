"""What waits for a destination: its order, its attempts, and what is known of it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.errors import UsageError
from lgg_runtime.pacs.outbox import Outbox, find_orphans, forget_orphans
from lgg_runtime.pacs.retries import let_go
from stand_ins.records import ARCHIVE, Records

SECOND = replace(ARCHIVE, name="second")
BOTH = (ARCHIVE.name, SECOND.name)


def open_outbox(records: Records, **changed: float) -> Outbox:
    return Outbox(records.state, records.spool, replace(ARCHIVE, **changed))


def test_what_is_due_longest_goes_first_and_each_once(records: Records) -> None:
    made = [records.finish(1, to=BOTH, study=f"1.2.{n}").result for n in range(3)]
    outbox = open_outbox(records)
    claimed = [outbox.claim() for _ in range(4)]
    assert [one and one.result for one in claimed] == [*made, None]
    assert [one.path.read_bytes() for one in claimed if one] == [b"result"] * 3


def test_what_is_sent_to_one_destination_waits_for_the_other(records: Records) -> None:
    records.finish(1, to=BOTH)
    outbox = open_outbox(records)
    delivery = outbox.claim()
    assert delivery is not None
    outbox.record_sent(delivery)
    rows = records.state.rows("SELECT destination, state FROM delivery ORDER BY destination")
    assert [tuple(row) for row in rows] == [("archive", "sent"), ("second", "waiting")]


def test_what_a_kill_interrupted_waits_again_for_its_own_destination_alone(
    records: Records,
) -> None:
    records.finish(1, to=BOTH)
    first, second = open_outbox(records), Outbox(records.state, records.spool, SECOND)
    assert first.claim() is not None
    assert second.claim() is not None
    first.recover()
    again = first.claim()
    assert again is not None
    assert (again.attempts, again.is_unsure) == (2, True)
    assert second.claim() is None


def test_the_wait_doubles_up_to_its_bound_and_is_kept(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.finish(1, to=BOTH)
    outbox = open_outbox(records, first_wait_seconds=5.0, longest_wait_seconds=30.0)
    now = time.time() + 1
    monkeypatch.setattr("lgg_runtime.pacs.outbox.time.time", lambda: now)
    waits = []
    for _ in range(5):
        delivery = outbox.claim()
        assert delivery is not None
        wait = outbox.record_failure(delivery, "cannot be reached", is_unsure=False)
        assert wait is not None
        waits.append(wait)
        now += wait - 0.1
        assert outbox.claim() is None
        now += 0.2
    assert waits == [5, 10, 20, 30, 30]


def test_what_was_recorded_by_a_clock_ahead_does_not_wait_for_that_time(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.finish(1, to=BOTH)
    outbox = open_outbox(records, first_wait_seconds=5.0, longest_wait_seconds=30.0)
    now = time.time()
    monkeypatch.setattr("lgg_runtime.pacs.outbox.time.time", lambda: now + 3 * 86400)
    delivery = outbox.claim()
    assert delivery is not None
    outbox.record_failure(delivery, "cannot be reached", is_unsure=False)
    assert outbox.claim() is None
    monkeypatch.setattr("lgg_runtime.pacs.outbox.time.time", lambda: now)
    assert outbox.claim() is not None


def test_it_is_given_up_after_its_attempts(records: Records) -> None:
    records.finish(1, to=BOTH)
    outbox = open_outbox(records, attempts=2, first_wait_seconds=0.0)
    waits = []
    while (delivery := outbox.claim()) is not None:
        waits.append(outbox.record_failure(delivery, "no room", is_unsure=False))
    assert waits == [0.0, None]
    (row,) = records.state.rows("SELECT * FROM delivery WHERE destination = ?", (ARCHIVE.name,))
    assert (row["state"], row["reason"], row["attempts"]) == ("given up", "no room", 2)


def test_results_of_a_destination_that_is_gone_are_told_and_forgotten(records: Records) -> None:
    records.finish(1, to=BOTH)
    records.finish(1, to=BOTH, study="1.2.9")
    sent = open_outbox(records).claim()
    assert sent is not None
    open_outbox(records).record_sent(sent)
    assert find_orphans(records.state, BOTH) == []
    told = find_orphans(records.state, [SECOND.name])
    assert told == [
        "1 unsent result for archive, which the settings do not name; name it again, or "
        "lgg-node forget archive"
    ]
    with pytest.raises(UsageError, match="second: the settings name it"):
        forget_orphans(records.state, SECOND.name, [SECOND.name])
    assert forget_orphans(records.state, ARCHIVE.name, [SECOND.name]) == 1
    assert find_orphans(records.state, [SECOND.name]) == []
    assert sorted(records.states("delivery")) == ["sent", "waiting", "waiting"]


def test_a_person_lets_go_of_a_result_where_it_was_given_up_alone(records: Records) -> None:
    made = records.finish(1, to=BOTH)
    outbox = open_outbox(records, attempts=1)
    delivery = outbox.claim()
    assert delivery is not None
    assert outbox.record_failure(delivery, "refuses it", is_unsure=False) is None
    assert let_go(records.state, made.result[:12]) == 1
    assert [
        tuple(row) for row in records.state.rows("SELECT destination, state FROM delivery")
    ] == [(SECOND.name, "waiting")]
