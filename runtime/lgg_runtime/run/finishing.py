"""From probabilities to files: decide, summarise and write, beside the model's next run."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from lgg_runtime import __version__
from lgg_runtime.errors import InputError, ModelError, printable
from lgg_runtime.metrics import Counts
from lgg_runtime.readers.study import LoadedVolume
from lgg_runtime.run.job import Job
from lgg_runtime.run.journal import DONE, FAILED, InputRecord, Journal
from lgg_runtime.run.ledger_lines import Finished
from lgg_runtime.run.pending import PendingWrites
from lgg_runtime.run.reading import ReadyStudy, ReadyVolume
from lgg_runtime.run.request import NOT_SCORED
from lgg_runtime.run.summary import SummaryRow, join_volumes, summarise_volume
from lgg_runtime.segmenter import Answer, Prepared, Segmenter
from lgg_runtime.volume import FLAIR, Segmentation, Volume
from lgg_runtime.workers import Workers
from lgg_runtime.writers.atomic import make_folder, require_names, write_atomically
from lgg_runtime.writers.formats import OUTPUTS, SCAN_OUTPUTS, numbered
from lgg_runtime.writers.images import SliceResult, show_scan, stretch_flair
from lgg_runtime.writers.scan import Algorithm, ScanResult

STUDIES_PENDING = 2
Found = Answer | InputError | ModelError


class Finishing:
    """Takes what the model found, study by study: one thread finishes them in order, another one
    writes. The first failure is raised by the next call.

    counts: against the reference masks, by study.
    """

    def __init__(self, job: Job, segmenter: Segmenter, journal: Journal):
        self._job, self._segmenter, self._journal = job, segmenter, journal
        self.counts: dict[str, Counts] = {}
        journal.seconds["finish"] = 0.0
        self._finisher = Workers(1, "finish")
        self._writer = Workers(1, "write")
        self._writes = PendingWrites(self._writer, journal, job.ledger)
        self._open: deque[Future[None]] = deque()

    def add(self, ready: ReadyStudy | Finished, found: Sequence[Found] = ()) -> None:
        """found: for each of its volumes, or why there is nothing."""
        while len(self._open) >= STUDIES_PENDING:
            self._finisher.wait_for(self._open[0])
            self._open.popleft()
        self._open.append(self._finisher.submit(self._finish_study, ready, found))

    def finish(self) -> None:
        """Wait until everything is on disk."""
        for future in self._open:
            self._finisher.wait_for(future)
        self._writes.finish()

    def close(self) -> None:
        """Drop what has not begun; what is on disk is recorded."""
        self._finisher.shutdown(cancel_futures=True)
        self._writes.cancel()
        self._writer.shutdown()

    def _finish_study(self, ready: ReadyStudy | Finished, found: Sequence[Found]) -> None:
        if isinstance(ready, Finished):  # recorded as the earlier run did
            self._journal.resumed += 1
            self._journal.inputs += ready.records
            self._add(ready.study, ready.rows, ready.doubts)
            return
        begun = time.perf_counter()
        for name, reason in ready.failures:
            self._fail(ready, name, reason)
        rows: list[SummaryRow] = []
        for volume, values in zip(ready.volumes, found, strict=True):
            rows += self._finish_volume(ready, volume, values)
        ready.record.rows += join_volumes(rows, [path.stem for path in ready.study.files])
        ready.record.doubts += _doubts_of(ready.volumes)
        self._add(ready.study.name, ready.record.rows, ready.record.doubts)
        self._writes.end_study(ready.record)
        self._journal.seconds["finish"] += time.perf_counter() - begun

    def _finish_volume(
        self, ready: ReadyStudy, volume: ReadyVolume, found: Found
    ) -> list[SummaryRow]:
        """The volume's rows of the summary, none where there is no result."""
        try:
            if isinstance(found, Exception):
                raise found
            assert isinstance(volume.prepared, Prepared)  # where it is not, `found` says why
            result = self._segmenter.finish(volume.prepared, found)
            if volume.slices is None:
                return self._finish_scan(ready, volume.volume, result)
            return self._finish_slices(ready, volume.slices, volume.volume, result)
        except (InputError, ModelError) as error:
            if volume.slices is None:
                self._fail(ready, ready.study.name, f"{ready.study.name}: {error}")
                return []
            for path in volume.slices.files:
                name = self._job.listing.relative(path)
                self._fail(ready, name, f"{printable(path.name)}: {error}")
            return []

    def _fail(self, ready: ReadyStudy, name: str, reason: str) -> None:
        """A study with a failure is tried again by a resumed run: its cause may be gone."""
        ready.record.proven = False
        self._journal.inputs.append(InputRecord(name, FAILED, reason))

    def _finish_slices(
        self, ready: ReadyStudy, slices: LoadedVolume, volume: Volume, result: Segmentation
    ) -> list[SummaryRow]:
        counts = [
            None if truth is None else Counts.of(mask, truth)
            for mask, truth in zip(result.mask, slices.truth, strict=True)
        ]
        has_pictures = {*self._job.outputs} != {"mask"}
        greys = stretch_flair(volume.pixels[..., FLAIR]) if has_pictures else None
        folder = self._job.output / ready.study.folder
        for index, path in enumerate(slices.files):
            shown = SliceResult(
                None if greys is None else greys[index],
                result.mask[index],
                result.probability[index],
                slices.truth[index],
            )
            targets = {name: folder / (path.stem + OUTPUTS[name][0]) for name in self._job.outputs}
            written = (t.relative_to(self._job.output).as_posix() for t in targets.values())
            name = self._job.listing.relative(path)
            record = InputRecord(name, DONE, "", slices.notes[index], tuple(written))
            self._writes.submit(partial(_write_outputs, shown, targets), record, ready.record)
        names = [path.stem for path in slices.files]
        return summarise_volume(ready.study.name, names, result, counts)

    def _finish_scan(
        self, ready: ReadyStudy, scan: Volume, result: Segmentation
    ) -> list[SummaryRow]:
        study = ready.study
        encoded = _encode_scan(scan, result, self._job.outputs, self._segmenter)
        output = self._job.output
        files = {output / study.scan_output(end): data for end, data in encoded.items()}
        require_names((target.name for target in files), study.folder.parts)
        written = tuple(target.relative_to(output).as_posix() for target in files)
        found = () if result.tumour_present else ("no tumour found",)
        unscored = (f"not scored: {NOT_SCORED}",) if self._job.evaluate else ()
        done = InputRecord(study.name, DONE, "", (*scan.notes, *found, *unscored), written)
        self._writes.finish()  # one scan's files in memory, not as many as slices may wait
        self._writes.submit(partial(_write_files, files), done, ready.record)
        return summarise_volume(study.name, scan.names, result, [None] * len(scan))

    def _add(self, study: str, rows: Sequence[SummaryRow], doubts: Sequence[str]) -> None:
        if doubts:
            self._journal.doubts[study] = "; ".join(doubts)
        self._journal.rows += rows
        for row in rows:
            if row.level == "patient" and row.counts is not None:
                self.counts[study] = self.counts.get(study, Counts()) + row.counts


