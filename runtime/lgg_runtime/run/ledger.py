"""The append-only journal of finished studies, `journal.jsonl`, and what it proves to a later run.

A line is added once the last output of a study is on disk. A resumed run believes it only where
every input and every output still has the digest that stands in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lgg_runtime.digests import find_digest
from lgg_runtime.errors import OutputConflictError, printable
from lgg_runtime.redact import without_uids
from lgg_runtime.run.journal import REPORT_FILE
from lgg_runtime.run.ledger_lines import SCHEMA, Finished, encode_line, parse_lines
from lgg_runtime.writers.atomic import telling_refusal, write_atomically

JOURNAL_FILE = "journal.jsonl"
# A killed process loses no line; a power failure loses this much, and it is done again.
SYNC_EVERY_S = 1.0

Stamps = tuple[tuple[int, int, int], ...]


class Ledger:
    """An open journal: the studies that an earlier run finished, and those added now.

    known: the studies, by name, that this run may take over; earlier: every output of earlier runs,
    which each journal's header carries on for as long as the file is there.
    """

    def __init__(
        self, folder: Path, handle: int, known: dict[str, Finished], earlier: frozenset[str]
    ):
        self._folder, self._handle, self._known, self._earlier = folder, handle, known, earlier
        self._synced = time.monotonic()

    def find(self, study: str, inputs: dict[str, str]) -> Finished | None:
        """The study as it was finished, if its inputs and its outputs are what they were then.

        inputs: SHA-256 by name; empty, they prove nothing.
        """
        finished = self._known.get(study)
        if finished is None or not inputs or finished.inputs != inputs:
            return None
        outputs = finished.outputs.items()
        return finished if all(find_digest(self._folder / n) == d for n, d in outputs) else None

    def find_stale(self, written: Iterable[str]) -> tuple[str, ...]:
        """Outputs of earlier runs that are still there and that this run has not written."""
        left = self._earlier.difference(written)
        return tuple(sorted(name for name in left if _is_file(self._folder / name)))

    def require_held(self) -> None:
        """Raises OutputConflictError where the folder holds another journal, or none: with the lock
        a person removed who took it for a dead run's, another run may have begun there. Raises
        ResourceError where the disk does not say.
        """
        with telling_refusal(self._folder / JOURNAL_FILE):
            is_held = _is_open_file(self._folder / JOURNAL_FILE, self._handle)
        if not is_held:
            raise OutputConflictError(
                f"{printable(self._folder.name)}: it was removed, moved or given to another run in "
                "mid-run; run again into another folder"
            )

    def append(self, finished: Finished) -> None:
        """Raises ResourceError where the disk refuses the line."""
        data = encode_line(dataclasses.asdict(finished))
        with telling_refusal(self._folder / JOURNAL_FILE):
            while data:
                data = data[os.write(self._handle, data) :]
            if time.monotonic() - self._synced >= SYNC_EVERY_S:
                os.fsync(self._handle)
                self._synced = time.monotonic()

    def close(self) -> None:
        """Raises ResourceError where the disk refuses what was added last."""
        with telling_refusal(self._folder / JOURNAL_FILE):
            try:
                os.fsync(self._handle)
            finally:
                os.close(self._handle)  # which a disk that is gone refuses, too


@contextlib.contextmanager
def open_ledger(folder: Path, run: dict[str, Any], resume: bool) -> Iterator[Ledger]:
    """The journal of an output folder: begun anew or, with resume, gone on with.

    run: what decides the results besides the inputs, JSON values by name. What follows a torn
    or damaged line is cut off. Raises OutputConflictError where resume finds another run's
    journal, ResourceError where the disk refuses.
    """
    path = folder / JOURNAL_FILE
    header = {"schema": SCHEMA, "run": json.loads(json.dumps(run))}
    with telling_refusal(path):
        found = parse_lines(path.read_bytes() if path.is_file() else b"")
        earlier = {name for entry in found.finished for name in entry.outputs}
        if found.header is not None:  # a report is of a run, so that no study's line names it
            earlier |= {*found.header.get("earlier", ()), REPORT_FILE}
        if not resume or found.header is None:
            left = sorted(name for name in earlier if (folder / name).is_file())
            write_atomically(path, encode_line(header | {"earlier": left}))
        else:
            _require_same(found.header, header)
            os.truncate(path, found.whole_bytes)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    known = {entry.study: entry for entry in found.finished} if resume else {}
    ledger = Ledger(folder, handle, known, frozenset(earlier))
    try:
        yield ledger
    finally:
        ledger.close()


def _is_file(path: Path) -> bool:
    """Whether it is known to be one: a disk that fails is told of where it is written to."""
    try:
        return path.is_file()
    except OSError:
        return False


def _is_open_file(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except (FileNotFoundError, NotADirectoryError):
        return False


def digest_inputs(paths: Sequence[Path], root: Path) -> dict[str, str]:
    """SHA-256 by name relative to the root, without its UIDs; empty where one of the files cannot
    be read, or two have one name then.
    """
    names = (without_uids(path.relative_to(root).as_posix()) for path in paths)
    found = {name: find_digest(path) for name, path in zip(names, paths, strict=True)}
    known = {name: digest for name, digest in found.items() if digest is not None}
    return known if len(known) == len(paths) else {}


def stamp_inputs(paths: Sequence[Path]) -> Stamps:
    """Number, size and time of change of each file: equal before and after it is read means that
    the digest is of the bytes that were read. Empty where a file is missing.
    """
    try:
        found = [path.stat() for path in paths]
    except OSError:
        return ()
    return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found)


def _require_same(held: dict[str, Any], header: dict[str, Any]) -> None:
    then, now = held["run"], header["run"]
    if held["schema"] != SCHEMA or not isinstance(then, dict):
        raise OutputConflictError(
            f"--resume: {JOURNAL_FILE}: expected schema {SCHEMA}, found {held['schema']}; "
            "choose another output folder"
        )
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            raise OutputConflictError(
                f"--resume: {JOURNAL_FILE}: {name} was {in_words(then.get(name))}, now it is "
                f"{in_words(now.get(name))}; repeat that run's options or choose another output "
                "folder"
            )


def in_words(value: Any) -> str:
    """A JSON value for a person."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return " ".join(f"{name} {in_words(each)}" for name, each in value.items())
    return ", ".join(map(in_words, value)) if isinstance(value, list) else str(value)
