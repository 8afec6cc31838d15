"""The studies of a job, read and prepared ahead of the model, in threads of their own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import cv2

from lgg_runtime.cores import available_cores
from lgg_runtime.errors import InputError, ModelError, ResourceError, printable
from lgg_runtime.readers.listing import RASTER, Study
from lgg_runtime.readers.study import LoadedStudy, LoadedVolume, load_study
from lgg_runtime.run.job import Job
from lgg_runtime.run.ledger import Ledger, digest_inputs, stamp_inputs
from lgg_runtime.run.ledger_lines import Finished
from lgg_runtime.run.pending import StudyRecord
from lgg_runtime.segmenter import Prepared, Segmenter
from lgg_runtime.volume import Volume
from lgg_runtime.workers import Workers
from lgg_runtime.writers.atomic import require_names
from lgg_runtime.writers.formats import OUTPUTS

# On a CPU the model takes nearly all of the time: one core in four is enough to feed it.
_CORES_A_READER = 4


@dataclass(frozen=True)
class ReadyVolume:
    """A volume with what the model needs of it, or why it cannot be used.

    slices: the files that it came from, None for a scan.
    """

    slices: LoadedVolume | None
    volume: Volume
    prepared: Prepared | InputError | ModelError


@dataclass(frozen=True)
class ReadyStudy:
    """A study that was read; record: what is recorded of it from here on; failures: what cannot be
    used, by its name in run.json, with the reason.
    """

    study: Study
    record: StudyRecord
    volumes: tuple[ReadyVolume, ...]
    failures: tuple[tuple[str, str], ...]


class Reading:
    """Gives the studies in order, once, or what an earlier run finished of them.

    Files are read at once, while the model is loaded: preparing waits for `use`.
    seconds: that the studies given so far took.
    """

    def __init__(self, job: Job):
        cv2.setNumThreads(1)  # the stages are threads already; OpenCV's own would crowd the model's
        self._job = job
        self.seconds = 0.0
        self._used: Future[tuple[Segmenter, Ledger | None]] = Future()
        workers = max(1, available_cores() // _CORES_A_READER)
        self._ahead = workers + 1
        self._pool = Workers(workers, "read")
        self._left = iter(job.listing.studies)
        self._open: deque[Future[tuple[ReadyStudy | Finished, float]]] = deque()
        try:
            self._fill()
        except ResourceError:
            self.close()  # a thread that has begun would wait for a model, and the process for it
            raise

    def use(self, segmenter: Segmenter, ledger: Ledger | None = None) -> None:
        """What prepares the studies, and what proves that one was finished before."""
        self._used.set_result((segmenter, ledger))

    def __iter__(self) -> Iterator[ReadyStudy | Finished]:
        while self._open:
            study, seconds = self._pool.wait_for(self._open.popleft())
            self.seconds += seconds
            self._fill()
            yield study

    def close(self) -> None:
        """End the threads after the studies at hand."""
        self._used.cancel()
        self._pool.shutdown(cancel_futures=True)

    def _fill(self) -> None:
        while len(self._open) < self._ahead and (study := next(self._left, None)) is not None:
            self._open.append(self._pool.submit(self._read, study))

    def _read(self, study: Study) -> tuple[ReadyStudy | Finished, float]:
        begun = time.perf_counter()
        paths = self._paths(study)
        before = stamp_inputs(paths)
        # Only the first few studies: the ledger may say that there is no need to read one.
        early = None if self._used.done() else _load_fit(study, self._job)
        seconds = time.perf_counter() - begun
        segmenter, ledger = self._used.result()
        begun = time.perf_counter()
        inputs = {} if ledger is None else digest_inputs(paths, self._job.listing.root)
        if ledger is not None and (finished := ledger.find(study.name, inputs)) is not None:
            return finished, seconds + time.perf_counter() - begun
        loaded = early or _load_fit(study, self._job)
        proven = bool(inputs) and before == stamp_inputs(paths)
        record = StudyRecord(study.name, inputs, proven)
        volumes = [_prepare(slices, slices.volume(), segmenter) for slices in loaded.volumes]
        if loaded.scan is not None:
            volumes.append(_prepare(None, loaded.scan, segmenter))
        ready = ReadyStudy(study, record, tuple(volumes), tuple(loaded.failures))
        return ready, seconds + time.perf_counter() - begun

    def _paths(self, study: Study) -> list[Path]:
        """The files that decide the study's results."""
        paths = [*study.files]
        if self._job.evaluate:
            paths += chain.from_iterable(map(self._job.listing.masks_of, study.files))
        return paths


def _load_fit(study: Study, job: Job) -> LoadedStudy:
    """The study without the slices that no output can be named after; these have failed."""
    files = study.files
    unfit = {path: why for path in files if (why := _refuse_name(study, path, job))}
    fit = replace(study, paths=tuple(str(path) for path in files if path not in unfit))
    loaded = load_study(fit, job.listing, job.evaluate, job.choice)
    refused = [(job.listing.relative(path), why) for path, why in unfit.items()]
    return replace(loaded, failures=[*refused, *loaded.failures])


def _refuse_name(study: Study, path: Path, job: Job) -> str | None:
    if study.kind != RASTER:
        return None
    try:
        require_names(path.stem + OUTPUTS[name][0] for name in job.outputs)
    except InputError as error:
        return f"{printable(path.name)}: {error}"
    return None


def _prepare(slices: LoadedVolume | None, volume: Volume, segmenter: Segmenter) -> ReadyVolume:
    try:
        return ReadyVolume(slices, volume, segmenter.prepare(volume))
    except (InputError, ModelError) as error:
        return ReadyVolume(slices, volume, error)
