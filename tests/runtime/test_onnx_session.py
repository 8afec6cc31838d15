"""Artifacts on the real onnxruntime; stand-ins for a runtime whose CUDA is there or breaks."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from lgg_runtime.backends import onnx_session
from lgg_runtime.backends.onnx_session import OnnxSession, missing_for_cuda
from lgg_runtime.contract import Contract
from lgg_runtime.errors import MissingExtraError, ModelError, ProviderError
from lgg_runtime.volume import FLAIR

Saved = Callable[[Any, str | None], Path]


@pytest.fixture
def saved(tmp_path: Path, save_artifact: Callable[..., Path]) -> Saved:
    """Writes a model as m.onnx."""
    return lambda model, contract: save_artifact(model, tmp_path / "m.onnx", contract)


@pytest.fixture(scope="module")
def text(make_contract: Callable[..., Contract]) -> str:
    return make_contract().dumps()


def test_probabilities_are_those_of_the_graph(artifact: Path) -> None:
    slices = np.zeros((2, 16, 32, 3), np.uint8)
    slices[1, 3, :, FLAIR] = np.arange(112, 144)
    session = OnnxSession(artifact, "cpu", 1)
    probability = session.run(slices)
    expected = 1 / (1 + np.exp(-(slices[..., FLAIR].astype(float) - 128) / 8))
    assert (probability.shape, probability.dtype) == ((2, 16, 32), np.float32)
    np.testing.assert_allclose(probability, expected, atol=1e-6)
    assert probability[1, 3, 16] == 0.5


def test_the_session_tells_what_runs(
    artifact: Path, make_contract: Callable[..., Contract]
) -> None:
    session = OnnxSession(artifact, "cpu", 1)
    assert (session.provider, session.device) == ("cpu", "CPU")
    assert session.versions == {"onnxruntime": onnxruntime.__version__}
    assert session.contract == make_contract()


@pytest.mark.parametrize("data", [b"", b"\0" * 64, bytes(range(256)) * 8, b"PK\3\4 not a model"])
def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"^m\.onnx: \S.*") as refused:
        OnnxSession(path, "cpu", 1)
    assert "\n" not in str(refused.value)


def test_a_cut_artifact_is_refused(tmp_path: Path, artifact: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(artifact.read_bytes()[:-7])
    with pytest.raises(ModelError, match=r"^m\.onnx: "):
        OnnxSession(path, "cpu", 1)


def test_an_artifact_without_a_contract_is_refused(
    saved: Saved, build_model: Callable[..., Any]
) -> None:
    with pytest.raises(ModelError, match=r"m\.onnx: no contract in its metadata; export it with"):
        OnnxSession(saved(build_model(), None), "cpu", 1)


@pytest.mark.parametrize("contract", ["", "{}", '{"schema": 2}'])
def test_an_artifact_with_a_bad_contract_is_refused(
    saved: Saved, build_model: Callable[..., Any], contract: str
) -> None:
    with pytest.raises(ModelError, match=r"m\.onnx: contract: "):
        OnnxSession(saved(build_model(), contract), "cpu", 1)


def rename_input(model: Any) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "images"


def rename_output(model: Any) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "logits"


def take_floats(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 1


def give_doubles(model: Any) -> None:
    model.graph.node[1].attribute[0].i = 11
    model.graph.output[0].type.tensor_type.elem_type = 11
    for constant in model.graph.initializer[1:]:
        constant.data_type = 11
        constant.double_data.extend(constant.float_data)
        del constant.float_data[:]


def take_another_rank(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1


def take_a_second_input(model: Any) -> None:
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[1].name = "second"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (rename_input, "images"),
        (rename_output, "logits"),
        (take_floats, r"tensor\(float\)', 4"),
        (give_doubles, r"tensor\(double\)"),
        (take_another_rank, r"tensor\(uint8\)', 5"),
        (take_a_second_input, "second"),
    ],
)
def test_other_inputs_and_outputs_than_the_contracts_are_refused(
    saved: Saved,
    build_model: Callable[..., Any],
    text: str,
    change: Callable[[Any], None],
    found: str,
) -> None:
    model = build_model()
    change(model)
    expected = rf"m\.onnx: expected inputs and outputs .*slices.*, found .*{found}"
    with pytest.raises(ModelError, match=expected):
        OnnxSession(saved(model, text), "cpu", 1)


@pytest.mark.parametrize("formula", ["nan", "logit"])
def test_an_output_that_is_no_probability_is_an_error(
    saved: Saved, build_model: Callable[..., Any], text: str, formula: str
) -> None:
    session = OnnxSession(saved(build_model(formula), text), "cpu", 1)
    with pytest.raises(ModelError, match=r"no number in 0\.\.1"):
        session.run(np.zeros((1, 16, 16, 3), np.uint8))


def test_a_graph_that_fails_on_a_size_is_an_error(
    saved: Saved, build_model: Callable[..., Any], text: str
) -> None:
    session = OnnxSession(saved(build_model(size=(1, 16, 16)), text), "cpu", 1)
    assert session.run(np.zeros((1, 16, 16, 3), np.uint8)).shape == (1, 16, 16)
    with pytest.raises(ModelError, match="the model cannot be run: ") as refused:
        session.run(np.zeros((1, 32, 16, 3), np.uint8))
    assert "\n" not in str(refused.value)


def test_an_output_of_another_size_is_an_error(
    saved: Saved, build_model: Callable[..., Any], text: str
) -> None:
    model = build_model()
    model.graph.node[0].attribute[0].i = 2  # one column of all channels
    for dim, name in zip(model.graph.output[0].type.tensor_type.shape.dim, "NHC", strict=True):
        dim.dim_param = name
    session = OnnxSession(saved(model, text), "cpu", 1)
    with pytest.raises(ModelError, match=r"gives \(2, 16, 3\) for slices \(2, 16, 32, 3\)"):
        session.run(np.zeros((2, 16, 32, 3), np.uint8))


CUDA_IS_THERE = missing_for_cuda(onnxruntime) is None


@pytest.mark.skipif(CUDA_IS_THERE, reason="CUDA is available on this machine")
def test_cuda_that_is_missing_is_an_error_with_its_remedy(artifact: Path) -> None:
    with pytest.raises(ProviderError, match=r"provider cuda: .*(onnxruntime-gpu|libcuda)"):
        OnnxSession(artifact, "cuda", 1)


@pytest.mark.skipif(CUDA_IS_THERE, reason="CUDA is available on this machine")
def test_auto_without_cuda_is_the_cpu_and_says_so(artifact: Path) -> None:
    session = OnnxSession(artifact, "auto", 1)
    assert (session.provider, session.device) == ("cpu", "CPU")


def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for_cpu = SimpleNamespace(
        get_available_providers=lambda: ["CPUExecutionProvider"], __version__="1.2.3"
    )
    assert "onnxruntime-gpu is missing (installed: onnxruntime 1.2.3" in str(
        missing_for_cuda(for_cpu)
    )
    for_gpu = StandInRuntime("runs")
    monkeypatch.setattr(ctypes, "CDLL", no_such_library)
    assert "libcuda.so.1 is missing; install the NVIDIA driver" in str(missing_for_cuda(for_gpu))
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: None)
    assert missing_for_cuda(for_gpu) is None


def no_such_library(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


class StandInRuntime:
    """Stands in for onnxruntime-gpu, which needs a GPU to be there. Its CPU is the real one.

    cuda: runs, falls back (a session starts, on the CPU), breaks (no session starts).
    """

    __version__ = onnxruntime.__version__
    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, cuda: str):
        self.cuda = cuda
        self.opened: list[tuple[str, int]] = []

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(
        self, path: str, options: Any, providers: list[str], enable_fallback: int
    ) -> Any:
        assert enable_fallback == 0
        self.opened.append((providers[0], options.intra_op_num_threads))
        if providers[0].startswith("CUDA") and self.cuda == "breaks":
            raise RuntimeError("CUDA failure 35: driver version is insufficient\nat line 7")
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        if self.cuda == "runs":
            session.get_providers = lambda: [providers[0], "CPUExecutionProvider"]
        return session


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], StandInRuntime]:
    def install(cuda: str) -> StandInRuntime:
        runtime = StandInRuntime(cuda)
        monkeypatch.setattr(onnx_session, "_import_onnxruntime", lambda: runtime)
        monkeypatch.setattr(ctypes, "CDLL", lambda _name: None)
        return runtime

    return install


def test_another_provider_than_asked_for_is_an_error(
    artifact: Path, stand_in: Callable[[str], StandInRuntime]
) -> None:
    stand_in("falls back")
    with pytest.raises(ProviderError, match="cuda: onnxruntime started CPUExecutionProvider in"):
        OnnxSession(artifact, "cuda", 1)


def test_cuda_that_breaks_at_the_start_is_the_providers_fault(
    artifact: Path, stand_in: Callable[[str], StandInRuntime]
) -> None:
    stand_in("breaks")
    with pytest.raises(ProviderError, match=r"provider cuda: CUDA failure 35.*insufficient$"):
        OnnxSession(artifact, "cuda", 1)


@pytest.mark.parametrize("provider", ["cuda", "auto"])
def test_a_bad_file_is_the_files_fault_on_cuda_too(
    tmp_path: Path, stand_in: Callable[[str], StandInRuntime], provider: str
) -> None:
    stand_in("breaks")
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"m\.onnx: onnxruntime refuses it"):
        OnnxSession(tmp_path / "m.onnx", provider, 1)


@pytest.mark.parametrize(
    ("cuda", "ran"), [("runs", "cuda"), ("falls back", "cpu"), ("breaks", "cpu")]
)
def test_auto_is_cuda_only_where_a_session_really_starts_on_it(
    artifact: Path, stand_in: Callable[[str], StandInRuntime], cuda: str, ran: str
) -> None:
    runtime = stand_in(cuda)
    session = OnnxSession(artifact, "auto", 1)
    assert session.provider == ran
    assert session.device == {"cpu": "CPU", "cuda": "CUDA device 0"}[ran]
    assert runtime.opened[0][0] == "CUDAExecutionProvider"


def test_threads_are_those_asked_for(
    artifact: Path, stand_in: Callable[[str], StandInRuntime]
) -> None:
    runtime = stand_in("runs")
    OnnxSession(artifact, "cpu", 3)
    assert runtime.opened == [("CPUExecutionProvider", 3)]


def test_without_onnxruntime_the_install_command_is_told(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lgg-edge\[cpu\]'"):
        OnnxSession(artifact, "cpu", 1)
