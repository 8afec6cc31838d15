"""The GPU benchmark on the CPU provider, and its calls for a GPU on stand-ins."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lgg_bench import ceilings, gpu
from lgg_bench.gpu import GpuBenchSettings, measure_gpu
from lgg_bench.gpu_parity import compare_with_cpu
from lgg_bench.gpu_peers import load_peers
from lgg_bench.operations import count_operations
from lgg_bench.slices import phantom_slices
from lgg_bench.tables import describe_record
from lgg_bench.timing import Clock
from lgg_export.engine import EngineSettings, build_engine
from lgg_runtime.backends import BackendSettings, engine, load_backend
from lgg_runtime.backends.cuda_driver import CudaDevice
from lgg_runtime.backends.engine import EngineBackend
from lgg_runtime.errors import InputError, ModelError, ProviderError, UsageError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.volume import Mask, Pixels
from stand_ins.artifacts import write_artifact
from stand_ins.cuda import StandInDriver
from stand_ins.tensorrt import StandInTensorRT

ROOT = Path(__file__).parents[2]
QUICK = GpuBenchSettings((1, 2), 64, "cpu", patients=1, most_s=0.01)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "COPY_BYTES", 4096)


def test_a_measurement_on_the_cpu_has_every_part(model: Path) -> None:
    record = measure_gpu([model], None, QUICK)
    results = record.results
    assert [(row["subject"], row["batch"]) for row in results["rows"]] == [
        ("m.onnx", 1),
        ("m.onnx", 2),
        ("onnxruntime, defaults, m.onnx", 1),
        ("onnxruntime, defaults, m.onnx", 2),
    ]
    assert results["gpu"] is None and results["run"] is None
    assert results["parity"]["m.onnx"]["passed"] is True
    assert results["parity"]["m.onnx"]["flipped_pixels"] == 0
    folder = results["folder"]
    assert folder["slices"] == 24
    assert 0 < folder["busy"] == folder["run"] / folder["total"] <= 1
    known = results["artifacts"]["m.onnx"]
    assert known["operations"] == 2 * 3 * 64 * 64
    assert known["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert record.settings == {
        "batches": [1, 2], "size": 64, "provider": "cpu", "minutes": 5.0, "patients": 1,
    }  # fmt: skip
    text = describe_record(record)
    assert "Slices of 64 on CPU" in text
    assert known["memory_mib"] is None
    assert "the model ran" in text


def test_a_folder_is_of_all_patients_in_the_largest_batches(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[LoadSettings] = []

    def load(path: Path, settings: LoadSettings) -> Segmenter:
        asked.append(settings)
        return Segmenter.load(path, settings)

    monkeypatch.setattr(gpu, "Segmenter", SimpleNamespace(load=load))
    assert gpu.measure_folder(model, replace(QUICK, patients=2))["slices"] == 2 * 24
    assert asked == [LoadSettings("cpu", batch=2)]


def test_an_engine_alone_is_measured_with_the_computing_apart(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, library = model.with_name("m.engine"), StandInTensorRT()
    build_engine(model, path, EngineSettings("tensorrt", batch=4), library, StandInDriver())
    monkeypatch.setattr(engine, "import_library", lambda _: library)
    for module in (gpu, engine):
        monkeypatch.setattr(module, "find_driver", StandInDriver)
    monkeypatch.setitem(sys.modules, "torch", None)
    results = measure_gpu([path], None, replace(QUICK, provider="tensorrt")).results
    cuda = CudaDevice(StandInDriver())
    assert results["gpu"] == {
        "name": cuda.name,
        "compute_capability": cuda.compute_capability,
        "driver": cuda.driver_version,
        "memory_gib": round(cuda.memory_bytes()[1] / 2**30, 1),
    }
    assert [(row["subject"], row["batch"]) for row in results["rows"]] == [
        ("m.engine", 1),
        ("m.engine", 2),
    ]
    assert all(row["compute"]["slices_per_second"] > 0 for row in results["rows"])
    assert results["parity"]["m.engine"]["passed"] is None


def test_a_bad_run_or_artifact_is_refused_before_minutes_are_measured(
    model: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"bad\.onnx: not an ONNX model"):
        measure_gpu([model, tmp_path / "bad.onnx"], None, QUICK, told.append)
    with pytest.raises(InputError, match=r"no model\.pt in it"):
        measure_gpu([model], tmp_path, QUICK, told.append)
    assert told == []


def test_all_timed_calls_share_the_minutes_and_none_takes_more_than_it_may(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    class Bench:
        """Keeps what a row may take, and ends the measurement."""

        def __init__(self, *settings: Any) -> None:
            given.append(settings[2])
            raise InterruptedError

    other = model.with_name("other.onnx")
    write_artifact(other)
    monkeypatch.setattr(gpu, "_Bench", Bench)
    for minutes in (0.2, 9.0):
        with pytest.raises(InterruptedError):
            measure_gpu([model, other], None, replace(QUICK, minutes=minutes, most_s=5.0))
    # Three subjects with two batches each, with copies and without.
    assert given == [pytest.approx(12 / 12), 5.0]


def test_memory_is_what_loading_and_the_largest_batch_took(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, free, looks = load_backend(model, BackendSettings("cpu", 1)), [2**30], [3.0, 5.5]

    def take(mib: int, result: Any) -> Any:
        free[0] -= mib * 2**20
        return result

    monkeypatch.setattr(gpu, "load_backend", lambda *_: take(3, backend))
    monkeypatch.setattr(type(backend), "run", lambda _, slices: take(len(slices), None))
    settings = replace(QUICK, clock=Clock(now=lambda: looks.pop(0)))
    cuda: Any = SimpleNamespace(
        memory_bytes=lambda: (free[0], 2**31), name="", compute_capability="", driver_version=""
    )
    found, _ = gpu._Bench(settings, phantom_slices(4, 64), 1.0, cuda).load(model)
    assert (found["load_s"], found["memory_mib"]) == (2.5, 7.0)
    assert gpu._describe_gpu(cuda)["memory_gib"] == 2.0


@pytest.mark.parametrize(("most_s", "timed"), [(0.0, [1, 2, 3]), (10.0, [1, 2, 3, 4])])
def test_a_row_is_timed_after_a_first_call_three_times_at_least(
    fake_time: Any, most_s: float, timed: list[int]
) -> None:
    bench = gpu._Bench(replace(QUICK, clock=fake_time.clock), phantom_slices(1, 64), most_s, None)
    assert bench._time(fake_time.worker("a", [100, 1, 2, 3, 4, 5])).tolist() == [timed]


def test_a_row_is_of_its_batch_and_what_computes_alone_of_the_slices_that_it_computes(
    fake_time: Any,
) -> None:
    asked: list[int] = []

    def run(slices: Pixels) -> Mask:
        asked.append(len(slices))
        fake_time.seconds += 3.0
        return np.zeros(slices.shape[:3], bool)

    def repeat() -> int:
        fake_time.seconds += 1.5
        return 5

    bench = gpu._Bench(replace(QUICK, clock=fake_time.clock), phantom_slices(8, 64), 0.0, None)
    row = bench._row(run, 6, repeat)
    assert (row["batch"], set(asked)) == (6, {6})
    assert row["end_to_end"]["ms_per_slice"]["p50"] == pytest.approx(3000 / 6)
    assert row["compute"]["slices_per_second"] == pytest.approx(5 / 1.5)


@pytest.mark.parametrize("differs", ["name", "training"])
def test_each_model_is_compared_with_its_own_fp32_artifact(
    model: Path, tmp_path: Path, differs: str
) -> None:
    other = tmp_path / "other.onnx"
    write_artifact(other)
    graph = onnx.load(str(other))
    held = json.loads(graph.metadata_props[0].value)
    if differs == "name":
        held["name"] = "another"
    else:
        held["training"]["split"] = "0" * 64
    graph.metadata_props[0].value = json.dumps(held)
    other.write_bytes(graph.SerializeToString())
    half = tmp_path / "half.onnx"
    write_artifact(half, "fp16")
    found = measure_gpu([other, half], None, QUICK).results["parity"]
    assert found["other.onnx"]["passed"] is True
    assert found["half.onnx"]["passed"] is None
    assert measure_gpu([other, model, half], None, QUICK).results["parity"]["half.onnx"]["passed"]


@pytest.mark.parametrize(
    ("precision", "limits"),
    [
        ("fp32", {"probability": 1e-3, "flipped": 1e-5}),
        ("fp16", {"probability": 5e-2, "flipped": 1e-4}),
        ("int8", {"probability": None, "flipped": 2e-3}),
    ],
)
def test_each_artifact_is_held_to_the_limits_of_its_precision(
    model: Path, tmp_path: Path, precision: str, limits: dict[str, float | None]
) -> None:
    other = tmp_path / "other.onnx"
    write_artifact(other, precision)
    backend = load_backend(other, BackendSettings("cpu", 1))
    found = compare_with_cpu(backend, model, phantom_slices(2, 64))
    assert (found["limits"], found["passed"]) == (limits, True)


def test_what_else_runs_is_called_by_its_artifact_or_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    artifacts = [Path("weights/b.engine"), Path("weights/a.onnx"), Path("weights/c.onnx")]
    pytorch = ["PyTorch eager, b", "PyTorch fp16 channels_last, CUDA graph, b"]
    found = load_peers(artifacts, Path("runs/b"), "cuda")
    assert list(found) == ["onnxruntime, defaults, a.onnx", *pytorch]
    assert list(load_peers(artifacts[:1], Path("runs/b"), "tensorrt")) == pytorch
    assert list(load_peers(artifacts, Path("runs/b"), "cpu")) == list(found)[:2]


def test_pytorch_that_finds_no_gpu_is_told_before_minutes_are_measured(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ROOT / "train" / "shipped" / "tiny"
    told: list[str] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("lgg_bench.gpu.find_driver", StandInDriver)
    with pytest.raises(ProviderError, match="this installation of PyTorch finds no CUDA device"):
        measure_gpu([model], run, replace(QUICK, provider="cuda"), told.append)
    assert told == []


def test_an_artifact_that_computes_something_else_fails(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    write_artifact(other)
    graph = onnx.load(str(other))
    for tensor in graph.graph.initializer:
        if tensor.name == "bias":
            tensor.CopyFrom(numpy_helper.from_array(np.array([-2.9], np.float32), "bias"))
    other.write_bytes(graph.SerializeToString())
    backend = load_backend(other, BackendSettings("cpu", 1))
    found = compare_with_cpu(backend, model, phantom_slices(2, 64))
    assert found["passed"] is False
    assert 0.01 < found["largest_probability_difference"] < 0.03
    assert compare_with_cpu(backend, None, phantom_slices(2, 64))["passed"] is None


def test_compute_is_timed_apart_from_the_copies(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.engine"
    settings = EngineSettings("tensorrt", batch=4, size=256)
    build_engine(model, path, settings, StandInTensorRT(), StandInDriver())
    driver = StandInDriver()
    chosen = BackendSettings("tensorrt", 1)
    backend = EngineBackend(path, chosen, StandInTensorRT(), driver)
    backend.run(np.zeros((6, 32, 32, 3), np.uint8))
    driver.calls.clear()
    assert backend.repeat_on_device() == 2  # six slices ran as four and two
    assert driver.calls == ["cuCtxSetCurrent", "cuStreamSynchronize"]


def test_operations_are_those_of_the_convolutions(tmp_path: Path) -> None:
    shapes = {"down": (8, 3, 3, 3), "up": (8, 4, 2, 2)}
    weights = [
        numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Cast", ["slices"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x", "down"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["y", "up"], ["probability"], strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("slices", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 4, "H", "W"])],
        weights,
    )
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), str(path))
    # 16x16 halves to 8x8: 64 positions of 8*3*3*3 weights, and 64 of 8*4*2*2.
    assert count_operations(path, 16, 16) == 2 * 64 * (216 + 128)


def test_a_size_that_no_artifact_takes_is_refused() -> None:
    with pytest.raises(UsageError, match="size 100: expected a multiple of 16"):
        GpuBenchSettings(size=100)


def test_the_script_runs_from_a_checkout(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    settings = {"PROVIDER": "cpu", "PYTHON": sys.executable, "OUT": str(output), "RUN": ""}
    ran = subprocess.run(
        [
            ROOT / "benchmarks" / "gpu.sh",
            model,
            "--size",
            "64",
            "--minutes",
            "0.001",
            "--patients",
            "1",
        ],
        env={"PATH": os.environ["PATH"], **settings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(output.read_text())["benchmark"] == "gpu"


SHIPPED = ["standard", "standard-int8", "lite", "lite-int8", "tiny", "tiny-int8"]


@pytest.mark.parametrize(
    ("given", "artifacts"),
    [
        ([], SHIPPED),
        (["--minutes", "0.05"], SHIPPED),
        (["a.onnx", "--minutes", "0.05"], ["a"]),
        (["--minutes", "0.05", "b.engine"], ["b"]),
    ],
)
def test_the_script_takes_the_shipped_models_where_none_is_named(
    tmp_path: Path, given: list[str], artifacts: list[str]
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || printf "%s\\n" "$@"\n')
    python.chmod(0o700)
    ran = subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", *given],
        env={"PATH": os.environ["PATH"], "PYTHON": str(python), "RUN": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    words = ran.stdout.splitlines()
    paths = [Path(word) for word in words if word.endswith((".onnx", ".engine"))]
    assert [path.stem for path in paths] == artifacts
    assert words[:3] == ["-m", "lgg_bench.cli", "gpu"]
    if artifacts == SHIPPED:
        assert all(path.is_file() for path in paths)


@pytest.mark.parametrize(("run", "given"), [("", []), ("/none", ["--run", "/none"])])
def test_the_script_gives_on_the_run_that_it_is_given(
    tmp_path: Path, run: str, given: list[str]
) -> None:
    """So that one that is not there is refused, and PyTorch is not left out without a word."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || printf "%s\\n" "$@"\n')
    python.chmod(0o700)
    ran = subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", "a.onnx"],
        env={"PATH": os.environ["PATH"], "PYTHON": str(python), "RUN": run},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines()[8:] == given
