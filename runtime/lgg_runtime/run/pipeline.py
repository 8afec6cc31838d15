"""Folder in, folder out: reading, the model, finishing and writing overlap, each bounded.

The model takes all cores; the stages beside it take what it leaves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain

from lgg_runtime.metrics import summarise
from lgg_runtime.readers.listing import Listing
from lgg_runtime.redact import without_uids
from lgg_runtime.run.finishing import Finishing
from lgg_runtime.run.job import Job
from lgg_runtime.run.journal import FAILED, SKIPPED_MASK, InputRecord, Journal
from lgg_runtime.run.ledger_lines import Finished
from lgg_runtime.run.reading import Reading
from lgg_runtime.run.running import Running
from lgg_runtime.run.summary import partly_scored
from lgg_runtime.segmenter import Segmenter


def run_job(
    job: Job,
    segmenter: Segmenter,
    journal: Journal,
    advance: Callable[[int], object],
    reading: Reading | None = None,
) -> None:
    """Segment every study of the job, write its outputs, and record each input in the journal.

    An input that cannot be used is recorded and the others go on. `advance` is called with the
    number of slices just run. reading: the job's files, where it has begun already; it is closed
    here.
    Raises ResourceError where an output cannot be written.
    """
    begun = time.perf_counter()
    reading = reading or Reading(job)
    running = Running(segmenter)
    finishing = Finishing(job, segmenter, journal)
    try:
        reading.use(segmenter, job.ledger)
        ran = running.pass_through(reading)
        for study, (ready, found) in zip(job.listing.studies, ran, strict=True):
            known = ready if isinstance(ready, Finished) else ready.record
            journal.left_out += known.left_out
            finishing.add(ready, found)
            advance(len(study.paths))
        finishing.finish()
    finally:
        reading.close()  # what waits for its next study ends by it
        running.close()
        finishing.close()
        _record_passed_over(job.listing, journal)
        total = time.perf_counter() - begun
        journal.seconds |= {"read": reading.seconds, "run": running.seconds, "total": total}
    if finishing.counts:
        journal.metrics = summarise(finishing.counts) | {
            "partly_scored": partly_scored(journal.rows)
        }


def _record_passed_over(listing: Listing, journal: Journal) -> None:
    """What of an input is no study's; of the masks, those that did not fail as references."""
    journal.skipped_files, journal.links = listing.skipped, listing.links
    journal.passed_over, journal.notices = listing.left_out, listing.notices
    failed = {record.name for record in journal.failures}
    for path in chain.from_iterable(listing.masks.values()):
        if (name := listing.relative(path)) not in failed:
            journal.inputs.append(InputRecord(name, SKIPPED_MASK))
    for path, reason in listing.unreadable.items():
        journal.inputs.append(InputRecord(without_uids(listing.relative(path)), FAILED, reason))
