"""Roofline: what this machine computes at best by precision, and what fraction engines reach.

The ceiling of a precision is the fastest of a matrix product and of large convolutions, in any of
the engines. What an engine computes of an artifact is set against it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lgg_bench.artifacts import label_artifacts
from lgg_bench.large_layers import INPUT, Layers, write_layers
from lgg_bench.layers import profile_layers
from lgg_bench.machine import (
    computes_bf16,
    describe_machine,
    note_load,
    note_shared_cores,
)
from lgg_bench.operations import count_operations
from lgg_bench.record import Record
from lgg_bench.slices import phantom_slices
from lgg_bench.table import Table
from lgg_bench.timing import Clock, TimingSettings, time_in_turn
from lgg_runtime.backends import BackendSettings, load_backend
from lgg_runtime.backends.onnx_session import import_onnxruntime, make_options
from lgg_runtime.backends.openvino_core import open_core
from lgg_runtime.digests import digest_file
from lgg_runtime.extras import needs_extra
from lgg_runtime.plural import count
from lgg_runtime.volume import Pixels

_SIDE = 2048
_LARGE = Layers()
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
Call = Callable[[], object]
Key = TypeVar("Key", bound=tuple[str, ...])


@dataclass(frozen=True)
class RooflineSettings:
    """threads: of the computation; batch, size: of the artifacts' slices."""

    threads: int = 2
    batch: int = 8
    size: int = 256
    timing: TimingSettings = field(default_factory=lambda: TimingSettings(rounds=7))

    def to_json(self) -> dict[str, Any]:
        return {
            "threads": self.threads,
            "batch": self.batch,
            "size": self.size,
            "rounds": self.timing.rounds,
        }


def measure_roofline(artifacts: Sequence[Path], settings: RooflineSettings) -> Record:
    """Results: `ceilings`, rows of precision, engine and GFLOP/s of large layers; `rows`, of each
    artifact and engine its GFLOP/s and its fraction of the ceiling; `layers`, by artifact: where
    OpenVINO's time goes, as `profile_layers` has it. Rows of bf16 only where the processor
    computes in it.
    """
    with needs_extra("train"):
        from lgg_bench.eager import torch_threads

    machine = describe_machine()
    files = label_artifacts(artifacts)
    slices = phantom_slices(settings.batch, settings.size)
    # Loaded before the ceilings: what an engine refuses is told before minutes are measured.
    subjects = _subjects(files, slices, settings, computes_bf16(machine))
    with tempfile.TemporaryDirectory() as folder, torch_threads(settings.threads):
        large = _large(Path(folder), settings, computes_bf16(machine))
        found = _rates({(p, e): (call, ops) for p, e, call, ops in large}, settings.timing)
    ceilings = [
        {"precision": precision, "engine": engine, "gflops": rate}
        for (precision, engine), rate in found.items()
    ]
    best = {p: max(r for (q, _), r in found.items() if q == p) for p, _ in found}
    rates = _rates(subjects, settings.timing)
    rows = [
        {"artifact": label, "engine": engine, "precision": kind, "gflops": rate,
         "fraction": rate / best[kind] if kind in best else None}
        for (label, engine, kind), rate in rates.items()
    ]  # fmt: skip
    layers = {
        label: profile_layers(path, slices[:1], settings.threads) for label, path in files.items()
    }
    results = {
        "artifacts": {label: digest_file(path) for label, path in files.items()},
        "ceilings": ceilings,
        "best": best,
        "rows": rows,
        "layers": layers,
    }
    return Record("roofline", settings.to_json(), machine, results)


def _rates(calls: dict[Key, tuple[Call, int]], timing: TimingSettings) -> dict[Key, float]:
    """GFLOP/s of each at the median of its calls; all take turns."""
    for call, _ in calls.values():
        call()
    timed = {key: call for key, (call, _) in calls.items()}
    seconds = time_in_turn(timed, timing, Clock(), lambda: None)
    return {
        key: operations / float(np.median(seconds[key])) / 1e9
        for key, (_, operations) in calls.items()
    }


