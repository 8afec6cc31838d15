"""Artifacts on the real onnxruntime, on the CPU."""

from __future__ import annotations

import builtins
import contextlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from lgg_runtime.backends import BackendSettings
from lgg_runtime.backends.onnx_session import (
    OnnxSession,
    import_onnxruntime,
)
from lgg_runtime.backends.within_memory import is_memory_limited
from lgg_runtime.contract import Contract
from lgg_runtime.errors import MissingExtraError, ModelError, OutOfMemoryError
from lgg_runtime.volume import FLAIR
from stand_ins.runs import Saved
from stand_ins.threads import Counted, require_own_answers


def test_probabilities_are_those_of_the_graph(artifact: Path) -> None:
    slices = np.zeros((2, 16, 32, 3), np.uint8)
    slices[1, 3, :, FLAIR] = np.arange(112, 144)
    session = OnnxSession(artifact, BackendSettings("cpu", 1))
    probability = session.run(slices)
    expected = 1 / (1 + np.exp(-(slices[..., FLAIR].astype(float) - 128) / 8))
    assert (probability.shape, probability.dtype) == ((2, 16, 32), np.float32)
    np.testing.assert_allclose(probability, expected, atol=1e-6)
    assert probability[1, 3, 16] == 0.5


def test_the_graph_that_runs_is_the_one_that_was_checked(artifact: Path, tmp_path: Path) -> None:
    """By the fifth to eighth byte onnxruntime knows a file of its own format."""
    disguised = tmp_path / "m.onnx"
    fields = b"\x08\x0a\x12\x01ORTM".ljust(91, b"\0")  # the format's version, and two texts
    disguised.write_bytes(fields + artifact.read_bytes())
    slices = np.full((1, 16, 32, 3), 128, np.uint8)
    assert np.all(OnnxSession(disguised, BackendSettings("cpu", 1)).run(slices) == 0.5)


def test_a_graph_of_a_later_opset_is_refused_with_the_reason(
    artifact: Path, tmp_path: Path
) -> None:
    """Whose words come after the place in onnxruntime's source and a long signature."""
    model = onnx.load(str(artifact))
    model.opset_import[0].version = 999
    (tmp_path / "later.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"^later\.onnx: onnxruntime refuses it: .*Opset 999 is"):
        OnnxSession(tmp_path / "later.onnx", BackendSettings("cpu", 1))


def test_threads_get_each_their_own_answers(artifact: Path) -> None:
    inputs = [np.full((3, 16, 32, 3), 100 + 10 * n, np.uint8) for n in range(4)]
    require_own_answers(OnnxSession(artifact, BackendSettings("cpu", 2)).run, inputs)


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("counts", [(1, 1), (1, 3), (3, 3)])
def test_no_more_threads_compute_than_were_asked_for(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, threads: int, counts: tuple[int, int]
) -> None:
    session = OnnxSession(artifact, BackendSettings("cpu", threads))
    busy: list[int] = []
    at_once: list[int] = []
    monkeypatch.setattr(session, "_session", lambda share: Counted(share, busy, at_once))

    def call(count: int) -> None:
        for _ in range(10):
            session.run(np.zeros((count, 16, 16, 3), np.uint8))

    with ThreadPoolExecutor(2) as callers:
        for ended in [callers.submit(call, count) for count in counts]:
            ended.result()
    assert len(at_once) == 10 * sum(counts)
    assert max(at_once) <= threads


def test_a_slice_for_itself_runs_on_all_threads(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = OnnxSession(artifact, BackendSettings("cpu", 6))
    asked: list[int] = []
    whole = session._session
    monkeypatch.setattr(session, "_session", lambda share: asked.append(share) or whole(1))
    session.run(np.zeros((1, 16, 16, 3), np.uint8))
    session.run(np.zeros((2, 16, 16, 3), np.uint8))
    assert asked == [6, 2, 2]


def test_the_session_tells_what_runs(
    artifact: Path, make_contract: Callable[..., Contract]
) -> None:
    session = OnnxSession(artifact, BackendSettings("cpu", 1))
    assert (session.provider, session.device) == ("cpu", "CPU")
    assert session.versions == {"onnxruntime": onnxruntime.__version__}
    assert session.contract == make_contract()


def rename_output(model: Any) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "logits"


def give_doubles(model: Any) -> None:
    model.graph.node[1].attribute[0].i = 11
    model.graph.output[0].type.tensor_type.elem_type = 11
    for constant in model.graph.initializer[1:]:
        constant.data_type = 11
        constant.double_data.extend(constant.float_data)
        del constant.float_data[:]


def take_a_second_input(model: Any) -> None:
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[1].name = "second"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (rename_output, "logits"),
        (give_doubles, r"tensor\(double\)"),
        (take_a_second_input, "second"),
    ],
)
def test_other_inputs_and_outputs_than_the_contracts_are_refused(
    saved: Saved,
    build_model: Callable[..., Any],
    contract_text: str,
    change: Callable[[Any], None],
    found: str,
) -> None:
    model = build_model()
    change(model)
    expected = rf"m\.onnx: expected inputs and outputs .*slices.*, found .*{found}"
    with pytest.raises(ModelError, match=expected):
        OnnxSession(saved(model, contract_text), BackendSettings("cpu", 1))


