"""Trying again what ended without a result, or without being sent, or letting go of it, when a
person asks for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from lgg_runtime.errors import UsageError
from lgg_runtime.pacs.instances import count_lost
from lgg_runtime.pacs.spool import NAME_DIGITS
from lgg_runtime.pacs.state import (
    FAILED,
    GIVEN_UP,
    HELD,
    QUEUED,
    REFUSED,
    TROUBLES,
    WAITING,
    State,
)

_DIGITS = frozenset("0123456789abcdef")
LET_GO = "a person let go of it; what comes of it again, or lgg-node retry, takes it up again"
# Studies to a transaction: a commit waits for the disk, and a running node for the transaction.
# Who waits for one looks every tenth of a second whether it is over.
_AT_A_TIME, _PAUSE_SECONDS = 1000, 0.11


def queue_again(
    state: State, names: Sequence[str], everything: bool, destinations: Sequence[str]
) -> int:
    """Queue studies by the names that `status` shows, and their deliveries that were given up.

    A held study is then taken as it is. everything: all failed studies and all deliveries that
    were given up; destinations: those of the settings, as nobody sends to another. Returns how
    many studies and deliveries were queued. Raises UsageError for a name that is not of exactly
    one study, and for a study whose images were removed.
    """
    studies: list[tuple[str, Collection[str]]] = [(_find(state, name), TROUBLES) for name in names]
    if everything:
        rows = state.rows("SELECT id FROM study WHERE state = ?", (FAILED,))
        studies += [(row["id"], (FAILED,)) for row in rows]
    count = 0
    for begin in range(0, len(studies), _AT_A_TIME):
        if begin:
            time.sleep(_PAUSE_SECONDS)
        with state.change() as run:
            for study, states in studies[begin : begin + _AT_A_TIME]:
                count += _queue(run, study, states)
                if not everything:
                    count += _resend(run, study, destinations)
    if everything:
        with state.change() as run:
            count += _resend(run, None, destinations)
    return count


def let_go(state: State, name: str) -> int:
    """Let go of a study that is held or failed, which is refused then, and of the deliveries of a
    result that were given up, by the name of either in status and log; returns how many.
    """
    if len(name) < NAME_DIGITS or set(name) - _DIGITS:
        return 0
    one = (name, f"{name}g")  # as in `_find`
    with state.change() as run:
        studies: int = run(
            "UPDATE study SET state = ?, reason = ? WHERE id >= ? AND id < ? AND state IN (?, ?)",
            (REFUSED, LET_GO, *one, HELD, FAILED),
        ).rowcount
        deliveries: int = run(
            "DELETE FROM delivery WHERE result >= ? AND result < ? AND state = ?", (*one, GIVEN_UP)
        ).rowcount
    return studies + deliveries


def _find(state: State, name: str) -> str:
    if not name or set(name) - _DIGITS:
        raise UsageError(f"{name!r}: expected the name of a study, as status shows it")
    # By the index: what begins with the name is before the name and a letter above all digits.
    rows = state.rows("SELECT id FROM study WHERE id >= ? AND id < ?", (name, f"{name}g"))
    if len(rows) != 1:
        raise UsageError(f"{name}: expected the name of one study, found {len(rows)}")
    return str(rows[0]["id"])


def _queue(run: Callable[..., Any], study: str, states: Collection[str]) -> int:
    row = run("SELECT state FROM study WHERE id = ?", (study,)).fetchone()
    # Since it was found, retention may have forgotten it, or new images have made it a held one.
    if row is None or row["state"] not in states:
        return 0
    if lost := count_lost(run, study):
        raise UsageError(f"{study[:NAME_DIGITS]}: {lost} of its images were removed; send it again")
    run("UPDATE instance SET confirmed = 1 WHERE study = ? AND NOT confirmed", (study,))
    run(
        "UPDATE study SET state = ?, reason = '', attempts = 0, ready_at = ? WHERE id = ?",
        (QUEUED, time.time(), study),
    )
    return 1


def _resend(run: Callable[..., Any], study: str | None, destinations: Sequence[str]) -> int:
    where = f"destination IN ({', '.join('?' * len(destinations))})"
    if study is not None:
        where += " AND result IN (SELECT id FROM result WHERE study = ?)"
    changed: int = run(
        # The plus keeps SQLite from looking at all that was given up for the sake of one study.
        f"UPDATE delivery SET state = ?, attempts = 0, next_at = 0 WHERE +state = ? AND {where}",
        (WAITING, GIVEN_UP, *destinations, *(() if study is None else (study,))),
    ).rowcount
    return changed
