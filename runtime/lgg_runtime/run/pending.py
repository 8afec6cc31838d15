"""Writes that are not on disk yet, and what is recorded once they are."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from lgg_runtime.errors import ResourceError
from lgg_runtime.run.journal import InputRecord, Journal
from lgg_runtime.run.ledger import Ledger
from lgg_runtime.run.ledger_lines import Finished
from lgg_runtime.run.summary import SummaryRow
from lgg_runtime.workers import Workers

SLICES_PENDING = 64

# Writes the outputs of one record and gives their SHA-256, in the order of `record.outputs`.
Write = Callable[[], list[str]]


@dataclass
class StudyRecord:
    """What a run has recorded of a study so far; inputs and outputs as in `Finished`.

    proven: every input was used and none changed, so that a later run may rely on it; of another
    the ledger only learns what was written.
    """

    study: str
    inputs: dict[str, str]
    proven: bool
    outputs: dict[str, str] = field(default_factory=dict)
    records: dict[str, InputRecord] = field(default_factory=dict)
    rows: list[SummaryRow] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    left_out: int = 0

    def finish(self) -> Finished:
        records = tuple(self.records.values())
        rows, doubts = tuple(self.rows), tuple(self.doubts)
        inputs = self.inputs if self.proven else {}
        return Finished(self.study, inputs, self.outputs, records, rows, doubts, self.left_out)


@dataclass
class _Pending:
    """One record whose outputs are being written, or (record None) the end of its study."""

    study: StudyRecord
    record: InputRecord | None = None
    written: Future[list[str]] | None = None
    is_settled: bool = False


class PendingWrites:
    """Writes handed to a pool, a bounded number open; the first failure is raised here.

    An input is recorded as done once its outputs are on disk, and a study in the ledger once
    those of all its inputs are.
    """

    def __init__(self, pool: Workers, journal: Journal, ledger: Ledger | None):
        self._pool, self._journal, self._ledger = pool, journal, ledger
        self._open: deque[_Pending] = deque()

    def submit(self, write: Write, record: InputRecord, study: StudyRecord) -> None:
        while len(self._open) >= SLICES_PENDING:
            self._settle_first()
        self._open.append(_Pending(study, record, self._pool.submit(self._write, write)))

    def end_study(self, study: StudyRecord) -> None:
        """All writes of the study are submitted."""
        self._open.append(_Pending(study))
        while self._open and self._open[0].record is None:
            self._settle_first()

    def finish(self) -> None:
        while self._open:
            self._settle_first()

    def cancel(self) -> None:
        """Drop what has not begun; what is on disk is recorded, in the ledger too."""
        for pending in self._open:
            if pending.written is not None:
                pending.written.cancel()
        for pending in self._open:
            if pending.written is not None and self._pool.has_failed(pending.written):
                pending.study.proven = False
            else:
                with contextlib.suppress(ResourceError):  # the failure that led here is told
                    self._settle(pending)

    def _write(self, write: Write) -> list[str]:
        if self._ledger is not None:
            self._ledger.require_held()
        return write()

    def _settle_first(self) -> None:
        self._settle(self._open[0])
        self._open.popleft()

    def _settle(self, pending: _Pending) -> None:
        """A signal may end this anywhere, and it is called again: each step bears repetition."""
        if pending.is_settled:
            return
        digests = self._pool.wait_for(pending.written) if pending.written is not None else []
        study, record = pending.study, pending.record
        if record is not None:
            study.outputs |= zip(record.outputs, digests, strict=True)
            study.records[record.name] = record
            if self._journal.inputs.last is not record:
                self._journal.inputs.append(record)
        elif self._ledger is not None and (study.proven or study.outputs):
            self._ledger.append(study.finish())
        pending.is_settled = True
