"""ONNX artifacts through onnxruntime, on the provider that was asked for and no other."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from lgg_runtime.contract import INPUT, METADATA_KEY, OUTPUT, Contract
from lgg_runtime.errors import MissingExtraError, ModelError, ProviderError
from lgg_runtime.volume import Pixels, Probability

_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_CUDA_DRIVER = "libcuda.so.1"
_GPU_INSTALL = "pip uninstall -y onnxruntime && pip install 'lgg-edge[gpu]'"


class OnnxSession:
    """A Backend over one onnxruntime session.

    provider `auto` is CUDA where a session really starts on it, else the CPU; `provider` tells
    which it became. Raises ModelError for a file that is no valid artifact, ProviderError where
    the provider cannot run.
    """

    def __init__(self, path: Path, provider: str, threads: int):
        self._runtime = _import_onnxruntime()
        self.provider, self._session = self._start(path, provider, threads)
        self.contract = _read_contract(self._session, path)
        self.device = "CPU" if self.provider == "cpu" else "CUDA device 0"
        self.versions = {"onnxruntime": str(self._runtime.__version__)}

    def _start(self, path: Path, provider: str, threads: int) -> tuple[str, Any]:
        if provider != "auto":
            return provider, self._open(path, provider, threads)
        try:
            return "cuda", self._open(path, "cuda", threads)
        except ProviderError:
            return "cpu", self._open(path, "cpu", threads)

    def _open(self, path: Path, provider: str, threads: int) -> Any:
        if provider == "cuda" and (missing := missing_for_cuda(self._runtime)) is not None:
            raise ProviderError(f"provider cuda: {missing}")
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        name = _NAMES[provider]
        try:
            # Its own fallback would print to standard output and change the provider in a run.
            session = self._runtime.InferenceSession(
                str(path), options, providers=[name], enable_fallback=0
            )
        except Exception as error:
            # onnxruntime's exception types share no base and do not tell whose fault it is.
            reason = _first_line(error)
            if provider != "cpu":
                self._open(path, "cpu", threads)  # raises where the file is at fault
                raise ProviderError(f"provider {provider}: {reason}") from error
            raise ModelError(f"{path.name}: onnxruntime refuses it: {reason}") from error
        ran = session.get_providers()[0]
        if ran != name:
            raise ProviderError(f"provider {provider}: onnxruntime started {ran} in its place")
        return session

    def run(self, slices: Pixels) -> Probability:
        try:
            probability: Probability = self._session.run([OUTPUT], {INPUT: slices})[0]
        except Exception as error:
            # As above; the shape of the input is ours, so what fails is the graph or its memory.
            raise ModelError(f"the model cannot be run: {_first_line(error)}") from error
        if probability.shape != slices.shape[:3]:
            raise ModelError(f"the model gives {probability.shape} for slices {slices.shape}")
        if not (probability.min() >= 0 and probability.max() <= 1):  # false for NaN as well
            raise ModelError("the model's output is no number in 0..1 for this input")
        return probability


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def missing_for_cuda(runtime: Any) -> str | None:
    """What keeps CUDA from running here, with the remedy; None where nothing is known to."""
    if _NAMES["cuda"] not in runtime.get_available_providers():
        return (
            f"onnxruntime-gpu is missing (installed: onnxruntime {runtime.__version__} for CPU); "
            + _GPU_INSTALL
        )
    try:
        ctypes.CDLL(_CUDA_DRIVER)
    except OSError:
        return f"{_CUDA_DRIVER} is missing; install the NVIDIA driver"
    return None


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "onnxruntime is not installed; pip install 'lgg-edge[cpu]' (or [gpu])"
        ) from error
    return onnxruntime


def _read_contract(session: Any, path: Path) -> Contract:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelError(f"{path.name}: no contract in its metadata; export it with lgg-export")
    try:
        contract = Contract.loads(text)
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from error
    found = [
        (v.name, v.type, len(v.shape)) for v in (*session.get_inputs(), *session.get_outputs())
    ]
    expected = [(INPUT, "tensor(uint8)", 4), (OUTPUT, "tensor(float)", 3)]
    if found != expected:
        raise ModelError(f"{path.name}: expected inputs and outputs {expected}, found {found}")
    return contract