def _doubts_of(volumes: Sequence[ReadyVolume]) -> list[str]:
    """Each once, where most of the study's slices are of volumes with doubts."""
    known = [
        (len(v.volume), v.prepared.doubts) for v in volumes if isinstance(v.prepared, Prepared)
    ]
    doubted = sum(slices for slices, doubts in known if doubts)
    if 2 * doubted <= sum(slices for slices, _ in known):
        return []
    return list(dict.fromkeys(doubt for _, doubts in known for doubt in doubts))


def _encode_scan(
    volume: Volume, found: Segmentation, outputs: Sequence[str], segmenter: Segmenter
) -> dict[str, bytes]:
    """The files of one scan by the ends of their names. Raises InputError where its headers forbid
    an output.
    """
    algorithm = Algorithm(segmenter.name, __version__, segmenter.digest)
    result = ScanResult(volume, found, algorithm)
    files: dict[str, bytes] = {}
    for name in outputs:
        files |= SCAN_OUTPUTS[name][1](result) if name in SCAN_OUTPUTS else _draw(name, result)
    return files


def _draw(name: str, result: ScanResult) -> dict[str, bytes]:
    """Pictures of each slice, by number."""
    end, encode = OUTPUTS[name]
    return {numbered(n, end): encode(shown) for n, shown in enumerate(show_scan(result), 1)}


def _write_outputs(shown: SliceResult, targets: dict[str, Path]) -> list[str]:
    return _write_files({target: OUTPUTS[name][1](shown) for name, target in targets.items()})


def _write_files(files: dict[Path, bytes]) -> list[str]:
    """Returns the SHA-256 of what is on disk now, of each."""
    for folder in {target.parent for target in files}:
        make_folder(folder)
    for target, data in files.items():
        write_atomically(target, data)
    return [hashlib.sha256(data).hexdigest() for data in files.values()]
