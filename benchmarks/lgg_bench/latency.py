"""Latency: milliseconds a slice by batch and threads, of artifacts and of PyTorch beside them.

All subjects of one configuration are timed in turn (see timing), end to end from uint8 slices to
probabilities as arrays. The slices are a phantom's middle ones, normalised as the runtime does.
Needs no PyTorch unless a run is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lgg_bench.artifacts import (
    describe_artifact,
    describe_provider,
    digest_run,
    label_artifacts,
    label_precision,
)
from lgg_bench.machine import describe_machine, note_load, note_shared_cores
from lgg_bench.record import Record
from lgg_bench.slices import phantom_slices
from lgg_bench.table import Table
from lgg_bench.timing import (
    Clock,
    TimingSettings,
    compare_seconds,
    describe_spread,
    start_cold,
    summarise_seconds,
    time_in_turn,
)
from lgg_runtime.backends import BackendSettings, load_backend
from lgg_runtime.cores import available_cores
from lgg_runtime.errors import UsageError
from lgg_runtime.extras import needs_extra
from lgg_runtime.plural import count
from lgg_runtime.volume import Pixels, Probability

EAGER = {"PyTorch NCHW": "NCHW", "PyTorch channels_last": "channels_last"}
Run = Callable[[Pixels], Probability]


@dataclass(frozen=True)
class LatencySettings:
    """batches: slices of a call; threads: of the computation, empty for all cores; size: height
    and width of a slice, a multiple of 16; provider: cpu, openvino or cuda; cpu_precision: as for
    BackendSettings.
    """

    batches: tuple[int, ...] = (1, 8)
    threads: tuple[int, ...] = ()
    size: int = 256
    provider: str = "cpu"
    timing: TimingSettings = field(default_factory=TimingSettings)
    cpu_precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.size % 16:
            raise UsageError(f"size {self.size}: expected a multiple of 16")

    def backend(self, threads: int) -> BackendSettings:
        return BackendSettings(self.provider, threads, cpu_precision=self.cpu_precision)

    def to_json(self) -> dict[str, Any]:
        timing = self.timing
        return {
            "batches": list(self.batches),
            "threads": list(self.threads or (available_cores(),)),
            "size": self.size,
            "provider": self.provider,
            "cpu_precision": self.cpu_precision,
            "rounds": timing.rounds,
            "calls": timing.calls,
            "rest_s": timing.rest_s,
        }


def measure_latency(
    artifacts: Sequence[Path],
    run: Path | None,
    settings: LatencySettings,
    progress: bool = False,
    clock: Clock | None = None,
) -> Record:
    """Time every artifact, and the run's network in two layouts, in every configuration.

    Results: `artifacts`, label to precision and digest; `rows`, one for each configuration and
    subject. Cold times are those of a running program whose files the system has read before.
    Raises ModelError, ProviderError, and MissingExtraError where a run is given without PyTorch.
    """
    machine = describe_machine()
    files = label_artifacts(artifacts)
    described = {label: describe_artifact(p, settings.backend(1)) for label, p in files.items()}
    plain, weights = settings.to_json(), digest_run(run)
    slices = phantom_slices(max(settings.batches), settings.size)
    configurations = [(t, b) for t in plain["threads"] for b in settings.batches]
    subjects = len(files) + (len(EAGER) if run else 0)
    turns = len(configurations) * subjects * settings.timing.rounds
    rows: list[dict[str, Any]] = []
    with tqdm(total=turns, unit="turn", disable=None if progress else True, leave=False) as bar:
        for threads, batch in configurations:
            loads = _loads(files, run, settings.backend(threads))
            with _threads(run, threads):
                found = _measure(
                    loads, slices[:batch], settings.timing, clock or Clock(), bar.update
                )
            rows += [{"threads": threads, "batch": batch, **row} for row in found]
    return Record("latency", plain, machine, {"run": weights, "artifacts": described, "rows": rows})


def _measure(
    loads: Mapping[str, Callable[[], Run]],
    slices: Pixels,
    timing: TimingSettings,
    clock: Clock,
    advance: Callable[[], object],
) -> list[dict[str, Any]]:
    """One configuration: a row for each subject; PyTorch's, where there is one, come first."""
    calls: dict[str, Callable[[], Probability]] = {}
    outputs: dict[str, Probability] = {}
    cold: dict[str, Any] = {}
    for name, load in loads.items():
        bound = partial(_bind, load, slices)
        calls[name], outputs[name], cold[name] = start_cold(bound, timing.rest_s, clock)
    seconds = time_in_turn(calls, timing, clock, advance)
    references = [name for name in EAGER if name in loads]
    return [
        {
            "subject": name,
            "cold": cold[name],
            **summarise_seconds(seconds[name], len(slices)),
            "times_faster_than": {
                reference: asdict(compare_seconds(seconds[reference], seconds[name]))
                for reference in references
                if reference != name
            },
            "largest_difference_from": {
                reference: float(np.abs(outputs[name] - outputs[reference]).max())
                for reference in references[:1]
                if reference != name
            },
        }
        for name in loads
    ]


