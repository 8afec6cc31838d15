"""How and where a backend runs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from types import NoneType

from lgg_runtime.errors import UsageError
from lgg_runtime.progress import ignore
from lgg_runtime.providers import CPU_PRECISIONS, ON_CPU

# By a setting's name: the types that it may have, and what to say of them.
Kinds = dict[str, tuple[tuple[type, ...], str]]


def require_kinds(settings: object, kinds: Kinds) -> None:
    """Raises UsageError for a setting of another type: it would fail far from where it was given,
    or `crop="no"` would crop.
    """
    for name, (allowed, says) in kinds.items():
        value = getattr(settings, name)
        is_switch = isinstance(value, bool) and bool not in allowed  # for Python, a whole number
        if is_switch or not isinstance(value, allowed):
            raise UsageError(f"{name} {value!r}: expected {says}")


@dataclass(frozen=True)
class GpuSettings:
    """What only a GPU needs.

    device: its number; memory_limit_mib: of onnxruntime's arena, or of TensorRT's workspace, None
    for all; cuda_graph: replay the recorded kernels of a shape; engine_cache: folder of TensorRT's
    compiled engines, None for the user's cache folder; tell: hears that a long compilation begins.
    """

    device: int = 0
    memory_limit_mib: int | None = None
    cuda_graph: bool = False
    engine_cache: Path | None = None
    tell: Callable[[str], object] = ignore

    def __post_init__(self) -> None:
        require_kinds(self, _GPU_KINDS)
        if not callable(self.tell):
            raise UsageError(f"tell {self.tell!r}: expected a function")
        if self.device < 0:
            raise UsageError(f"GPU {self.device}: expected 0 or more")
        if self.memory_limit_mib is not None and self.memory_limit_mib < 1:
            raise UsageError(f"GPU memory {self.memory_limit_mib} MiB: expected at least 1")

    def require_use(self, by: str, used: Collection[str]) -> None:
        """Raises UsageError, which names it, for what was asked for and `by` does not use."""
        default = GpuSettings()
        for name, words in _GPU_OPTIONS.items():
            if name not in used and getattr(self, name) != getattr(default, name):
                raise UsageError(f"{words}: {by} has no use for it; leave it out")


_GPU_KINDS: Kinds = {
    "device": ((Integral,), "a whole number"),
    "memory_limit_mib": ((Integral, NoneType), "a whole number"),
    "cuda_graph": ((bool,), "True or False"),
    "engine_cache": ((Path, NoneType), "a Path"),
}
_GPU_OPTIONS = {
    "device": "GPU number",
    "memory_limit_mib": "GPU memory",
    "cuda_graph": "CUDA graph",
    "engine_cache": "engine cache",
}
# What each provider uses of them for an ONNX artifact; `auto` passes them to what it chooses.
_USED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ON_CPU, ()),
    "cuda": ("device", "memory_limit_mib", "cuda_graph"),
}


@dataclass(frozen=True)
class BackendSettings:
    """provider: cpu, openvino, cuda, tensorrt or auto; threads: of the computation on a CPU;
    cpu_precision: of its arithmetic, where the artifact itself says no lower one; sha256: the
    digest that the model's file must have, sidecar_sha256: that of an engine's sidecar, None for
    any.
    """

    provider: str
    threads: int
    gpu: GpuSettings = field(default_factory=GpuSettings)
    cpu_precision: str = "fp32"
    sha256: str | None = None
    sidecar_sha256: str | None = None

    def __post_init__(self) -> None:
        if self.cpu_precision not in CPU_PRECISIONS:
            raise UsageError(
                f"CPU precision {self.cpu_precision!r}: expected {' or '.join(CPU_PRECISIONS)}"
            )
        if self.cpu_precision != "fp32" and self.provider != "openvino":
            raise UsageError(
                f"CPU precision {self.cpu_precision}: provider {self.provider} computes as the "
                "artifact says; --provider openvino computes in it"
            )
        used = _USED.get(self.provider, tuple(_GPU_OPTIONS))
        self.gpu.require_use(f"provider {self.provider}", used)
