"""Where an artifact runs: one method, and a table of what implements it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lgg_runtime.backends.onnx_session import OnnxSession
from lgg_runtime.contract import Contract
from lgg_runtime.errors import ModelError
from lgg_runtime.volume import Pixels, Probability

PROVIDERS = ("cpu", "cuda", "auto")


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
        probabilities [N, H, W] float32 in 0..1. Raises ModelError if the output is another.
        """


@dataclass(frozen=True)
class BackendSettings:
    """provider: cpu, cuda or auto; threads: of the computation on a CPU."""

    provider: str
    threads: int


_BACKENDS: dict[str, Callable[[Path, str, int], Backend]] = {".onnx": OnnxSession}


def load_backend(path: Path, settings: BackendSettings) -> Backend:
    """Load an artifact by its suffix. Raises ModelError or ProviderError with the reason."""
    if path.suffix.lower() in (".pt", ".pth"):
        raise ModelError(f"{path.name}: a PyTorch checkpoint; export it first: lgg-export")
    if path.suffix.lower() not in _BACKENDS:
        raise ModelError(f"{path.name}: expected a model file {', '.join(_BACKENDS)}")
    if not path.is_file():
        raise ModelError(f"{path}: no such model")
    return _BACKENDS[path.suffix.lower()](path, settings.provider, settings.threads)
