"""A node's records and files, without what listens, computes and sends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lgg_runtime.pacs.arrival import Arrival
from lgg_runtime.pacs.config import Destination
from lgg_runtime.pacs.intake import Intake
from lgg_runtime.pacs.jobs import Job, Jobs, Made
from lgg_runtime.pacs.session import Session
from lgg_runtime.pacs.spool import DATABASE, Spool
from lgg_runtime.pacs.state import State

STUDY = "1.2.3"
RESULT = b"result"
ARCHIVE = Destination(name="archive", kind="c-store", address="127.0.0.1", port=1, ae_title="NO")


class Records:
    """The parts as a node opens them, over one folder; the quiet time is over at once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._open()

    def _open(self) -> None:
        self.state = State(self._folder / DATABASE)
        self.spool = Spool(self._folder, self.state.key)
        self.jobs = Jobs(self.state, self.spool)
        self.jobs.recover()
        self.intake = Intake(self.state, self.spool, quiet_seconds=0.0)

    def kill(self) -> None:
        """End as a process that is killed, and start anew."""
        self.state.close()
        self._open()

    def associate(self) -> Session:
        return self.intake.open_session(lambda: True)

    def bring(self, session: Session, *images: int, study: str = STUDY) -> None:
        for image in images:
            arrival = Arrival(study, f"{study}.{image}", b"file %d" % image, b"body %d" % image)
            self.intake.keep(session, arrival)

    def send(self, *images: int, study: str = STUDY) -> None:
        """Bring images over an association that is released, and wait the quiet time."""
        session = self.associate()
        self.bring(session, *images, study=study)
        self.intake.release(session)
        self.intake.settle()

    def claim(self) -> Job:
        job = self.jobs.claim()
        assert job is not None
        return job

    def make(self, job: Job, data: bytes = RESULT) -> Made:
        """Keep a file for the result of a job."""
        digest = hashlib.sha256(data).hexdigest()
        result = self.spool.name_of(f"{job.study} {len(job.files)}")
        self.spool.keep_result(result, data)
        return Made(result, digest, len(job.files), time.time())

    def finish(
        self, *images: int, to: Sequence[str] = (), study: str = STUDY, caution: str = ""
    ) -> Made:
        """Send images and make their result."""
        self.send(*images, study=study)
        job = self.claim()
        made = replace(self.make(job), caution=caution)
        self.jobs.complete(job, made, to)
        return made

    def refuse_changes(self, are_refused: bool = True) -> None:
        """The database takes no change, as on a full disk, or takes them again."""
        self.state.rows(f"PRAGMA query_only = {int(are_refused)}")

    def states(self, table: str = "study") -> list[str]:
        return [row["state"] for row in self.state.rows(f"SELECT state FROM {table}")]
