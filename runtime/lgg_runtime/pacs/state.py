"""What the node knows: an SQLite database in its folder, without names, identifiers or UIDs."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lgg_runtime.errors import OutputConflictError, ResourceError
from lgg_runtime.pacs.spool import list_files, telling_failed_look

VERSION = 3
# What a study can be.
RECEIVING, QUEUED, WORKING, DONE = "receiving", "queued", "working", "done"
HELD, REFUSED, FAILED = "held", "refused", "failed"
TROUBLES = (HELD, REFUSED, FAILED)
STATES = (RECEIVING, HELD, QUEUED, WORKING, DONE, REFUSED, FAILED)
# What a delivery can be. A delivery that a kill interrupts is found as SENDING.
WAITING, SENDING, SENT, GIVEN_UP = "waiting", "sending", "sent", "given up"
DELIVERY_STATES = (WAITING, SENDING, SENT, GIVEN_UP)

_IS_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_IS_HELD = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL})
BRING_BACK = "bring back a good copy with its -wal, or choose another spool"

_SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE study (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',             -- of its state; of a done one, its caution
    generation INTEGER NOT NULL DEFAULT 0,       -- grows with each new image
    done_generation INTEGER NOT NULL DEFAULT 0,  -- its value when work last began
    attempts INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0,
    purged INTEGER NOT NULL DEFAULT 0,
    last_at REAL NOT NULL,                       -- seconds since 1970, as all times here
    ready_at REAL,
    started_at REAL,
    ended_at REAL
);
CREATE INDEX study_state ON study (state, ready_at);
CREATE TABLE instance (
    id TEXT PRIMARY KEY,
    study TEXT NOT NULL REFERENCES study (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,                        -- of the data set as it came; empty: refused
    file TEXT NOT NULL,                          -- SHA-256 of the file on the disk
    bytes INTEGER NOT NULL,
    confirmed INTEGER NOT NULL DEFAULT 0,        -- came over an association that was released
    present INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX instance_study ON instance (study);
CREATE TABLE result (
    id TEXT PRIMARY KEY,
    study TEXT NOT NULL REFERENCES study (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    slices INTEGER NOT NULL,
    last_at REAL NOT NULL,
    ready_at REAL NOT NULL,
    started_at REAL NOT NULL,
    made_at REAL NOT NULL,
    present INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX result_study ON result (study);
CREATE TABLE delivery (
    result TEXT NOT NULL REFERENCES result (id) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    unsure INTEGER NOT NULL DEFAULT 0,           -- an attempt may have arrived without our knowing
    next_at REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    sent_at REAL,
    PRIMARY KEY (result, destination)
);
CREATE INDEX delivery_state ON delivery (state, destination, next_at);
"""


class State:
    """One connection, used by one thread at a time. A committed change outlives any kill."""

    def __init__(self, path: Path):
        """Open a database, or make it.

        Raises ResourceError where that cannot be, or where it is no file, OutputConflictError for
        one of another version, and for one without records beside a node's files, most of
        which a start would remove.
        """
        self._path, self._name = path, path.name
        self._lock = threading.RLock()
        with telling_failed_look(path):
            is_none = os.path.lexists(path) and not path.is_file()
        if is_none:  # SQLite would wait for ever at a FIFO
            raise ResourceError(f"{self._name}: is no file, or a link to none; {BRING_BACK}")
        with self._in_words():
            self._open = sqlite3.connect(
                path, timeout=30, isolation_level=None, check_same_thread=False
            )
            self._open.row_factory = sqlite3.Row
            # FULL: a commit is on the disk before a peer hears of it.
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._open.execute(f"PRAGMA {pragma}")
            self._file = self._look()
            try:
                self._prepare()
            except OutputConflictError:
                self._open.close()
                raise

    def _prepare(self) -> None:
        with self.change() as run:
            (version,) = run("PRAGMA user_version").fetchone()
            if version == 0:
                if list_files(self._path.parent):
                    raise OutputConflictError(
                        f"{self._name}: expected the records of the images or results beside it, "
                        "found none; bring it back with its -wal, or choose another spool"
                    )
                for statement in _SCHEMA.split(";\n"):
                    run(statement)
                key = secrets.token_bytes(32)
                run("INSERT INTO setting VALUES ('key', ?)", (key,))
                run(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise OutputConflictError(
                    f"{self._name}: of version {version}, expected {VERSION}; let the lgg-edge "
                    "that made it send what waits, and then choose another spool"
                )

    @property
    def key(self) -> bytes:
        """The installation's own key, for names that tell nothing. Raises OutputConflictError for a
        database that lost it: under another one, no image and no study would be known again.
        """
        rows = self.rows("SELECT value FROM setting WHERE name = 'key'")
        if not rows:
            raise OutputConflictError(f"{self._name}: holds no key any more; {BRING_BACK}")
        return bytes(rows[0]["value"])

    @contextlib.contextmanager
    def change(self) -> Iterator[Any]:
        """A transaction; yields a function that runs a statement. All of it happens, or nothing.

        Raises ResourceError where the database refuses, and as `require_file`.
        """
        self.require_file()
        with self._lock, self._in_words():
            self._open.execute("BEGIN IMMEDIATE")
            try:
                yield self._open.execute
                self._open.execute("COMMIT")
            except BaseException:
                if self._open.in_transaction:
                    self._open.execute("ROLLBACK")
                raise

    def execute(self, query: str, values: Sequence[Any] = ()) -> int:
        """A transaction of one statement; returns how many rows it changed. Raises as `change`."""
        with self.change() as run:
            changed: int = run(query, values).rowcount
        return changed

    def require_file(self) -> None:
        """Raises ResourceError where the file was removed or replaced since it was opened, in which
        SQLite would go on though nobody finds it again, and where the disk does not say.
        """
        if self._look() != self._file:
            raise ResourceError(
                f"{self._name}: was removed or replaced meanwhile; stop the node, bring it back "
                "with its -wal, and start it again"
            )

    def _look(self) -> tuple[int, int] | None:
        with telling_failed_look(self._path):
            try:
                status = self._path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_dev, status.st_ino

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """What a query finds. Raises ResourceError where the database refuses."""
        with self._lock, self._in_words():
            return self._open.execute(query, values).fetchall()

    def close(self) -> None:
        with self._lock:
            self._open.close()

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            # The lower byte of SQLite's code is the kind; errors of Python's own have none.
            kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
            remedy = "see to the disk and the spool's permissions"
            if kind in _IS_DAMAGED:
                remedy = BRING_BACK
            elif kind in _IS_HELD:  # as of all on an SMB share, whose locks the server keeps
                remedy = "end what else has it open; if nothing has, choose a spool on a local disk"
            raise ResourceError(f"{self._name}: {error}; {remedy}") from error
