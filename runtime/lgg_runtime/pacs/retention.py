"""What the node forgets, and when: images, results, and at last the record of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from lgg_runtime.pacs.config import DAY_SECONDS, Retention
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.spool import RemovalError, Spool
from lgg_runtime.pacs.state import DONE, FAILED, HELD, REFUSED, SENT, State

EVERY_SECONDS = 60.0
_SETTLED = (DONE, REFUSED)
_ENDED = (*_SETTLED, HELD, FAILED)


class Sweeper:
    """Removes what the settings no longer keep. Nothing that still has to be sent is removed, and
    for a day nothing at all where the clock was set by more than a day.

    Images are removed inside the transaction that records it: whoever receives the same image
    waits for its end, and then sees that the file is gone.
    """

    def __init__(self, state: State, spool: Spool, keep: Retention):
        self._state, self._spool, self._keep = state, spool, keep
        self._failures: list[RemovalError] = []

    def step(self) -> float:
        """Raises RemovalError for the first file that cannot be removed, once all others are."""
        self._failures.clear()
        now = time.time()
        if self._is_waiting(now):
            return EVERY_SECONDS
        self._forget_studies(now - self._keep.records_days * DAY_SECONDS)
        self._remove_images(now - self._keep.images_hours * 3600)
        self._remove_results(now - self._keep.results_hours * 3600)
        if self._failures:
            raise self._failures[0]
        return EVERY_SECONDS

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except RemovalError as error:
            self._failures.append(error)

    def _is_waiting(self, now: float) -> bool:
        """Whether ages may be wrong: since the last look the clock went back by more than a day, or
        on, as where it was set or the node was off. It is taken to be right after a day, or at the
        next such step on, so that nothing stays for ever where a node runs for hours a week.
        """
        with self._state.change() as run:
            names = "SELECT name, value FROM setting WHERE name IN ('looked_at', 'waits_until')"
            kept = dict(run(names).fetchall())
            gone, until = now - kept.get("looked_at", now), float(kept.get("waits_until", 0.0))
            if gone < -DAY_SECONDS or (gone > DAY_SECONDS and not until):
                until = now + DAY_SECONDS
                told = (
                    "the clock is %.0f hours %s the last look of retention; nothing is removed for "
                    "a day: see whether it is right"
                )
                LOG.warning(told, abs(gone) / 3600, "past" if gone > 0 else "before")
            elif until and until <= now:
                until = 0.0
            for row in (("looked_at", now), ("waits_until", until)):
                run("INSERT OR REPLACE INTO setting VALUES (?, ?)", row)
        return until > now

    def _remove_images(self, before: float) -> None:
        """Remove the images of studies that ended. Held and failed ones keep them for a retry."""
        rows = self._state.rows(
            "SELECT id FROM study WHERE NOT purged AND state IN (?, ?) AND last_at < ?",
            (*_SETTLED, before),
        )
        for row in rows:
            with self._going_on(), self._state.change() as run:
                # Again, inside the transaction: an image may have come.
                gone = run(
                    "UPDATE study SET purged = 1 WHERE id = ? AND state IN (?, ?) AND last_at < ?",
                    (row["id"], *_SETTLED, before),
                ).rowcount
                if gone:
                    self._spool.remove_images(row["id"], _images_of(run, row["id"]))
                    run("UPDATE instance SET present = 0 WHERE study = ?", (row["id"],))

    def _remove_results(self, before: float) -> None:
        rows = self._state.rows(
            "SELECT id FROM result WHERE present AND made_at < ? AND NOT EXISTS (SELECT 1 FROM "
            "delivery WHERE result = result.id AND (state != ? OR sent_at >= ?))",
            (before, SENT, before),
        )
        for row in rows:
            self._state.execute("UPDATE result SET present = 0 WHERE id = ?", (row["id"],))
            with self._going_on():
                self._spool.remove_result(row["id"])

    def _forget_studies(self, before: float) -> None:
        rows = self._state.rows(
            "SELECT id FROM study WHERE state IN (?, ?, ?, ?) AND last_at < ? AND NOT EXISTS "
            "(SELECT 1 FROM result JOIN delivery ON delivery.result = result.id "
            "WHERE result.study = study.id AND delivery.state != ?)",
            (*_ENDED, before, SENT),
        )
        for row in rows:
            with self._going_on():
                self._forget(row["id"], before)

    def _forget(self, study: str, before: float) -> None:
        results = self._state.rows("SELECT id FROM result WHERE study = ?", (study,))
        with self._state.change() as run:
            # Again, inside the transaction: an image may have come.
            if not run(
                "SELECT 1 FROM study WHERE id = ? AND state IN (?, ?, ?, ?) AND last_at < ?",
                (study, *_ENDED, before),
            ).fetchone():
                return
            self._spool.remove_images(study, _images_of(run, study))
            run("DELETE FROM study WHERE id = ?", (study,))
        for result in results:
            with self._going_on():
                self._spool.remove_result(result["id"])


def _images_of(run: Callable[..., Any], study: str) -> list[str]:
    found = run("SELECT id FROM instance WHERE study = ? AND present", (study,)).fetchall()
    return [row["id"] for row in found]
