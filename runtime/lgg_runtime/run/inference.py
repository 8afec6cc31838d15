"""One run, whole: what is asked for is checked before anything is written, then all is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain

from lgg_runtime.errors import LggError, OutputConflictError, ResourceError
from lgg_runtime.exhausted import telling_exhausted_memory
from lgg_runtime.lock import lock_output
from lgg_runtime.processor import multiplies_int8
from lgg_runtime.progress import Progress
from lgg_runtime.providers import ON_CPU
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.readers.listing import Listing
from lgg_runtime.run.destination import check_names, check_output, check_places
from lgg_runtime.run.job import Job
from lgg_runtime.run.journal import REPORT_FILE, Journal
from lgg_runtime.run.ledger import Ledger, open_ledger
from lgg_runtime.run.pipeline import run_job
from lgg_runtime.run.provenance import decisive, describe, settings_of
from lgg_runtime.run.reading import Reading
from lgg_runtime.run.request import Request
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.writers.atomic import make_folder, require_folder


def infer(
    request: Request,
    load: Callable[[], Segmenter],
    tell: Callable[[str], object],
    progress: Progress,
    deliver: Callable[[Journal], object],
) -> Journal:
    """Segment what was asked for into the output folder; returns what was done.

    load: gives the request's model, or raises why there is none, which is asked once the rest of
    the request is accepted; tell: hears a line for the user; progress: of the headers of DICOM
    files, then of the slices; deliver: called once all results are written, before the run counts
    as complete. Raises LggError; a request, model or provider that is refused leaves no trace.
    """
    job = _plan(request, progress)
    with closing(Reading(job)) as reading:  # the first files, while the model is loaded
        segmenter = load()
        _tell_what_runs(segmenter, request.load.provider, tell)
        make_folder(job.output)
        journal = Journal(settings_of(request, segmenter.batch))
        describe(journal, segmenter, request.load.provider)
        shared = decisive(journal, job.outputs, job.choice)
        with (
            lock_output(job.output) as died,
            open_ledger(job.output, shared, request.resume) as ledger,
        ):
            if died:
                tell("the lock of a run that died is taken over")
            with _recorded(journal, segmenter, ledger, request, job.listing):
                slices = sum(len(study.paths) for study in job.listing.studies)
                with progress("slice", slices) as advance:
                    run_job(replace(job, ledger=ledger), segmenter, journal, advance, reading)
                deliver(journal)
    return journal


def _plan(request: Request, progress: Progress) -> Job:
    choice = replace(request.choice, flair_only=request.load.flair_only)
    check_output(request.output, request.given)
    listing = list_studies(request.given, progress)
    check_places(request.output, request.given, listing)
    request.require_fit(listing)
    require_folder(request.output)
    check_names(request.output, listing)
    return Job(listing, request.output, request.outputs, request.evaluate, choice)


def _tell_what_runs(segmenter: Segmenter, requested: str, tell: Callable[[str], object]) -> None:
    if requested == "auto":
        tell(f"provider auto: {segmenter.provider} ({segmenter.why})")
    is_int8 = segmenter.contract.precision.startswith("int8")
    if segmenter.provider in ON_CPU and is_int8 and multiplies_int8() is False:
        tell(
            "warning: this processor has no instructions for int8 (VNNI, AVX2, or asimddp on ARM); "
            "int8 may be slower than fp32 here, which lgg-infer doctor measures"
        )


@contextmanager
def _recorded(
    journal: Journal, segmenter: Segmenter, ledger: Ledger, request: Request, listing: Listing
) -> Iterator[None]:
    """The journal on disk from the beginning of a run to its end, whatever that is; the page too,
    where it was asked for.
    """

    def write(state: str) -> None:
        if request.report:
            from lgg_runtime.run.page import write_page

            try:
                write_page(request.output, journal, listing, state)
            except ResourceError as error:  # the smaller journal may fit where the page does not
                ends_by_it = state in ("running", "complete")
                journal.write(request.output, f"stopped: {error}" if ends_by_it else state)
                raise
        journal.write(request.output, state)

    write("running")  # a run that is killed leaves no older one's success
    state = "interrupted"
    try:
        with telling_exhausted_memory():
            yield
        state = "complete"
    except LggError as error:
        state = f"stopped: {error}"
        raise
    finally:
        if segmenter.largest_batch is not None:
            journal.provider["largest_batch"] = segmenter.largest_batch
        if segmenter.first_look is not None:
            journal.model["first_look"] |= {"left_out": journal.left_out}
        written = (name for record in journal.inputs for name in record.outputs)
        own = (REPORT_FILE,) if request.report else ()
        journal.stale = ledger.find_stale(chain(own, written))  # most of all where it was cut off
        try:
            ledger.require_held()
            write(state)
        except (OutputConflictError, ResourceError):
            if state == "complete":  # else what ended the run is told
                raise
