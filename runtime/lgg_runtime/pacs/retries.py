"""Trying again what ended without a result, or without being sent, when a person asks for it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lgg_runtime.errors import UsageError
from lgg_runtime.pacs.instances import REFUSED_DIGEST
from lgg_runtime.pacs.spool import NAME_DIGITS
from lgg_runtime.pacs.state import FAILED, GIVEN_UP, QUEUED, TROUBLES, WAITING, State


def queue_again(
    state: State, names: Sequence[str], everything: bool, destinations: Sequence[str]
) -> int:
    """Queue studies by the names that `status` shows, and their deliveries that were given up.

    A held study is then taken as it is. everything: all failed studies and all deliveries that
    were given up; destinations: those of the settings, as nobody sends to another. Returns how
    many studies and deliveries were queued. Raises UsageError for a name that is not of exactly
    one study, and for a study whose images were removed.
    """
    count = 0
    for name in names:
        rows = state.rows("SELECT id FROM study WHERE id LIKE ?", (f"{_safe(name)}%",))
        if len(rows) != 1:
            raise UsageError(f"{name}: expected the name of one study, found {len(rows)}")
        study = rows[0]["id"]
        count += _queue(state, study) + _resend(state, study, destinations)
    if everything:
        for row in state.rows("SELECT id FROM study WHERE state = ?", (FAILED,)):
            count += _queue(state, row["id"])
        count += _resend(state, None, destinations)
    return count


def _safe(name: str) -> str:
    if not name or set(name) - set("0123456789abcdef"):
        raise UsageError(f"{name!r}: expected the name of a study, as status shows it")
    return name


def _queue(state: State, study: str) -> int:
    with state.change() as run:
        row = run("SELECT state FROM study WHERE id = ?", (study,)).fetchone()
        if row is None or row["state"] not in TROUBLES:  # retention may have just forgotten it
            return 0
        lost = run(
            "SELECT count(*) FROM instance WHERE study = ? AND NOT present AND digest != ?",
            (study, REFUSED_DIGEST),
        ).fetchone()[0]
        if lost:
            raise UsageError(
                f"{study[:NAME_DIGITS]}: {lost} of its images were removed; send it again"
            )
        run("UPDATE instance SET confirmed = 1 WHERE study = ?", (study,))
        run(
            "UPDATE study SET state = ?, reason = '', attempts = 0, ready_at = ? WHERE id = ?",
            (QUEUED, time.time(), study),
        )
    return 1


def _resend(state: State, study: str | None, destinations: Sequence[str]) -> int:
    where = f"destination IN ({', '.join('?' * len(destinations))})"
    if study is not None:
        where += " AND result IN (SELECT id FROM result WHERE study = ?)"
    with state.change() as run:
        changed: int = run(
            f"UPDATE delivery SET state = ?, attempts = 0, next_at = 0 WHERE state = ? AND {where}",
            (WAITING, GIVEN_UP, *destinations, *(() if study is None else (study,))),
        ).rowcount
    return changed