def test_a_graph_that_fails_on_a_size_is_an_error(
    saved: Saved, build_model: Callable[..., Any], contract_text: str
) -> None:
    session = OnnxSession(
        saved(build_model(size=(1, 16, 16)), contract_text), BackendSettings("cpu", 1)
    )
    assert session.run(np.zeros((1, 16, 16, 3), np.uint8)).shape == (1, 16, 16)
    with pytest.raises(ModelError, match="the model cannot be run: ") as refused:
        session.run(np.zeros((1, 32, 16, 3), np.uint8))
    assert "\n" not in str(refused.value)


def test_an_output_of_another_size_is_an_error(
    saved: Saved, build_model: Callable[..., Any], contract_text: str
) -> None:
    model = build_model()
    model.graph.node[0].attribute[0].i = 2  # one column of all channels
    for dim, name in zip(model.graph.output[0].type.tensor_type.shape.dim, "NHC", strict=True):
        dim.dim_param = name
    session = OnnxSession(saved(model, contract_text), BackendSettings("cpu", 1))
    with pytest.raises(ModelError, match=r"gives \(1, 16, 3\) for slices \(1, 16, 32, 3\)"):
        session.run(np.zeros((2, 16, 32, 3), np.uint8))


class StandInRuntime:
    """onnxruntime, and the providers and threads that sessions were opened with."""

    __version__ = onnxruntime.__version__
    SessionOptions = onnxruntime.SessionOptions

    def __init__(self) -> None:
        self.opened: list[tuple[str, int, str]] = []

    def InferenceSession(
        self, path: str, options: Any, providers: list[str], enable_fallback: int
    ) -> Any:
        assert enable_fallback == 0
        spins = options.get_session_config_entry("session.intra_op.allow_spinning")
        self.opened.append((providers[0], options.intra_op_num_threads, spins))
        return onnxruntime.InferenceSession(path, options, providers)


@pytest.mark.parametrize(("threads", "share"), [(1, 1), (2, 1), (3, 1), (4, 1), (6, 2), (16, 4)])
def test_slices_side_by_side_share_the_threads_and_one_alone_has_all(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, threads: int, share: int
) -> None:
    runtime = StandInRuntime()
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    session = OnnxSession(artifact, BackendSettings("cpu", threads))
    session.run(np.zeros((5, 16, 16, 3), np.uint8))
    assert runtime.opened == [("CPUExecutionProvider", share, "0")]
    session.run(np.zeros((1, 16, 16, 3), np.uint8))
    opened = {share, threads}
    assert runtime.opened == [("CPUExecutionProvider", each, "0") for each in sorted(opened)]


def test_threads_that_need_a_session_at_once_open_one(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = OnnxSession(artifact, BackendSettings("cpu", 2))
    real, both, opened = session._open, threading.Barrier(2), []

    def open_together(threads: int) -> Any:
        opened.append(threads)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # for another one, which must not come
        return real(threads)

    monkeypatch.setattr(session, "_open", open_together)
    alone = np.zeros((1, 16, 16, 3), np.uint8)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(session.run, [alone, alone]))
    assert opened == [2]


