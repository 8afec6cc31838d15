"""ONNX artifacts through OpenVINO: what it answers, refuses, holds and keeps to itself."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from lgg_runtime.backends import BackendSettings, load_backend, openvino_core, openvino_session
from lgg_runtime.backends.model_file import read_model
from lgg_runtime.backends.openvino_core import import_openvino
from lgg_runtime.backends.openvino_session import OpenVinoSession
from lgg_runtime.contract import Contract
from lgg_runtime.errors import (
    MissingExtraError,
    ModelError,
    OutOfMemoryError,
    ProviderError,
    UsageError,
)
from lgg_runtime.volume import FLAIR
from stand_ins.runs import LESION, Saved
from stand_ins.threads import require_own_answers

if importlib.util.find_spec("openvino") is None:
    pytest.skip("pip install 'lgg-edge[openvino]'", allow_module_level=True)
SETTINGS = BackendSettings("openvino", 1)
CORE = openvino_core.open_core()


def make_slices(count: int, height: int = 16, width: int = 32) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(96, 160, (count, height, width, 3), dtype=np.uint8)


def expected(slices: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(slices[..., FLAIR].astype(float) - 128) / 8))


@pytest.mark.parametrize(("count", "threads"), [(1, 1), (7, 2), (11, 6)])
def test_every_slice_of_a_batch_gets_its_own_answer_in_order(
    artifact: Path, count: int, threads: int
) -> None:
    slices = make_slices(count)
    probability = OpenVinoSession(artifact, BackendSettings("openvino", threads)).run(slices)
    assert (probability.shape, probability.dtype) == ((count, 16, 32), np.float32)
    np.testing.assert_allclose(probability, expected(slices), atol=1e-6)


def test_slices_of_every_size_are_answered(artifact: Path) -> None:
    session = OpenVinoSession(artifact, SETTINGS)
    for height in (16, 32, 48, 64, 16, 80, 96, 32):
        slices = make_slices(2, height)
        np.testing.assert_allclose(session.run(slices), expected(slices), atol=1e-6)


def test_threads_get_each_their_own_answers(artifact: Path) -> None:
    inputs = [make_slices(3, height) + np.uint8(height) for height in (16, 16, 32, 48, 64, 80)]
    require_own_answers(OpenVinoSession(artifact, SETTINGS).run, inputs)


@pytest.mark.parametrize(
    ("is_limited", "compiled"),
    [(False, (16, 32, 48, 64, 80, 32)), (True, (16, 32, 16, 48, 64, 80, 16, 32))],
    ids=["few", "one under a limit of memory"],
)
def test_only_the_last_sizes_stay_compiled(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, is_limited: bool, compiled: tuple[int, ...]
) -> None:
    sizes: list[tuple[int, ...]] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(CORE, name)

        def compile_model(self, model: Any, *rest: Any) -> Any:
            sizes.append(tuple(model.inputs[0].shape)[1:3])
            return CORE.compile_model(model, *rest)

    monkeypatch.setattr(openvino_session, "open_core", Watched)
    monkeypatch.setattr(openvino_session, "is_memory_limited", lambda: is_limited)
    session = OpenVinoSession(artifact, SETTINGS)
    for height in (16, 32, 16, 48, 64, 80, 16, 32):  # 256 x 256 is compiled at the start
        session.run(make_slices(1, height))
    assert sizes == [(256, 256), *((height, 32) for height in compiled)]


@pytest.mark.parametrize(("threads", "streams"), [(1, 1), (3, 3), (6, 4)])
def test_a_network_has_the_threads_asked_for_in_a_few_streams_and_is_not_pinned(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, threads: int, streams: int
) -> None:
    given: list[dict[str, Any]] = []

    def compile_model(model: Any, device: str, options: dict[str, Any]) -> Any:
        given.append(options)
        return CORE.compile_model(model, device, options)

    core = SimpleNamespace(get_property=CORE.get_property, compile_model=compile_model)
    monkeypatch.setattr(openvino_session, "open_core", lambda: core)
    OpenVinoSession(artifact, BackendSettings("openvino", threads))
    assert given == [
        {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
    ]


def test_the_session_tells_what_runs(
    artifact: Path, make_contract: Callable[..., Contract]
) -> None:
    session = load_backend(artifact, SETTINGS)
    assert session.provider == "openvino"
    assert session.device.startswith("CPU (")
    assert session.device.endswith(", fp32)")
    assert session.versions == {"openvino": import_openvino().__version__}
    assert session.contract == make_contract()


@pytest.mark.parametrize("data", [b"", b"\0" * 64, bytes(range(256)) * 8, b"PK\3\4 not a model"])
def test_a_file_that_is_no_onnx_is_refused_in_one_line(
    tmp_path: Path, data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"^m\.onnx: \S.*") as refused:
        OpenVinoSession(path, SETTINGS)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("contract", "reason"),
    [(None, "no contract in its metadata; export it with"), ("{}", "contract: field")],
)
def test_an_artifact_without_a_contract_or_with_a_bad_one_is_refused(
    saved: Saved, build_model: Callable[..., Any], contract: str | None, reason: str
) -> None:
    with pytest.raises(ModelError, match=rf"m\.onnx: {reason}"):
        OpenVinoSession(saved(build_model(), contract), SETTINGS)


def test_other_inputs_than_the_contracts_are_refused(
    saved: Saved, build_model: Callable[..., Any], contract_text: str
) -> None:
    model = build_model()
    model.graph.input[0].name = model.graph.node[0].input[0] = "images"
    with pytest.raises(ModelError, match=r"expected inputs .*slices.*, found .*images"):
        OpenVinoSession(saved(model, contract_text), SETTINGS)


def test_an_output_that_is_no_probability_is_an_error(
    saved: Saved, build_model: Callable[..., Any], contract_text: str
) -> None:
    session = OpenVinoSession(saved(build_model("logit"), contract_text), SETTINGS)
    with pytest.raises(ModelError, match=r"no number in 0\.\.1"):
        session.run(np.zeros((1, 16, 16, 3), np.uint8))


def test_an_artifact_for_tensorrt_is_refused(
    saved: Saved, build_model: Callable[..., Any], make_contract: Callable[..., Contract]
) -> None:
    contract = make_contract(precision="int8 symmetric").dumps()
    with pytest.raises(ModelError, match=r"made for TensorRT; .*an int8 artifact for CPUs"):
        OpenVinoSession(saved(build_model(), contract), SETTINGS)


def build_fixed(build_model: Callable[..., Any], side: int) -> Any:
    """A model for slices of one size alone."""
    model = build_model()
    fixed = np.full((1, side, side), 128, np.float32)  # what FLAIR is reduced by
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(fixed, "constant0"))
    return model


def test_a_graph_that_fails_on_the_usual_size_is_refused(
    saved: Saved, build_model: Callable[..., Any], contract_text: str
) -> None:
    with pytest.raises(ModelError, match=r"^m\.onnx: OpenVINO refuses it: \S.*$"):
        OpenVinoSession(saved(build_fixed(build_model, 16), contract_text), SETTINGS)


def test_a_graph_that_openvino_cannot_read_is_refused_in_one_line(
    saved: Saved, build_model: Callable[..., Any], contract_text: str
) -> None:
    model = build_model()
    model.graph.node[1].input[0] = "nowhere"
    with pytest.raises(ModelError, match=r"^m\.onnx: OpenVINO refuses it: \S.*$"):
        OpenVinoSession(saved(model, contract_text), SETTINGS)


def test_a_graph_that_fails_on_a_size_is_an_error_in_one_line(
    saved: Saved, build_model: Callable[..., Any], contract_text: str
) -> None:
    session = OpenVinoSession(saved(build_fixed(build_model, 256), contract_text), SETTINGS)
    assert session.run(np.zeros((1, 256, 256, 3), np.uint8)).shape == (1, 256, 256)
    with pytest.raises(ModelError, match="the model cannot be run: ") as refused:
        session.run(np.zeros((1, 32, 16, 3), np.uint8))
    assert "\n" not in str(refused.value)


def test_runs_at_once_go_side_by_side(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)

    class Request:
        def start_async(self, *_: Any, **__: Any) -> None:
            pass

        def wait(self) -> None:
            both.wait(10)

        def get_output_tensor(self, _: int) -> Any:
            return SimpleNamespace(data=np.zeros((1, 16, 32), np.float32))

    idle: SimpleQueue[Request] = SimpleQueue()
    for _ in range(2):
        idle.put(Request())
    session = OpenVinoSession(artifact, SETTINGS)
    monkeypatch.setattr(session, "_prepare", lambda _size: idle)
    with ThreadPoolExecutor(2) as callers:
        answers = list(callers.map(session.run, [make_slices(1)] * 2))
    assert [answer.shape for answer in answers] == [(1, 16, 32)] * 2
    assert idle.qsize() == 2


def test_a_run_takes_all_requests_and_leaves_none_running_where_it_fails(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []

    class Request:
        is_running = False

        def start_async(self, *_: Any, **__: Any) -> None:
            self.is_running = True

        def wait(self) -> None:
            at_once.append(sum(request.is_running for request in requests))
            self.is_running = False
            raise RuntimeError(f"request {requests.index(self)} failed")

    requests = [Request() for _ in range(4)]
    idle: SimpleQueue[Request] = SimpleQueue()
    for request in requests:
        idle.put(request)
    session = OpenVinoSession(artifact, SETTINGS)
    monkeypatch.setattr(session, "_prepare", lambda _size: idle)
    with pytest.raises(ModelError, match="the model cannot be run: request 0 failed"):
        session.run(make_slices(6))
    assert at_once[0] == len(requests)
    assert not any(request.is_running for request in requests)
    assert {idle.get() for _ in requests} == set(requests)


def test_bf16_is_computed_by_choice_and_said(artifact: Path) -> None:
    if "BF16" not in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor does not compute in bf16")
    session = OpenVinoSession(artifact, BackendSettings("openvino", 1, cpu_precision="bf16"))
    slices = make_slices(2)
    assert session.device.endswith(", bf16)")
    np.testing.assert_allclose(session.run(slices), expected(slices), atol=2e-2)


def test_bf16_is_refused_where_the_processor_has_none(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OlderProcessor:
        @staticmethod
        def get_property(_device: str, _name: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino_session, "open_core", OlderProcessor)
    with pytest.raises(ProviderError, match="--cpu-precision bf16: this processor does not"):
        OpenVinoSession(artifact, BackendSettings("openvino", 1, cpu_precision="bf16"))


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (
            "at core.cpp:268\nDevice CPU is not registered\n",
            MissingExtraError,
            "does not start: Dev",
        ),
        (
            "libplugin.so: failed to map segment from it",
            OutOfMemoryError,
            "memory does not suffice",
        ),
    ],
)
def test_a_package_that_does_not_start_is_an_error_in_one_line(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, said: str, kind: type[Exception], told: str
) -> None:
    def fail(*_: str) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(openvino_core, "_make_core", openvino_core._make_core.__wrapped__)
    for core in (fail, lambda: SimpleNamespace(get_property=fail)):  # the plugin is loaded by it
        monkeypatch.setattr(import_openvino(), "Core", core)
        with pytest.raises(kind, match=told) as refused:
            OpenVinoSession(artifact, SETTINGS)
        assert "\n" not in str(refused.value)


def test_the_bytes_that_run_are_those_that_were_checked(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(artifact.read_bytes())

    def swap(*given: Any) -> bytes:
        data = read_model(*given)
        path.write_bytes(b"another file by then")
        return data

    monkeypatch.setattr(openvino_session, "read_model", swap)
    slices = make_slices(1)
    np.testing.assert_allclose(
        OpenVinoSession(path, SETTINGS).run(slices), expected(slices), atol=1e-6
    )


def test_bf16_needs_openvino() -> None:
    with pytest.raises(UsageError, match="--provider openvino computes in it"):
        BackendSettings("cpu", 1, cpu_precision="bf16")
    with pytest.raises(UsageError, match="expected fp32 or bf16"):
        BackendSettings("openvino", 1, cpu_precision="fp16")


def test_without_openvino_the_install_command_is_told(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lgg-edge\[openvino\]'") as refused:
        OpenVinoSession(artifact, SETTINGS)
    assert refused.value.exit_code == 6


def test_the_command_runs_on_openvino_and_the_record_says_so(
    tmp_path: Path,
    artifact: Path,
    call_infer: Callable[..., SimpleNamespace],
    draw_slice: Callable[..., np.ndarray],
    write_picture: Callable[[Path, np.ndarray], Path],
) -> None:
    write_picture(tmp_path / "in" / "p_1.png", draw_slice(LESION))
    out = tmp_path / "out"
    done = call_infer(tmp_path / "in", "-o", out, "-m", artifact, "--provider", "openvino")
    assert done.code == 0, done.err
    record = json.loads((out / "run.json").read_text())
    assert (record["provider"]["requested"], record["provider"]["ran"]) == ("openvino",) * 2
    assert record["provider"]["device"].endswith(", fp32)")
    assert record["versions"]["openvino"] == import_openvino().__version__
    assert record["settings"]["cpu_precision"] == "fp32"