def _subjects(
    files: dict[str, Path], slices: Pixels, settings: RooflineSettings, has_bf16: bool
) -> dict[tuple[str, str, str], tuple[Call, int]]:
    """By artifact, engine and precision: what runs the slices once, and its operations."""
    subjects: dict[tuple[str, str, str], tuple[Call, int]] = {}
    for label, path in files.items():
        each = count_operations(path, settings.size, settings.size) * settings.batch
        for name, chosen in _engines(path, settings, has_bf16):
            backend = load_backend(path, chosen)
            precision = backend.contract.precision.split(" ")[0]
            kind = chosen.cpu_precision if precision == "fp32" else precision
            subjects[label, name, kind] = (partial(backend.run, slices), each)
    return subjects


def _large(
    folder: Path, settings: RooflineSettings, has_bf16: bool
) -> Iterator[tuple[str, str, Call, int]]:
    """Precision, engine, what computes once, and its operations."""
    import torch

    types = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if has_bf16 else {})
    for name, dtype in types.items():
        a = torch.randn((_SIDE, _SIDE)).to(dtype)
        yield name, "PyTorch, matrix product", partial(torch.matmul, a, a), 2 * _SIDE**3
    x, operations = _LARGE.make_input(), _LARGE.operations
    runtime = import_onnxruntime()
    for precision in ("fp32", "int8"):
        path = folder / f"{precision}.onnx"
        write_layers(path, _LARGE, precision)
        session = runtime.InferenceSession(
            str(path), make_options(runtime, settings.threads), providers=["CPUExecutionProvider"]
        )
        call = partial(session.run, None, {INPUT: x})
        yield precision, "onnxruntime, convolutions", call, operations
    core = open_core()
    for precision in (*types, "int8"):
        path = folder / ("int8.onnx" if precision == "int8" else "fp32.onnx")
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": settings.threads,
        }
        compiled = core.compile_model(str(path), "CPU", options)
        request = compiled.create_infer_request()
        call = partial(request.infer, {0: x}, share_inputs=True)
        yield precision, "OpenVINO, convolutions", call, operations


def _engines(
    path: Path, settings: RooflineSettings, has_bf16: bool
) -> Iterator[tuple[str, BackendSettings]]:
    yield "onnxruntime", BackendSettings("cpu", settings.threads)
    yield "OpenVINO", BackendSettings("openvino", settings.threads)
    contract = load_backend(path, BackendSettings("cpu", 1)).contract
    if has_bf16 and contract.precision.startswith("fp32"):
        chosen = BackendSettings("openvino", settings.threads, cpu_precision="bf16")
        yield "OpenVINO, bf16", chosen


def tabulate(record: Record) -> list[Table]:
    results, settings = record.results, record.settings
    ceilings = [
        [f"{row['precision']}: {row['engine']}", f"{row['gflops']:.0f}"]
        for row in results["ceilings"]
    ]
    rows = [
        [f"{row['artifact']}: {row['engine']}", row["precision"], f"{row['gflops']:.0f}",
         "" if row["fraction"] is None else f"{100 * row['fraction']:.0f} %"]
        for row in results["rows"]
    ]  # fmt: skip
    threads = count(settings["threads"], "thread")
    note = (
        f"Large convolutions: {_LARGE.count} of 3 x 3, {_LARGE.channels} channels, "
        f"{_LARGE.side} x {_LARGE.side}. The product: {_SIDE} x {_SIDE}. The ceiling of a "
        "precision is the fastest of its rows, whatever the engine: an engine's own row may be "
        "slower than what it computes of an artifact."
    )
    shared = note_shared_cores(settings["threads"], record.machine)
    notes = [note, *shared, *note_load(record.machine)]
    tables = [
        Table(f"What the machine reaches, {threads}", ["", "GFLOP/s"], ceilings, notes),
        Table(
            f"What engines reach of it, {settings['size']} x {settings['size']}, "
            f"batch {settings['batch']}",
            ["", "precision", "GFLOP/s", "of the ceiling"],
            rows,
        ),
    ]
    quantised = {row["artifact"] for row in results["rows"] if row["precision"] == "int8"}
    for label, profile in results["layers"].items():
        cells = [
            [row["kind"], f"{row['milliseconds']:.2f}", f"{100 * row['share']:.0f} %",
             "" if row["gflops"] is None else f"{row['gflops']:.0f}"]
            for row in profile["kinds"]
        ]  # fmt: skip
        arithmetic = profile["arithmetic"] + (" beside int8" if label in quantised else "")
        title = f"Where OpenVINO's time goes, {label}, one slice in {arithmetic}"
        tables.append(Table(title, ["", "ms", "of the time", "GFLOP/s"], cells))
    return tables