def _bind(load: Callable[[], Run], slices: Pixels) -> Callable[[], Probability]:
    return partial(load(), slices)


def _loads(
    files: Mapping[str, Path], run: Path | None, backend: BackendSettings
) -> dict[str, Callable[[], Run]]:
    loads: dict[str, Callable[[], Run]] = {}
    device = "cuda" if backend.provider == "cuda" else "cpu"
    if run is not None:
        with needs_extra("train"):
            from lgg_bench.eager import load_eager
        for name, layout in EAGER.items():
            loads[name] = partial(load_eager, run, layout, device)
    for label, path in files.items():
        loads[label] = partial(_load_artifact, path, backend)
    return loads


def _load_artifact(path: Path, backend: BackendSettings) -> Run:
    return load_backend(path, backend).run


def _threads(run: Path | None, threads: int) -> AbstractContextManager[None]:
    if run is None:
        return nullcontext()
    from lgg_bench.eager import torch_threads

    return torch_threads(threads)


def tabulate(record: Record) -> list[Table]:
    """A table for each thread count and batch, its rows in the order of measurement."""
    settings, rows = record.settings, record.results["rows"]
    tables = []
    for threads in settings["threads"]:
        for batch in settings["batches"]:
            chosen = [r for r in rows if (r["threads"], r["batch"]) == (threads, batch)]
            title = f"Milliseconds a slice: {count(threads, 'thread')}, batch {batch}"
            tables.append(_table(chosen, title, record))
    return [*tables[:-1], replace(tables[-1], notes=_notes(record))]


def _table(rows: Sequence[dict[str, Any]], title: str, record: Record) -> Table:
    references = [row["subject"] for row in rows if row["subject"] in EAGER]
    header = ["", "p50 ms", "p90 ms", "p99 ms", "slices/s", "cold ms"]
    cells = [
        [
            label_precision(row["subject"], record.results),
            *(f"{row['ms_per_slice'][p]:.1f}" for p in ("p50", "p90", "p99")),
            f"{row['slices_per_second']:.1f}",
            f"{row['cold']['load_ms'] + row['cold']['first_ms']:.0f}",
            *(describe_spread(row["times_faster_than"].get(name), ".2f") for name in references),
        ]
        for row in rows
    ]
    return Table(title, [*header, *(f"x {EAGER[name]}" for name in references)], cells)


def _notes(record: Record) -> list[str]:
    settings, rows = record.settings, record.results["rows"]
    size = settings["size"]
    eager = " PyTorch: eager, fp32." if any(row["subject"] in EAGER for row in rows) else ""
    lines = [
        f"p50, p90, p99: of one slice of {size} x {size}, from uint8 to probability, warm; "
        f"{rows[0]['calls']} calls each, taking turns in {count(settings['rounds'], 'round')}.",
        "cold: loading and the first call, the whole batch, once. Artifacts: on "
        f"{describe_provider(settings)}.{eager}",
    ]
    if any(row["times_faster_than"] for row in rows):
        lines.append(
            "x: how many times faster than PyTorch in that layout, in the same round; "
            "median (quartiles)."
        )
    largest: dict[str, float] = {}
    for row in rows:
        for difference in row["largest_difference_from"].values():
            if row["subject"] in record.results["artifacts"]:
                largest[row["subject"]] = max(largest.get(row["subject"], 0.0), difference)
    if largest:
        found = ", ".join(f"{name} {value:.2g}" for name, value in largest.items())
        lines.append(
            f"Largest probability difference from PyTorch on these slices: {found}. "
            "An artifact of another run is another network, and differs by that."
        )
    lines += note_shared_cores(max(settings["threads"]), record.machine)
    return lines + note_load(record.machine)
