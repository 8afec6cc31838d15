"""Received images and the studies that they make: kept once, counted when a peer released them."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

from lgg_runtime.errors import ResourceError
from lgg_runtime.pacs.arrival import Arrival
from lgg_runtime.pacs.instances import REFUSED_DIGEST, record, record_anew, record_refusal, renew
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.retries import LET_GO
from lgg_runtime.pacs.session import Session
from lgg_runtime.pacs.spool import NAME_DIGITS, Spool, is_whole
from lgg_runtime.pacs.state import HELD, QUEUED, RECEIVING, REFUSED, WORKING, State
from lgg_runtime.readers.same_image import is_same_image

_SHORTEST_LOOK_SECONDS = 0.1
STORED, DUPLICATE, CONFLICT, ELSEWHERE = "stored", "duplicate", "conflict", "elsewhere"

UNCONFIRMED = (
    "{count} of its images came over associations that were not released, that brought a refused "
    "object, or that no record tells of; send the study again, or take what came with lgg-node "
    "retry"
)
REFUSED_OBJECT = (
    "an object that came with its images was refused or broke off, and may be one of them; the log "
    "says which and why; send the study again, or take what came with lgg-node retry"
)
KNOWN_ELSEWHERE = "; of what came, another study holds a part, and sending that again does not help"
REFUSED_IMAGES = (
    "{count} of its images were refused or broke off; the log's lines with its name say why; mend "
    "that and send the study again, or go without them with lgg-node retry"
)
PURGED = "images came after the others had been removed; send the whole study again"


class Intake:
    """Keeps images; decides which studies are complete.

    A study is complete when nothing of it has come for `quiet_seconds` and each of its images
    came over an association that its peer released and of which no object was refused, the first
    time or again. What only another association brought is held: nobody can tell whether it is
    the whole study.
    """

    def __init__(self, state: State, spool: Spool, quiet_seconds: float):
        self._state, self._spool, self._quiet = state, spool, quiet_seconds
        self._lock = threading.Lock()
        self._comparing = threading.Lock()  # one at a time: it decodes pixels
        self._arriving: set[str] = set()
        self._arrived = threading.Condition(self._lock)
        self._sessions: list[Session] = []
        self._refused: set[tuple[str, str]] = set()  # study and image of each without a record
        # When something of a study last came, by the monotonic clock: after a start, every study
        # that is being received waits its whole quiet time again.
        rows = state.rows("SELECT id FROM study WHERE state = ?", (RECEIVING,))
        self._last = {str(row["id"]): time.monotonic() for row in rows}

    def open_session(self, is_open: Callable[[], bool]) -> Session:
        session = Session(is_open)
        with self._lock:
            self._sessions.append(session)
        return session

    def keep(self, session: Session, arrival: Arrival) -> str:
        """Keep an image on the disk and in the database; returns what it was.

        STORED: it is new. DUPLICATE: its UID is known, with the same content in whatever transfer
        syntax. CONFLICT: its UID is known with other content, and the first image stays.
        ELSEWHERE: its UID is known in another study, so that this study lacks it.
        Raises ResourceError where disk or database refuse; nothing is kept then.
        """
        instance = self._spool.name_of(arrival.instance_uid)
        study = self._spool.name_of(arrival.study_uid)
        digest = hashlib.sha256(arrival.body).hexdigest()
        self._state.require_file()  # before a file is written beside: its disk may be away
        with self._alone(instance):
            query = "SELECT id, study, digest, file, present FROM instance WHERE id = ?"
            known = self._state.rows(query, (instance,))
            outcome = self._compare(known[0], study, digest, arrival.file) if known else STORED
            if outcome == DUPLICATE and not renew(self._state, study):
                outcome = STORED  # its record has just been forgotten, and its file removed
            session.ends_in_conflict = outcome == CONFLICT
            if outcome == ELSEWHERE:
                session.has_refusals = session.has_strangers = True
                record_refusal(self._state, study, instance)
            if outcome in (CONFLICT, ELSEWHERE):
                told = "UPDATE study SET conflicts = conflicts + 1 WHERE id = ?"
                self._state.execute(told, (known[0]["study"],))
                return outcome
            if outcome == STORED:
                with self._spool.keeping_image(study, instance, arrival.file):
                    record(self._state, study, instance, digest, arrival.file)
            elif known[0]["digest"] == digest and not self._is_whole(known[0]):
                self._spool.keep_image(study, instance, arrival.file)
                record_anew(self._state, study, instance, arrival.file)
        with self._lock:
            session.instances[instance] = study
            self._last[study] = time.monotonic()
        return outcome

    def refuse(self, study_uid: str | None, instance_uid: str) -> str:
        """Hold the study of an image that was not taken, or broke off, until it comes or a person
        says retry. Returns words for the log with the study's name, empty where it is not known.

        study_uid: None where the image does not say. What the database refuses to record, `settle`
        records, before it queues any study.
        """
        if study_uid is None:
            return ""
        study = self._spool.name_of(study_uid)
        with self._lock:
            self._refused.add((study, self._spool.name_of(instance_uid)))
        with contextlib.suppress(ResourceError):
            self._record_refusals()
        return f"of study {study[:NAME_DIGITS]} "

    def _record_refusals(self) -> None:
        with self._lock:
            refused = list(self._refused)
        for study, instance in refused:
            record_refusal(self._state, study, instance)
            with self._lock:
                self._refused.discard((study, instance))
                self._last[study] = time.monotonic()

    def release(self, session: Session) -> None:
        """Confirm the images of an association; call it before the peer's release is answered.

        Where an object was refused, its studies are held instead. Raises ResourceError where the
        database refuses; nothing is changed then.
        """
        held = []
        why_held = REFUSED_OBJECT + (KNOWN_ELSEWHERE if session.has_strangers else "")
        with self._state.change() as run:
            for study in set(session.instances.values()):
                if session.has_refusals:
                    is_held = run(
                        "UPDATE study SET state = ?, reason = ? WHERE id = ? AND state IN (?, ?) "
                        "AND EXISTS "
                        "(SELECT 1 FROM instance WHERE study = study.id AND NOT confirmed)",
                        (HELD, why_held, study, HELD, RECEIVING),
                    ).rowcount
                    if is_held:
                        held.append(study)
                else:
                    run(
                        "UPDATE study SET state = ?, reason = '' "
                        "WHERE id = ? AND (state = ? OR state = ? AND reason = ?)",
                        (RECEIVING, study, HELD, REFUSED, LET_GO),
                    )
            for instance in () if session.has_refusals else session.instances:
                run("UPDATE instance SET confirmed = 1 WHERE id = ?", (instance,))
        for study in held:
            LOG.warning("study %s held: %s", study[:NAME_DIGITS], why_held)
        self.close_session(session)

    def close_session(self, session: Session) -> None:
        """Forget an association that has ended. Without `release` its images stay unconfirmed."""
        with self._lock:
            if session in self._sessions:
                self._sessions.remove(session)
            for study in set(session.instances.values()):
                self._last[study] = time.monotonic()

    def settle(self) -> float | None:
        """Queue or hold the studies that are quiet; returns the seconds until the next may be.

        None where no study is awaited. Raises ResourceError where the database refuses.
        """
        self._record_refusals()
        with self._lock:
            self._sessions = [session for session in self._sessions if session.is_open()]
            busy = {study for one in self._sessions for study in one.instances.values()}
            now = time.monotonic()
            waits = {study: self._quiet - (now - last) for study, last in self._last.items()}
            quiet = [study for study, wait in waits.items() if wait <= 0 and study not in busy]
        for study in quiet:
            if self._settle_one(study):
                with self._lock:
                    if self._last.get(study, now) <= now - self._quiet:
                        del self._last[study]
        rest = [wait for study, wait in waits.items() if study not in quiet]
        return max(min(rest), _SHORTEST_LOOK_SECONDS) if rest else None

    def _settle_one(self, study: str) -> bool:
        """Queue or hold a quiet study; returns whether it needs no further look."""
        with self._state.change() as run:
            row = run("SELECT * FROM study WHERE id = ?", (study,)).fetchone()
            if row is None:
                return True
            if row["state"] == WORKING:
                return False
            if row["state"] != RECEIVING:
                return True
            refused, unconfirmed, lost = run(
                "SELECT coalesce(sum(digest = ? AND NOT confirmed), 0), "
                "coalesce(sum(NOT confirmed), 0), coalesce(sum(digest != ? AND NOT present), 0) "
                "FROM instance WHERE study = ?",
                (REFUSED_DIGEST, REFUSED_DIGEST, study),
            ).fetchone()
            if unconfirmed or lost:
                reason = UNCONFIRMED.format(count=unconfirmed) if unconfirmed else PURGED
                reason = REFUSED_IMAGES.format(count=refused) if refused else reason
                run("UPDATE study SET state = ?, reason = ? WHERE id = ?", (HELD, reason, study))
            else:
                reason = ""
                run(
                    "UPDATE study SET state = ?, attempts = 0, ready_at = ? WHERE id = ?",
                    (QUEUED, time.time(), study),
                )
        if reason:
            LOG.warning("study %s held: %s", study[:NAME_DIGITS], reason)
        return True

    def _compare(self, known: sqlite3.Row, study: str, digest: str, file: bytes) -> str:
        """What `keep` returns for an object whose UID is that of a known image."""
        if known["study"] != study:
            return ELSEWHERE
        if known["digest"] == digest:
            return DUPLICATE
        if not self._is_whole(known):
            return STORED  # as if new: what came first is gone, so there is nothing to compare with
        with self._comparing:
            is_same = is_same_image(self._spool.image(study, known["id"]), file)
        return DUPLICATE if is_same else CONFLICT

    def _is_whole(self, known: sqlite3.Row) -> bool:
        """Whether the disk holds a known image as it was written."""
        path = self._spool.image(known["study"], known["id"])
        return bool(known["present"]) and is_whole(path, known["file"])

    @contextlib.contextmanager
    def _alone(self, instance: str) -> Iterator[None]:
        """Two associations that bring the same image at the same time take turns."""
        with self._arrived:
            self._arrived.wait_for(lambda: instance not in self._arriving)
            self._arriving.add(instance)
        try:
            yield
        finally:
            with self._arrived:
                self._arriving.discard(instance)
                self._arrived.notify_all()