def test_under_a_limit_of_memory_slices_run_one_after_another(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = StandInRuntime()
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setattr("lgg_runtime.backends.onnx_session.is_memory_limited", lambda: True)
    session = OnnxSession(artifact, BackendSettings("cpu", 4))
    before = threading.active_count()
    session.run(np.zeros((5, 16, 16, 3), np.uint8))
    assert threading.active_count() == before
    assert [opened[1] for opened in runtime.opened] == [4]


@pytest.mark.parametrize("kind", [resource.RLIMIT_AS, resource.RLIMIT_DATA], ids=["AS", "DATA"])
def test_a_limit_of_memory_is_noticed(kind: int) -> None:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (1 << 46, before[1]))  # more than any test needs
    try:
        assert is_memory_limited()
    finally:
        resource.setrlimit(kind, before)


def test_slices_side_by_side_give_what_each_gives_alone(artifact: Path) -> None:
    slices = np.random.default_rng(5).integers(0, 256, (7, 32, 48, 3), np.uint8)
    session = OnnxSession(artifact, BackendSettings("cpu", 3))
    alone = [session.run(slices[index : index + 1]) for index in range(7)]
    np.testing.assert_array_equal(session.run(slices), np.concatenate(alone))


@pytest.mark.parametrize(
    ("reason", "raised", "told"),
    [
        (ImportError("a.so: undefined symbol: x"), MissingExtraError, "a.so: undefined symbol: x"),
        (RuntimeError("no driver"), MissingExtraError, "no driver"),
        (OSError(5, "Input/output error"), MissingExtraError, "Input/output error"),
        (SyntaxError("invalid"), MissingExtraError, "invalid"),
        (ModuleNotFoundError("No module named 'x'", name="x"), MissingExtraError, "named 'x'"),
        (ImportError("a.so: failed to map segment"), OutOfMemoryError, "smaller model"),
    ],
    ids=repr,
)
def test_an_onnxruntime_that_cannot_be_loaded_is_told_from_none(
    monkeypatch: pytest.MonkeyPatch, reason: Exception, raised: type[Exception], told: str
) -> None:
    real = builtins.__import__

    def refuse(name: str, *more: Any, **options: Any) -> Any:
        if name == "onnxruntime":
            raise reason
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(raised, match=told) as refused:
        import_onnxruntime()
    if raised is MissingExtraError:
        assert str(refused.value).startswith("onnxruntime cannot be loaded: ")
        assert "pip uninstall -y onnxruntime; pip install 'lgg-edge[cpu]'" in str(refused.value)


def test_an_onnxruntime_whose_files_are_there_in_part_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    with pytest.raises(MissingExtraError, match="cannot be loaded: its files are there in part; "):
        import_onnxruntime()


@pytest.mark.parametrize(
    ("extras", "there", "told"),
    [
        ("", None, r"pip install 'lgg-edge\[cpu\]' \(or \[gpu\]\)$"),
        ("", object(), r"pip install 'lgg-edge\[cpu\]' \(or \[gpu\]\), or --provider openvino$"),
        ("gpu,tensorrt", object(), r"pip install 'lgg-edge\[gpu,tensorrt\]'$"),
    ],
)
def test_what_is_installed_in_its_place_is_told(
    monkeypatch: pytest.MonkeyPatch, extras: str, there: object, told: str
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("lgg_runtime.backends.onnx_session.find_spec", lambda _: there)
    with pytest.raises(MissingExtraError, match=f"^onnxruntime is not installed; {told}"):
        import_onnxruntime(extras)


def test_a_signal_while_onnxruntime_is_loaded_stays_a_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def interrupt(name: str, *more: Any, **options: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError("initialization failed") from KeyboardInterrupt()
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        import_onnxruntime()


def test_loading_onnxruntime_reports_to_nobody(tmp_path: Path) -> None:
    code = (
        "from lgg_runtime.backends.onnx_session import import_onnxruntime;"
        "import_onnxruntime().SessionOptions()"
    )
    kept = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    home = kept | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=home, check=True)
    assert list(tmp_path.iterdir()) == []  # neither an identifier nor a queue of events
