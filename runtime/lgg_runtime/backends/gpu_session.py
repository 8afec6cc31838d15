"""ONNX artifacts on an NVIDIA GPU, through onnxruntime's CUDA or TensorRT provider."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from lgg_runtime.backends.acceptance import require_probability
from lgg_runtime.backends.bound_runs import BoundRuns
from lgg_runtime.backends.cuda_driver import CudaDevice, find_driver, release_with
from lgg_runtime.backends.engine_cache import CacheKey, default_cache, open_folder, seal_folder
from lgg_runtime.backends.missing import EXTRAS, NAMES, require_provider
from lgg_runtime.backends.model_file import read_model
from lgg_runtime.backends.onnx_session import (
    import_onnxruntime,
    make_options,
    open_session,
    read_contract,
)
from lgg_runtime.backends.settings import BackendSettings, GpuSettings
from lgg_runtime.contract import INPUT, Contract
from lgg_runtime.errors import OutOfMemoryError, ProviderError, first_line
from lgg_runtime.golden import check_golden
from lgg_runtime.sidecar import Profile, choose_profile
from lgg_runtime.volume import Pixels, Probability

# What TensorRT compiles an ONNX artifact for; larger batches run in parts.
PROFILE = Profile((1, 16, 16, 3), (8, 256, 256, 3), (32, 512, 512, 3))
_EXHAUSTED = ("out of memory", "failed to allocate memory", "alloc_failed", "outofmemory")


class GpuSession:
    """A Backend over one onnxruntime session whose every node runs on the GPU.

    It must answer the contract's golden input, which warms it up. Raises ModelError for a file
    that is no valid artifact or answers wrongly, ProviderError where the provider cannot run or
    would leave parts of the model to the CPU.
    """

    def __init__(self, path: Path, settings: BackendSettings):
        runtime, gpu = import_onnxruntime(EXTRAS[settings.provider]), settings.gpu
        self.provider = settings.provider
        require_provider(self.provider, runtime)
        self._cuda = CudaDevice(find_driver(), gpu.device)
        release_with(self, self._cuda, self._cuda)
        self.device = f"{self._cuda.name} ({self._cuda.compute_capability})"
        self.versions = {
            "onnxruntime": str(runtime.__version__),
            "driver": self._cuda.driver_version,
        }
        options = make_options(runtime, settings.threads)
        data = read_model(path, settings.sha256)
        self.contract = read_contract(open_session(runtime, path, data, options), path)
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if self.provider == "tensorrt":
            sha256 = (settings.sha256 or hashlib.sha256(data).hexdigest()).lower()
            session = self._compile(runtime, path, sha256, options, gpu)
        else:
            session = start_session(runtime, path, options, "cuda", cuda_options(gpu))
        self._runs = BoundRuns(runtime, session, self._cuda, cuda_graph=gpu.cuda_graph)
        release_with(self, self._runs, self._cuda)
        check_golden(self.run, self.contract.golden)

    def repeat_on_device(self) -> int:
        """The last part of the last run once more, without copies, to time the computing alone;
        how many slices that is.
        """
        return self._runs.repeat()

    def run(self, slices: Pixels) -> Probability:
        limits = (PROFILE,) if self.provider == "tensorrt" else None
        step = len(slices) if limits is None else choose_profile(limits, slices.shape)[1]
        parts = []
        for start in range(0, len(slices), step):
            try:
                parts.append(self._runs.run(slices[start : start + step]))
            except Exception as error:
                # onnxruntime's exceptions share no base.
                raise failed_run(self.provider, error) from error
        probability: Probability = parts[0] if len(parts) == 1 else np.concatenate(parts)
        require_probability(probability, slices)
        return probability

    def _compile(
        self, runtime: Any, path: Path, sha256: str, options: Any, gpu: GpuSettings
    ) -> Any:
        import tensorrt

        key = CacheKey(
            model_sha256=sha256,
            onnxruntime=str(runtime.__version__),
            tensorrt=tensorrt.__version__,
            driver=self._cuda.driver_version,
            compute_capability=self._cuda.compute_capability,
            precision=self.contract.precision,
            profile=PROFILE,
        )
        self.versions["tensorrt"] = key.tensorrt
        folder, is_ready = open_folder(gpu.engine_cache or default_cache(), key)
        if not is_ready:
            gpu.tell(
                f"TensorRT compiles {path.name} for {self.device}, which takes minutes and is "
                f"done once; kept in {folder}"
            )
        chosen = tensorrt_options(gpu, self.contract, folder)
        session = start_session(runtime, path, options, "tensorrt", chosen)
        seal_folder(folder)
        return session


def start_session(
    runtime: Any, path: Path, options: Any, provider: str, chosen: dict[str, str]
) -> Any:
    """A session on that provider alone. Raises ProviderError where another would run instead."""
    name = NAMES[provider]
    try:
        # Without enable_fallback=0 onnxruntime starts on the CPU where the provider fails.
        session = runtime.InferenceSession(
            str(path), options, providers=[(name, chosen)], enable_fallback=0
        )
    except Exception as error:
        raise ProviderError(f"provider {provider}: cannot start: {first_line(error)}") from error
    ran = session.get_providers()[0]
    if ran != name:
        raise ProviderError(f"provider {provider}: onnxruntime started {ran} in its place")
    return session


def cuda_options(gpu: GpuSettings) -> dict[str, str]:
    """Options of the CUDA provider.

    Shapes vary from study to study, so cuDNN's algorithms come from its heuristic; where graphs
    fix the shapes, they are searched. TensorFloat-32 is off: it rounds fp32 inputs to 10 bits.
    """
    options = {
        "device_id": str(gpu.device),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "EXHAUSTIVE" if gpu.cuda_graph else "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        "do_copy_in_default_stream": "1",
        "prefer_nhwc": "1",
        "use_tf32": "0",
        "enable_cuda_graph": str(int(gpu.cuda_graph)),
    }
    if gpu.memory_limit_mib is not None:
        options["gpu_mem_limit"] = str(gpu.memory_limit_mib * 2**20)
    return options


def tensorrt_options(gpu: GpuSettings, contract: Contract, folder: Path) -> dict[str, str]:
    """Options of the TensorRT provider: precision by the contract, shapes by PROFILE."""
    options = {
        "device_id": str(gpu.device),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": str(int(contract.precision == "fp16")),
        "trt_int8_enable": str(int(contract.precision.startswith("int8"))),
        "trt_cuda_graph_enable": str(int(gpu.cuda_graph)),
        "trt_profile_min_shapes": _shape_option(PROFILE.smallest),
        "trt_profile_opt_shapes": _shape_option(PROFILE.typical),
        "trt_profile_max_shapes": _shape_option(PROFILE.largest),
    }
    if gpu.memory_limit_mib is not None:
        options["trt_max_workspace_size"] = str(gpu.memory_limit_mib * 2**20)
    return options


def failed_run(provider: str, error: Exception) -> Exception:
    """What a failed run means: exhausted memory, which a smaller batch may avoid, or the end."""
    if isinstance(error, OutOfMemoryError):
        return error
    text = str(error).lower()
    if any(words in text for words in _EXHAUSTED):
        return OutOfMemoryError(
            f"provider {provider}: the GPU's memory does not suffice; a smaller --batch helps"
        )
    return ProviderError(f"provider {provider}: a run failed: {first_line(error)}")


def _shape_option(shape: tuple[int, ...]) -> str:
    return f"{INPUT}:{'x'.join(map(str, shape))}"
