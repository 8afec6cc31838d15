"""Results on their way to each destination, through failures and kills."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lgg_runtime.errors import UsageError
from lgg_runtime.pacs.config import Destination
from lgg_runtime.pacs.instances import count_lost
from lgg_runtime.pacs.spool import Spool
from lgg_runtime.pacs.state import (
    DONE,
    GIVEN_UP,
    QUEUED,
    SENDING,
    SENT,
    WAITING,
    WORKING,
    State,
)
from lgg_runtime.plural import count


@dataclass(frozen=True)
class Delivery:
    """One result on its way. digest: the SHA-256 of its file; attempts: with this one; is_unsure:
    the result may be there from an earlier attempt, whose answer was not heard.
    """

    result: str
    path: Path
    digest: str
    attempts: int
    is_unsure: bool


def find_orphans(state: State, destinations: Collection[str]) -> list[str]:
    """A line for each destination with results to send that is none of these: nobody sends them."""
    rows = state.rows(
        "SELECT destination, count(*) AS n FROM delivery WHERE state != ? "
        "GROUP BY destination ORDER BY destination",
        (SENT,),
    )
    return [
        f"{count(row['n'], 'unsent result')} for {row['destination']}, which the settings do not "
        f"name; name it again, or lgg-node forget {row['destination']}"
        for row in rows
        if row["destination"] not in destinations
    ]


def forget_orphans(state: State, name: str, destinations: Collection[str]) -> int:
    """Forget the results that wait for a destination of the past; returns how many.

    Raises UsageError for one of these destinations.
    """
    if name in destinations:
        raise UsageError(f"{name}: the settings name it; take it out of them first")
    return state.execute("DELETE FROM delivery WHERE destination = ? AND state != ?", (name, SENT))


class Outbox:
    """What has to be sent to one destination.

    A delivery is recorded as begun before its first byte leaves, and as sent after the peer said
    so. What was begun and has no known end is asked for before it is sent again.
    """

    def __init__(self, state: State, spool: Spool, destination: Destination):
        self._state, self._spool, self._to = state, spool, destination

    def recover(self) -> None:
        """What an earlier process was sending, or a sender could not record, waits again."""
        self._state.execute(
            "UPDATE delivery SET state = ?, next_at = 0 WHERE state = ? AND destination = ?",
            (WAITING, SENDING, self._to.name),
        )

    def claim(self) -> Delivery | None:
        """The delivery that is due longest, recorded as begun; None where none is due.

        One that would wait longer than any wait is due: the clock was ahead when it was recorded.
        """
        now = time.time()
        with self._state.change() as run:
            row = run(
                "SELECT delivery.*, digest FROM delivery JOIN result ON result.id = result "
                "WHERE state = ? AND destination = ? AND (next_at <= ? OR next_at > ?) "
                "ORDER BY next_at LIMIT 1",
                (WAITING, self._to.name, now, now + self._to.longest_wait_seconds),
            ).fetchone()
            if row is None:
                return None
            run(
                "UPDATE delivery SET state = ?, attempts = attempts + 1, unsure = 1 "
                "WHERE result = ? AND destination = ?",
                (SENDING, row["result"], self._to.name),
            )
        path = self._spool.result(row["result"])
        return Delivery(
            row["result"], path, row["digest"], row["attempts"] + 1, bool(row["unsure"])
        )

    def have_made_again(self, delivery: Delivery) -> str:
        """Queue the study of a result whose file is lost, and let the delivery wait for it, which
        is no attempt; returns why that cannot be, empty where it can.
        """
        with self._state.change() as run:
            row = run(
                "SELECT study.id, study.state, result.id = (SELECT latest.id FROM result AS latest "
                "WHERE latest.study = study.id ORDER BY latest.rowid DESC LIMIT 1) AS is_latest "
                "FROM result JOIN study ON study.id = result.study WHERE result.id = ?",
                (delivery.result,),
            ).fetchone()
            if not row["is_latest"]:
                return "a later result of its study takes its place"
            if count_lost(run, row["id"]):
                return "its images were removed as well: send the study again"
            if row["state"] not in (DONE, QUEUED, WORKING):
                return f"its study is {row['state']}"
            now = time.time()
            run(
                "UPDATE study SET state = ?, attempts = 0, ready_at = ? WHERE id = ? AND state = ?",
                (QUEUED, now, row["id"], DONE),
            )
            run(
                "UPDATE delivery SET state = ?, attempts = attempts - 1, unsure = ?, next_at = ?, "
                "reason = 'its file was lost; it is made again' "
                "WHERE result = ? AND destination = ?",
                (WAITING, delivery.is_unsure, now + self._to.first_wait_seconds,
                 delivery.result, self._to.name),
            )  # fmt: skip
        return ""

    def drop_replaced(self, delivery: Delivery) -> bool:
        """Forget a delivery whose study has a later result on its way to this destination, or
        there; returns whether it was one.
        """
        dropped = self._state.execute(
            "DELETE FROM delivery WHERE result = ? AND destination = ? AND EXISTS "
            "(SELECT 1 FROM result JOIN result AS later ON later.study = result.study AND "
            "later.rowid > result.rowid JOIN delivery AS its ON its.result = later.id "
            "WHERE result.id = delivery.result AND its.destination = delivery.destination)",
            (delivery.result, self._to.name),
        )
        return bool(dropped)

    def record_sent(self, delivery: Delivery) -> None:
        self._record(delivery, {"state": SENT, "reason": "", "sent_at": time.time()})

    def record_failure(self, delivery: Delivery, reason: str, is_unsure: bool) -> float | None:
        """Wait and try again; returns the seconds, or None where it was given up.

        is_unsure: whether the peer may have taken it all the same.
        """
        unsure = is_unsure or delivery.is_unsure
        if delivery.attempts >= self._to.attempts:
            self._record(delivery, {"state": GIVEN_UP, "reason": reason, "unsure": unsure})
            return None
        doublings = min(delivery.attempts - 1, 60)
        wait = min(self._to.first_wait_seconds * 2.0**doublings, self._to.longest_wait_seconds)
        changes = {"state": WAITING, "reason": reason, "unsure": unsure}
        self._record(delivery, changes | {"next_at": time.time() + wait})
        return wait

    def _record(self, delivery: Delivery, changes: dict[str, object]) -> None:
        columns = ", ".join(f"{name} = ?" for name in changes)
        self._state.execute(
            f"UPDATE delivery SET {columns} WHERE result = ? AND destination = ?",
            (*changes.values(), delivery.result, self._to.name),
        )
