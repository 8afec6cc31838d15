"""The step of the worker's thread: take a study, have its result made, record how that ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lgg_runtime.errors import InputError, ModelError, OutOfMemoryError, ResourceError
from lgg_runtime.pacs.jobs import Job, Jobs, Made
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.results import UnreadableError
from lgg_runtime.pacs.spool import NAME_DIGITS
from lgg_runtime.pacs.state import FAILED, REFUSED
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.redact import without_uids


class Worker:
    """Does one study at a time. make: makes its result, or raises why there is none; attempts:
    after how many that a kill interrupted a study is given up.
    """

    def __init__(
        self,
        jobs: Jobs,
        make: Callable[[Job], Made],
        destinations: Sequence[str],
        tally: Tally,
        attempts: int,
    ):
        self._jobs, self._make, self._attempts = jobs, make, attempts
        self._destinations, self._tally = tuple(destinations), tally
        self._at_hand: Job | None = None

    def step(self) -> float | None:
        """Do the next study, if one waits. Raises ResourceError where the disk is full."""
        # A full disk may have refused the record of how the last study ended, and of its return.
        self._put_back()
        self._at_hand = self._jobs.claim()
        if self._at_hand is None:
            return None
        self._do(self._at_hand)
        self._at_hand = None
        return 0.0

    def _do(self, job: Job) -> None:
        name = job.study[:NAME_DIGITS]
        if job.interrupted >= self._attempts:
            reason = f"the node ended {job.interrupted} times while it worked on it"
            self._give_up(job, FAILED, reason)
            return
        try:
            made = self._make(job)
        except InputError as error:
            self._give_up(job, REFUSED, without_uids(str(error)))
        except (ModelError, OutOfMemoryError, UnreadableError) as error:
            # Put back, a study beyond the memory, or on a bad part of the disk, would be the next
            # again, before all others.
            self._give_up(job, FAILED, without_uids(str(error)))
        except ResourceError:
            self._put_back()
            raise
        except Exception as error:  # noqa: BLE001  a bad study must not keep the others waiting
            self._give_up(job, FAILED, type(error).__name__)
        else:
            is_new = self._jobs.complete(job, made, self._destinations)
            self._tally.add("studies", "done")
            told = "" if is_new else "; the result is the one that was known"
            spent = made.made_at - job.started_at
            LOG.info("study %s: %d slices in %.2f s%s", name, made.slices, spent, told)
            if made.caution:
                LOG.warning("study %s: %s", name, made.caution)

    def _put_back(self) -> None:
        if self._at_hand is not None:
            self._jobs.put_back(self._at_hand)
            self._at_hand = None

    def _give_up(self, job: Job, state: str, reason: str) -> None:
        self._jobs.end(job, state, reason)
        self._tally.add("studies", state)
        LOG.warning("study %s %s: %s", job.study[:NAME_DIGITS], state, reason)
