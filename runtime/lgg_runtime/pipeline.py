"""Folder in, folder out: reading, running and writing overlap, each bounded."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lgg_runtime.errors import InputError, ModelError, printable
from lgg_runtime.journal import DONE, FAILED, SKIPPED_MASK, InputRecord, Journal
from lgg_runtime.ledger import Ledger, digest_inputs, stamp_inputs
from lgg_runtime.ledger_lines import Finished
from lgg_runtime.metrics import Counts, summarise
from lgg_runtime.pending import PendingWrites, StudyRecord, Write
from lgg_runtime.prefetch import prefetch
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.readers.folder import Listing, Study
from lgg_runtime.readers.study import LoadedStudy, LoadedVolume, load_study
from lgg_runtime.scans import ScanWriter
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.summary import SummaryRow, summarise_volume
from lgg_runtime.volume import FLAIR, Segmentation, Volume
from lgg_runtime.writers import OUTPUTS
from lgg_runtime.writers.atomic import make_folder, write_atomically
from lgg_runtime.writers.images import SliceResult, stretch_flair

STUDIES_AHEAD = 2


@dataclass(frozen=True)
class Job:
    """What to run: the listed input, the output folder, the outputs' names, whether to evaluate.

    choice: of the series of DICOM studies; ledger: where each finished study is put down, and
    what proves that one was finished before.
    """

    listing: Listing
    output: Path
    outputs: tuple[str, ...] = ("mask",)
    evaluate: bool = False
    choice: SeriesChoice = field(default_factory=SeriesChoice)
    ledger: Ledger | None = None


def run_job(
    job: Job, segmenter: Segmenter, journal: Journal, advance: Callable[[int], Any]
) -> None:
    """Segment every study of the job, write its outputs, and record each input in the journal.

    An input that cannot be used is recorded and the others go on. `advance` is called with the
    number of slices just finished. Raises ResourceError where an output cannot be written.
    """
    begun = time.perf_counter()
    journal.skipped_files = job.listing.skipped
    for path in job.listing.masks.values():
        journal.inputs.append(InputRecord(job.listing.relative(path), SKIPPED_MASK))
    run = _Run(job, segmenter, journal)
    studies = prefetch(run.load_all(), STUDIES_AHEAD)
    with ThreadPoolExecutor(1, "write") as pool:
        writes = PendingWrites(pool, journal, job.ledger)
        try:
            for study, loaded in studies:
                if isinstance(loaded, Finished):
                    run.take_over(loaded)
                else:
                    run.segment_study(loaded, writes)
                advance(len(study.files))
            writes.finish()
        finally:
            studies.close()
            writes.cancel()
    if run.counts:
        journal.metrics = summarise(run.counts)
    journal.seconds["total"] = time.perf_counter() - begun


@dataclass
class _Loaded:
    """A study that was read, and what is recorded of it from here on."""

    loaded: LoadedStudy
    record: StudyRecord


class _Run:
    """One pass over a job: the stages, and what they add up."""

    def __init__(self, job: Job, segmenter: Segmenter, journal: Journal):
        self._job, self._segmenter, self._journal = job, segmenter, journal
        self.counts: dict[str, Counts] = {}
        journal.seconds |= {"read": 0.0, "run": 0.0}

    def load_all(self) -> Iterator[tuple[Study, _Loaded | Finished]]:
        for study in self._job.listing.studies:
            begun = time.perf_counter()
            loaded = self._load(study)
            self._journal.seconds["read"] += time.perf_counter() - begun
            yield study, loaded

    def _load(self, study: Study) -> _Loaded | Finished:
        job, ledger = self._job, self._job.ledger
        if ledger is None:
            loaded = load_study(study, job.listing, job.evaluate, job.choice)
            return _Loaded(loaded, StudyRecord(study.name, {}, proven=False))
        paths = [*study.files]
        if job.evaluate:
            paths += filter(None, map(job.listing.mask_of, study.files))
        before = stamp_inputs(paths)
        inputs = digest_inputs(paths, job.listing.root)
        if (finished := ledger.find(study.name, inputs)) is not None:
            return finished
        loaded = load_study(study, job.listing, job.evaluate, job.choice)
        proven = bool(inputs) and before == stamp_inputs(paths)
        return _Loaded(loaded, StudyRecord(study.name, inputs, proven))

    def take_over(self, finished: Finished) -> None:
        """Record a study as the earlier run did."""
        self._journal.resumed += 1
        self._journal.inputs += finished.records
        self._add_rows(finished.study, finished.rows)

    def segment_study(self, study: _Loaded, writes: PendingWrites) -> None:
        loaded, record = study.loaded, study.record
        for path, reason in loaded.failures:
            self._fail(record, self._job.listing.relative(path), reason)
        for volume in loaded.volumes:
            self._segment(loaded.study, volume, record, writes)
        if loaded.scan is not None:
            self._segment_scan(loaded.study, loaded.scan, record, writes)
        writes.end_study(record)

    def _fail(self, record: StudyRecord, name: str, reason: str) -> None:
        """A study with a failure is tried again by a resumed run: its cause may be gone."""
        record.proven = False
        self._journal.inputs.append(InputRecord(name, FAILED, reason))

    def _segment(
        self, study: Study, loaded: LoadedVolume, record: StudyRecord, writes: PendingWrites
    ) -> None:
        begun = time.perf_counter()
        try:
            result = self._segmenter.segment(loaded.volume())
        except (InputError, ModelError) as error:
            for path in loaded.files:
                name = self._job.listing.relative(path)
                self._fail(record, name, f"{printable(path.name)}: {error}")
            return
        finally:
            self._journal.seconds["run"] += time.perf_counter() - begun
        counts = [
            None if truth is None else Counts.of(mask, truth)
            for mask, truth in zip(result.mask, loaded.truth, strict=True)
        ]
        names = [path.stem for path in loaded.files]
        rows = summarise_volume(study.name, names, result, counts)
        record.rows += rows
        self._add_rows(study.name, rows)
        self._write(study, loaded, result, partial(writes.submit, study=record))

    def _segment_scan(
        self, study: Study, scan: Volume | InputError, record: StudyRecord, writes: PendingWrites
    ) -> None:
        begun = time.perf_counter()
        try:
            if isinstance(scan, InputError):
                raise scan
            result = self._segmenter.segment(scan)
            writer = ScanWriter(self._job.output, self._job.outputs, self._segmenter)
            files = writer.encode(study, scan, result)
        except (InputError, ModelError) as error:
            self._fail(record, study.name, f"{study.name}: {error}")
            return
        finally:
            self._journal.seconds["run"] += time.perf_counter() - begun
        rows = summarise_volume(study.name, scan.names, result, [None] * len(scan))
        record.rows += rows
        self._add_rows(study.name, rows)
        written = tuple(target.relative_to(self._job.output).as_posix() for target in files)
        found = () if result.tumour_present else ("no tumour found",)
        done = InputRecord(study.name, DONE, "", (*scan.notes, *found), written)
        writes.finish()  # one scan's files in memory, not as many as slices may wait
        writes.submit(partial(_write_files, files), done, record)

    def _add_rows(self, study: str, rows: Sequence[SummaryRow]) -> None:
        self._journal.rows += rows
        for row in rows:
            if row.level == "patient" and row.counts is not None:
                self.counts[study] = self.counts.get(study, Counts()) + row.counts

    def _write(
        self,
        study: Study,
        loaded: LoadedVolume,
        result: Segmentation,
        submit: Callable[[Write, InputRecord], None],
    ) -> None:
        pictures = stretch_flair(loaded.volume().pixels[..., FLAIR])
        folder = self._job.output / study.folder
        make_folder(folder)
        for index, path in enumerate(loaded.files):
            shown = SliceResult(
                pictures[index], result.mask[index], result.probability[index], loaded.truth[index]
            )
            targets = {name: folder / (path.stem + OUTPUTS[name][0]) for name in self._job.outputs}
            written = (t.relative_to(self._job.output).as_posix() for t in targets.values())
            name = self._job.listing.relative(path)
            record = InputRecord(name, DONE, "", loaded.notes[index], tuple(written))
            submit(partial(_write_outputs, shown, targets), record)


def _write_outputs(shown: SliceResult, targets: dict[str, Path]) -> list[str]:
    return [_write_file(target, OUTPUTS[output][1](shown)) for output, target in targets.items()]


def _write_files(files: dict[Path, bytes]) -> list[str]:
    for target in files:
        make_folder(target.parent)
    return [_write_file(target, data) for target, data in files.items()]


def _write_file(target: Path, data: bytes) -> str:
    """Returns the SHA-256 of what is on disk now."""
    write_atomically(target, data)
    return hashlib.sha256(data).hexdigest()
