"""Complete studies, one at a time, from the queue to a recorded result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgg_runtime.pacs.spool import Spool
from lgg_runtime.pacs.state import DONE, QUEUED, RECEIVING, WAITING, WORKING, State

# Two values: the state of a study that got new images since work on it began, and of one that did
# not. The former is received again, because more of it may be on its way.
_ENDS_AS = "state = CASE WHEN generation > done_generation THEN ? ELSE ? END"


@dataclass(frozen=True)
class Job:
    """A study to segment: its images as they were when work on it began. digests: the SHA-256 of
    each file as it was written, in hexadecimal digits; interrupted: how often a kill ended the work
    on it since it last grew.
    """

    study: str
    files: tuple[Path, ...]
    digests: tuple[str, ...]
    last_at: float
    ready_at: float
    started_at: float
    interrupted: int


@dataclass(frozen=True)
class Made:
    """A result whose file is on the disk. result: its name in the spool; digest: the SHA-256 of
    the file, in hexadecimal digits; caution: as `ScanResult.caution`.
    """

    result: str
    digest: str
    slices: int
    made_at: float
    caution: str = ""


class Jobs:
    """The queue. A job that a kill interrupted comes again."""

    def __init__(self, state: State, spool: Spool):
        self._state, self._spool = state, spool

    def recover(self) -> None:
        """At the start, before an Intake looks: what an earlier process was working on is queued
        again, or awaited where it grew meanwhile.
        """
        self._state.execute(
            f"UPDATE study SET {_ENDS_AS} WHERE state = ?", (RECEIVING, QUEUED, WORKING)
        )

    def claim(self) -> Job | None:
        """The study that has waited longest, now being worked on; None where none waits."""
        now = time.time()
        with self._state.change() as run:
            row = run(
                "SELECT * FROM study WHERE state = ? ORDER BY ready_at LIMIT 1", (QUEUED,)
            ).fetchone()
            if row is None:
                return None
            run(
                "UPDATE study SET state = ?, attempts = attempts + 1, started_at = ?, "
                "done_generation = generation WHERE id = ?",
                (WORKING, now, row["id"]),
            )
            found = run(
                "SELECT id, file FROM instance WHERE study = ? AND confirmed AND present "
                "ORDER BY id",
                (row["id"],),
            ).fetchall()
        files = tuple(self._spool.image(row["id"], one["id"]) for one in found)
        digests = tuple(one["file"] for one in found)
        last_at, ready_at, attempts = (row[name] for name in ("last_at", "ready_at", "attempts"))
        return Job(row["id"], files, digests, last_at, ready_at, now, attempts)

    def complete(self, job: Job, made: Made, destinations: Sequence[str]) -> bool:
        """Record a result and where it has to be sent; returns whether the result is a new one."""
        with self._state.change() as run:
            inserted = run(
                "INSERT INTO result (id, study, digest, slices, last_at, ready_at, started_at, "
                "made_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (made.result, job.study, made.digest, made.slices, job.last_at, job.ready_at,
                 job.started_at, made.made_at),
            ).rowcount  # fmt: skip
            for destination in destinations if inserted else ():
                run(
                    "INSERT INTO delivery (result, destination, state, next_at) "
                    "VALUES (?, ?, ?, ?)",
                    (made.result, destination, WAITING, made.made_at),
                )
            # The file of a known result, which was removed or lost, is another one now.
            run(
                "UPDATE result SET present = 1, digest = ? WHERE id = ?",
                (made.digest, made.result),
            )
            self._end(run, job, DONE, made.caution)
        return bool(inserted)

    def end(self, job: Job, state: str, reason: str) -> None:
        """Record that a study has no result, until more of it comes or a person tries it again.

        state: REFUSED or FAILED.
        """
        with self._state.change() as run:
            self._end(run, job, state, reason)

    def put_back(self, job: Job) -> None:
        """Queue a study again, as it was, where work on it failed for a reason beside the study.

        One that got new images meanwhile is received again. Does nothing to a study whose end is
        recorded.
        """
        self._state.execute(
            f"UPDATE study SET {_ENDS_AS}, attempts = attempts - 1 WHERE id = ? AND state = ?",
            (RECEIVING, QUEUED, job.study, WORKING),
        )

    def _end(self, run: Callable[..., Any], job: Job, state: str, reason: str) -> None:
        run(
            f"UPDATE study SET {_ENDS_AS}, reason = ?, ended_at = ? WHERE id = ?",
            (RECEIVING, state, reason, time.time(), job.study),
        )
