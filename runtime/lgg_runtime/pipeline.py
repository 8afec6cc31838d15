"""Folder in, folder out: reading, running and writing overlap, each bounded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lgg_runtime.errors import InputError, ModelError, printable
from lgg_runtime.journal import DONE, FAILED, SKIPPED_MASK, InputRecord, Journal
from lgg_runtime.metrics import Counts, summarise
from lgg_runtime.prefetch import prefetch
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.readers.folder import Listing, Study
from lgg_runtime.readers.study import LoadedStudy, LoadedVolume, load_study
from lgg_runtime.scans import ScanWriter
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.summary import summarise_volume
from lgg_runtime.volume import FLAIR, Segmentation, Volume
from lgg_runtime.writers import OUTPUTS
from lgg_runtime.writers.atomic import make_folder, write_atomically
from lgg_runtime.writers.images import SliceResult, stretch_flair

STUDIES_AHEAD = 2
SLICES_PENDING = 64


@dataclass(frozen=True)
class Job:
    """What to run: the listed input, the output folder, the outputs' names, whether to evaluate.

    choice: of the series of DICOM studies.
    """

    listing: Listing
    output: Path
    outputs: tuple[str, ...] = ("mask",)
    evaluate: bool = False
    choice: SeriesChoice = field(default_factory=SeriesChoice)


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
        writes = _Writes(pool, journal)
        try:
            for loaded in studies:
                for path, reason in loaded.failures:
                    run.record_failure(path, reason)
                for volume in loaded.volumes:
                    run.segment(loaded.study, volume, writes)
                if loaded.scan is not None:
                    run.segment_scan(loaded.study, loaded.scan, writes)
                advance(len(loaded.study.files))
            writes.finish()
        finally:
            studies.close()
            writes.cancel()
    if run.counts:
        journal.metrics = summarise(run.counts)
    journal.seconds["total"] = time.perf_counter() - begun


class _Run:
    """One pass over a job: the stages, and what they add up."""

    def __init__(self, job: Job, segmenter: Segmenter, journal: Journal):
        self._job, self._segmenter, self._journal = job, segmenter, journal
        self.counts: dict[str, Counts] = {}
        journal.seconds |= {"read": 0.0, "run": 0.0}

    def load_all(self) -> Iterator[LoadedStudy]:
        for study in self._job.listing.studies:
            begun = time.perf_counter()
            loaded = load_study(study, self._job.listing, self._job.evaluate, self._job.choice)
            self._journal.seconds["read"] += time.perf_counter() - begun
            yield loaded

    def record_failure(self, path: Path, reason: str) -> None:
        name = self._job.listing.relative(path)
        self._journal.inputs.append(InputRecord(name, FAILED, reason))

    def segment(self, study: Study, loaded: LoadedVolume, writes: _Writes) -> None:
        begun = time.perf_counter()
        try:
            result = self._segmenter.segment(loaded.volume())
        except (InputError, ModelError) as error:
            for path in loaded.files:
                self.record_failure(path, f"{printable(path.name)}: {error}")
            return
        finally:
            self._journal.seconds["run"] += time.perf_counter() - begun
        self._write(study, loaded, result, writes)
        counts = [
            None if truth is None else Counts.of(mask, truth)
            for mask, truth in zip(result.mask, loaded.truth, strict=True)
        ]
        for known in (c for c in counts if c is not None):
            self.counts[study.name] = self.counts.get(study.name, Counts()) + known
        names = [path.stem for path in loaded.files]
        self._journal.rows += summarise_volume(study.name, names, result, counts)

    def segment_scan(self, study: Study, scan: Volume | InputError, writes: _Writes) -> None:
        begun = time.perf_counter()
        try:
            if isinstance(scan, InputError):
                raise scan
            result = self._segmenter.segment(scan)
            writer = ScanWriter(self._job.output, self._job.outputs, self._segmenter)
            files = writer.encode(study, scan, result)
        except (InputError, ModelError) as error:
            reason = f"{study.name}: {error}"
            self._journal.inputs.append(InputRecord(study.name, FAILED, reason))
            return
        finally:
            self._journal.seconds["run"] += time.perf_counter() - begun
        written = tuple(target.relative_to(self._job.output).as_posix() for target in files)
        found = () if result.tumour_present else ("no tumour found",)
        record = InputRecord(study.name, DONE, "", (*scan.notes, *found), written)
        writes.finish()  # one scan's files in memory, not as many as slices may wait
        writes.submit(partial(_write_files, files), record)
        counts = [None] * len(scan)
        self._journal.rows += summarise_volume(study.name, scan.names, result, counts)

    def _write(
        self, study: Study, loaded: LoadedVolume, result: Segmentation, writes: _Writes
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
            writes.submit(partial(_write_outputs, shown, targets), record)


class _Writes:
    """Writes handed to a pool, a bounded number open; the first failure is raised here.

    An input is recorded as done once its outputs are on disk.
    """

    def __init__(self, pool: ThreadPoolExecutor, journal: Journal):
        self._pool, self._journal = pool, journal
        self._open: deque[tuple[Future[None], InputRecord]] = deque()

    def submit(self, task: Callable[[], None], record: InputRecord) -> None:
        while len(self._open) >= SLICES_PENDING:
            self._settle()
        self._open.append((self._pool.submit(task), record))

    def finish(self) -> None:
        while self._open:
            self._settle()

    def cancel(self) -> None:
        """Drop what has not begun; what is on disk is recorded."""
        for future, _ in self._open:
            future.cancel()
        for future, record in self._open:
            if not future.cancelled() and future.exception() is None:
                self._journal.inputs.append(record)

    def _settle(self) -> None:
        future, record = self._open[0]
        future.result()
        self._journal.inputs.append(record)
        self._open.popleft()


def _write_outputs(shown: SliceResult, targets: dict[str, Path]) -> None:
    for output, target in targets.items():
        write_atomically(target, OUTPUTS[output][1](shown))


def _write_files(files: dict[Path, bytes]) -> None:
    for target, data in files.items():
        make_folder(target.parent)
        write_atomically(target, data)
