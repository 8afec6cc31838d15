"""The CUDA and TensorRT providers against stand-ins with the calls of onnxruntime-gpu, the driver
and TensorRT: what starts, what is refused, and with which options. No GPU takes part.
"""

import gc
import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lgg_runtime.backends import BackendSettings, GpuSettings, open_backend
from lgg_runtime.backends.gpu_session import GpuSession, cuda_options, tensorrt_options
from lgg_runtime.errors import ModelError, ProviderError
from lgg_runtime.golden import golden_input
from stand_ins.artifacts import expected_probability, write_artifact
from stand_ins.cuda import StandInDriver
from stand_ins.onnxruntime_gpu import StandInOnnxRuntime


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> StandInDriver:
    """A machine with a GPU, its driver and TensorRT."""
    driver = StandInDriver((9, 0))
    for name in ("missing", "gpu_session"):
        monkeypatch.setattr(f"lgg_runtime.backends.{name}.find_driver", lambda: driver)
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.13.0"))
    return driver


def use(monkeypatch: pytest.MonkeyPatch, runtime: StandInOnnxRuntime) -> StandInOnnxRuntime:
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    return runtime


def settings(provider: str, **gpu: object) -> BackendSettings:
    return BackendSettings(provider, 1, GpuSettings(**gpu))


def test_cuda_runs_from_host_to_host_and_says_where(
    model: Path, gpu: StandInDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = use(monkeypatch, StandInOnnxRuntime())
    backend = GpuSession(model, settings("cuda"))
    slices = golden_input((3, 32, 16, 3))
    np.testing.assert_allclose(backend.run(slices), expected_probability(slices), atol=1e-6)
    assert (backend.provider, backend.device) == ("cuda", "Stand-in GPU (SM90)")
    assert backend.versions["onnxruntime"] == "1.24.0"
    assert backend.versions["driver"].endswith("CUDA 13.0")
    assert runtime.entries["session.disable_cpu_ep_fallback"] == "1"
    assert list(runtime.asked) == ["CUDAExecutionProvider"]


def test_a_provider_that_cannot_start_is_refused_with_its_words(
    model: Path, gpu: StandInDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, StandInOnnxRuntime(fails="nodes would run on the CPU\nmore"))
    with pytest.raises(ProviderError, match=r"cannot start: nodes would run on the CPU$"):
        GpuSession(model, settings("cuda"))


def test_auto_is_cuda_where_it_starts_and_the_cpu_with_the_reason_where_not(
    model: Path, gpu: StandInDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, StandInOnnxRuntime())
    backend, why = open_backend(model, settings("auto"))
    assert (backend.provider, why) == ("cuda", "cuda is the fastest that starts")
    use(monkeypatch, StandInOnnxRuntime(fails="cuDNN is too old"))
    backend, why = open_backend(model, settings("auto"))
    assert (backend.provider, why) == ("cpu", "provider cuda: cannot start: cuDNN is too old")
    gc.collect()  # neither of the two holds the GPU any more
    assert gpu.calls.count("cuDevicePrimaryCtxRelease_v2") == 2


def test_exhausted_memory_halves_the_batch_and_the_work_goes_on(
    model: Path, gpu: StandInDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, StandInOnnxRuntime(holds=3))
    backend, _ = open_backend(model, settings("cuda"))
    slices = golden_input((8, 16, 16, 3))
    np.testing.assert_allclose(backend.run(slices), expected_probability(slices), atol=1e-6)


def test_a_run_that_fails_for_another_reason_ends_the_work(
    model: Path, gpu: StandInDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, StandInOnnxRuntime(holds=1, run_fails="CUDA failure 719: launch failure"))
    backend, _ = open_backend(model, settings("cuda"))
    with pytest.raises(ProviderError, match="a run failed: CUDA failure 719"):
        backend.run(golden_input((2, 16, 16, 3)))


def test_a_gpu_that_computes_something_else_is_refused(
    tmp_path: Path, gpu: StandInDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_artifact(tmp_path / "m.onnx", golden_shift=0.01)
    use(monkeypatch, StandInOnnxRuntime())
    with pytest.raises(ModelError, match=r"golden input differs by 0\.01"):
        GpuSession(tmp_path / "m.onnx", settings("cuda"))


def test_tensorrt_compiles_once_and_says_so(
    model: Path, gpu: StandInDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = use(monkeypatch, StandInOnnxRuntime())
    said: list[str] = []
    chosen = settings("tensorrt", engine_cache=tmp_path / "cache", tell=said.append)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    for sha256 in (None, digest.upper()):
        backend = GpuSession(model, replace(chosen, sha256=sha256))
    assert backend.versions["tensorrt"] == "10.13.0"
    (folder,) = (tmp_path / "cache").iterdir()
    assert len(said) == 1
    assert "TensorRT compiles m.onnx for Stand-in GPU (SM90)" in said[0]
    assert runtime.asked["TensorrtExecutionProvider"]["trt_engine_cache_path"] == str(folder)
    (folder / "compiled.engine").write_bytes(b"other code")
    with pytest.raises(ModelError, match="was changed after it was compiled"):
        GpuSession(model, chosen)


def test_batches_beyond_tensorrts_profile_run_in_parts(
    model: Path, gpu: StandInDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, StandInOnnxRuntime(holds=32, run_fails="beyond the profile"))
    backend = GpuSession(model, settings("tensorrt", engine_cache=tmp_path / "cache"))
    slices = golden_input((40, 16, 16, 3))
    np.testing.assert_allclose(backend.run(slices), expected_probability(slices), atol=1e-6)


def test_cuda_options_keep_fp32_exact_and_memory_in_its_limit() -> None:
    options = cuda_options(GpuSettings(device=1, memory_limit_mib=512))
    assert options["use_tf32"] == "0"
    assert options["gpu_mem_limit"] == str(512 * 2**20)
    assert (options["device_id"], options["prefer_nhwc"]) == ("1", "1")
    assert (options["enable_cuda_graph"], options["cudnn_conv_algo_search"]) == ("0", "HEURISTIC")
    graph = cuda_options(GpuSettings(cuda_graph=True))
    assert (graph["enable_cuda_graph"], graph["cudnn_conv_algo_search"]) == ("1", "EXHAUSTIVE")


@pytest.mark.parametrize(
    ("precision", "fp16", "int8"), [("fp32", "0", "0"), ("fp16", "1", "0"), ("int8", "0", "1")]
)
def test_tensorrts_precision_is_the_contracts(
    tmp_path: Path, precision: str, fp16: str, int8: str
) -> None:
    contract = write_artifact(tmp_path / "m.onnx", precision)
    options = tensorrt_options(GpuSettings(), contract, tmp_path)
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == (fp16, int8)
    assert options["trt_profile_max_shapes"] == "slices:32x512x512x3"
