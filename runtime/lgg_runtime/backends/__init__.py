"""Where an artifact runs: one method, and a table of what implements it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from lgg_runtime.backends.model_file import require_model_file
from lgg_runtime.backends.onnx_session import OnnxSession
from lgg_runtime.backends.openvino_session import OpenVinoSession
from lgg_runtime.backends.settings import BackendSettings, GpuSettings
from lgg_runtime.backends.within_memory import WithinMemory
from lgg_runtime.contract import Contract
from lgg_runtime.errors import ModelError, ProviderError
from lgg_runtime.providers import ON_GPU
from lgg_runtime.volume import Pixels, Probability

__all__ = [
    "Backend",
    "BackendSettings",
    "GpuSettings",
    "load_backend",
    "open_backend",
    "share_threads",
]


class Backend(Protocol):
    """An artifact that is loaded and ready.

    provider: the provider that really runs; device: it in words; versions: of the libraries used.
    """

    @property
    def contract(self) -> Contract: ...
    @property
    def provider(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def versions(self) -> dict[str, str]: ...

    def run(self, slices: Pixels) -> Probability:
        """Normalised slices [N, H, W, 3] uint8, H and W multiples of the contract's size, to
        probabilities [N, H, W] float32 in 0..1. Raises ModelError if the output is another,
        OutOfMemoryError if so many slices do not fit.
        """


def _open_gpu_session(path: Path, settings: BackendSettings) -> Backend:
    from lgg_runtime.backends.gpu_session import GpuSession  # a run on a CPU goes without it

    return GpuSession(path, settings)


def _open_engine(path: Path, settings: BackendSettings) -> Backend:
    from lgg_runtime.backends.engine import EngineBackend

    settings.gpu.require_use("an engine", ("device",))
    return EngineBackend(path, settings)


# By suffix: what runs it with each provider, and what `auto` tries in turn. TensorRT is not tried
# for ONNX: it compiles for minutes, which nobody asked for.
_Open = Callable[[Path, BackendSettings], Backend]
_BACKENDS: dict[str, dict[str, _Open]] = {
    ".onnx": {
        "cpu": OnnxSession,
        "openvino": OpenVinoSession,
        "cuda": _open_gpu_session,
        "tensorrt": _open_gpu_session,
    },
    ".engine": {"tensorrt": _open_engine},
}
_AUTO = {".onnx": ("cuda", "cpu", "openvino"), ".engine": ("tensorrt",)}


def load_backend(path: Path, settings: BackendSettings) -> Backend:
    """Load an artifact by its suffix. Raises ModelError or ProviderError with the reason."""
    return open_backend(path, settings)[0]


def share_threads(backend: Backend, other: Backend) -> None:
    """Have two backends of the same settings compute in the same threads, where they run on
    onnxruntime's CPU provider: called at once, each would take as many as were asked for.
    """
    one, beside = (b.inner if isinstance(b, WithinMemory) else b for b in (backend, other))
    if isinstance(one, OnnxSession) and isinstance(beside, OnnxSession):
        one.share_threads(beside)


def open_backend(path: Path, settings: BackendSettings) -> tuple[Backend, str]:
    """Load an artifact, and say why it runs where it does.

    `auto` is the first provider that really starts; every other is what runs, or ProviderError.
    """
    suffix = path.suffix.lower()
    if suffix in (".pt", ".pth"):
        raise ModelError(f"{path.name}: a PyTorch checkpoint; export it first: lgg-export")
    if suffix not in _BACKENDS:
        raise ModelError(f"{path.name}: expected a model file {', '.join(_BACKENDS)}")
    require_model_file(path)
    if settings.provider != "auto":
        return _open(path, settings), "as asked for"
    refused: list[str] = []
    for provider in _AUTO[suffix]:
        try:
            gpu = settings.gpu if provider in ON_GPU else GpuSettings()
            backend = _open(path, replace(settings, provider=provider, gpu=gpu))
        except ProviderError as error:
            refused.append(str(error))
        else:
            return backend, "; ".join(refused) or f"{provider} is the fastest that starts"
    raise ProviderError(f"provider auto: {'; '.join(dict.fromkeys(refused))}")


def _open(path: Path, settings: BackendSettings) -> Backend:
    table = _BACKENDS[path.suffix.lower()]
    if settings.provider not in table:
        raise ProviderError(
            f"provider {settings.provider}: {path.name} runs with {' or '.join(table)}"
        )
    return WithinMemory(table[settings.provider](path, settings))
