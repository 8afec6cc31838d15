"""Everything about a GPU in one go: ceilings, throughput and latency, compute apart from end to
end, parity with the CPU, memory, and how busy a run over a folder keeps the engine.

The same on the CPU provider, so that it can be tried where there is no GPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lgg_bench.artifacts import describe_artifact, digest_run, is_onnx, label_artifacts
from lgg_bench.ceilings import measure_ceilings
from lgg_bench.gpu_parity import compare_with_cpu, find_reference
from lgg_bench.gpu_peers import load_peers
from lgg_bench.machine import describe_machine
from lgg_bench.operations import count_operations
from lgg_bench.record import Record
from lgg_bench.slices import phantom_slices
from lgg_bench.timing import Clock, summarise_seconds
from lgg_runtime.backends import Backend, BackendSettings, load_backend
from lgg_runtime.backends.cuda_driver import CudaDevice, find_driver
from lgg_runtime.backends.within_memory import WithinMemory
from lgg_runtime.cores import available_cores
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import MissingExtraError, UsageError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.progress import ignore
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.run.job import Job
from lgg_runtime.run.journal import Journal
from lgg_runtime.run.pipeline import run_job
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.volume import Mask, Pixels, Probability
from lgg_train.phantom import PhantomSettings, write_phantoms

SLICES_OF_PATIENT = 24


@dataclass(frozen=True)
class GpuBenchSettings:
    """batches: slices of a call; size: height and width; provider: cuda, tensorrt or cpu; minutes:
    what the timed calls may take in all, loading apart; patients: phantoms in the folder; most_s:
    of one row.
    """

    batches: tuple[int, ...] = (1, 8, 64)
    size: int = 256
    provider: str = "cuda"
    minutes: float = 5.0
    patients: int = 8
    most_s: float = 5.0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        if self.size % 16:
            raise UsageError(f"size {self.size}: expected a multiple of 16")

    def to_json(self) -> dict[str, Any]:
        return {
            "batches": list(self.batches),
            "size": self.size,
            "provider": self.provider,
            "minutes": self.minutes,
            "patients": self.patients,
        }


def measure_gpu(
    artifacts: Sequence[Path],
    run: Path | None,
    settings: GpuBenchSettings,
    tell: Callable[[str], object] = ignore,
) -> Record:
    """Results: `run`, the digest of its weights, None without one; `gpu`, None on the CPU;
    `ceilings`; `artifacts`, by label, whose `memory_mib` is of the GPU, None on the CPU; `rows`,
    one for each subject and batch; `parity`, by label; `folder`, the stages of a run over phantoms.

    Raises ProviderError where the provider cannot run or PyTorch finds no GPU for the run,
    InputError for a run without weights and ModelError for an artifact that is refused; of the run
    and of ONNX files before minutes are measured.
    """
    machine = describe_machine()
    files, weights = label_artifacts(artifacts), digest_run(run)
    cuda = None if settings.provider == "cpu" else CudaDevice(find_driver())
    for path in files.values():
        if is_onnx(path):
            describe_artifact(path, BackendSettings("cpu", 1))
    peers = load_peers(artifacts, run, settings.provider)
    tell("ceilings")
    ceilings = measure_ceilings(cuda, settings.clock)
    slices = phantom_slices(max(settings.batches), settings.size)
    count = (len(files) + len(peers)) * len(settings.batches)
    seconds = min(settings.most_s, settings.minutes * 60 / (2 * count))
    bench = _Bench(settings, slices, seconds, cuda)
    described, rows, parity = {}, [], {}
    for label, path in files.items():
        tell(label)
        found, backend = bench.load(path)
        described[label] = found | {"operations": _operations(path, settings.size)}
        rows += [{"subject": label, **row} for row in bench.time_artifact(backend)]
        parity[label] = compare_with_cpu(
            backend, find_reference(files, backend.contract), slices[:8]
        )
        del backend
    for name, load in peers.items():
        tell(name)
        rows += [{"subject": name, **row} for row in bench.time_peer(load())]
    tell("folder")
    results = {
        "run": weights,
        "gpu": None if cuda is None else _describe_gpu(cuda),
        "ceilings": ceilings,
        "artifacts": described,
        "rows": rows,
        "parity": parity,
        "folder": measure_folder(artifacts[0], settings),
    }
    return Record("gpu", settings.to_json(), machine, results)


def measure_folder(artifact: Path, settings: GpuBenchSettings) -> dict[str, float]:
    """Seconds by stage of a run over a folder of phantoms, and the share that the model ran."""
    load = LoadSettings(settings.provider, batch=max(settings.batches))
    segmenter = Segmenter.load(artifact, load)
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in", Path(folder) / "out"
        phantoms = PhantomSettings(settings.patients, SLICES_OF_PATIENT, settings.size, seed=5)
        write_phantoms(source, phantoms)
        journal = Journal({})
        run_job(Job(list_studies(source), output), segmenter, journal, ignore)
    seconds = dict(journal.seconds)
    slices = settings.patients * SLICES_OF_PATIENT
    return {**seconds, "slices": slices, "busy": seconds["run"] / seconds["total"]}


class _Bench:
    """Timing of one subject after the other on the same slices."""

    def __init__(
        self, settings: GpuBenchSettings, slices: Pixels, seconds: float, cuda: CudaDevice | None
    ):
        self._settings, self._slices, self._seconds = settings, slices, seconds
        self._cuda, self._clock = cuda, settings.clock

    def load(self, path: Path) -> tuple[dict[str, Any], Backend]:
        before = self._free_bytes()
        start = self._clock.now()
        chosen = BackendSettings(self._settings.provider, available_cores())
        backend = load_backend(path, chosen)
        loaded = self._clock.now() - start
        backend.run(self._slices)
        taken = before - self._free_bytes()
        found = {
            "name": backend.contract.name,
            "precision": backend.contract.precision,
            "sha256": digest_file(path),
            "device": backend.device,
            "versions": backend.versions,
            "load_s": loaded,
            "memory_mib": None if self._cuda is None else taken / 2**20,
        }
        return found, backend

    def time_artifact(self, backend: Backend) -> list[dict[str, Any]]:
        """A row for each batch; `compute` is the same run without copies, None on the CPU."""
        threshold = backend.contract.threshold

        def to_mask(slices: Pixels) -> Mask:
            return backend.run(slices) >= threshold

        inner = backend.inner if isinstance(backend, WithinMemory) else backend
        repeat = getattr(inner, "repeat_on_device", None)
        return [self._row(to_mask, batch, repeat) for batch in self._settings.batches]

    def time_peer(self, run: Callable[[Pixels], Probability]) -> list[dict[str, Any]]:
        def to_mask(slices: Pixels) -> Mask:
            return run(slices) >= 0.5

        return [self._row(to_mask, batch, None) for batch in self._settings.batches]

    def _row(
        self, run: Callable[[Pixels], Mask], batch: int, repeat: Callable[[], int] | None
    ) -> dict[str, Any]:
        call = partial(run, np.ascontiguousarray(self._slices[:batch]))
        end_to_end = summarise_seconds(self._time(call), batch)
        compute = None if repeat is None else summarise_seconds(self._time(repeat), repeat())
        return {"batch": batch, "end_to_end": end_to_end, "compute": compute}

    def _time(self, call: Callable[[], Any]) -> Any:
        """Seconds of calls, (1, calls), for as long as a row may take; three at least."""
        call()
        seconds: list[float] = []
        begun = self._clock.now()
        while len(seconds) < 3 or self._clock.now() - begun < self._seconds:
            start = self._clock.now()
            call()
            seconds.append(self._clock.now() - start)
        return np.array([seconds])

    def _free_bytes(self) -> int:
        """Of the GPU's memory; 0 without a GPU."""
        return 0 if self._cuda is None else self._cuda.memory_bytes()[0]


def _operations(path: Path, size: int) -> int | None:
    try:
        return count_operations(path, size, size) if is_onnx(path) else None
    except MissingExtraError:
        return None


def _describe_gpu(cuda: CudaDevice) -> dict[str, Any]:
    return {
        "name": cuda.name,
        "compute_capability": cuda.compute_capability,
        "driver": cuda.driver_version,
        "memory_gib": round(cuda.memory_bytes()[1] / 2**30, 1),
    }
