"""A stand-in for the module `onnxruntime` of the package onnxruntime-gpu.

Its sessions compute on the CPU and say that they run on the provider that they were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime

GPU = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
CPU = "CPUExecutionProvider"


class StandInOnnxRuntime:
    """started: what a session says that it runs on, None for what was asked; fails: what starting
    one raises, run_fails: what runs of more than `holds` slices raise; asked: options by provider.
    """

    __version__ = "1.24.0"
    RunOptions = onnxruntime.RunOptions

    def __init__(
        self,
        started: str | None = None,
        fails: str | None = None,
        holds: int = 1 << 30,
        run_fails: str = "CUDA failure 2: out of memory",
    ):
        self.__file__ = str(Path(__file__).parent / "no-providers" / "__init__.py")
        self.started, self.fails, self.holds, self.run_fails = started, fails, holds, run_fails
        self.asked: dict[str, dict[str, str]] = {}
        self.entries: dict[str, str] = {}
        self.OrtValue = _HostValue

    def get_available_providers(self) -> list[str]:
        return [*GPU, CPU]

    def preload_dlls(self) -> None:
        print("what onnxruntime prints is no output of ours")  # noqa: T201

    def SessionOptions(self) -> Any:
        return _Options(self.entries)

    def InferenceSession(
        self, path: str, options: Any, providers: Sequence[Any], **more: Any
    ) -> _Session:
        first = providers[0]
        if isinstance(first, str):
            return _Session(self, path, first)
        name, chosen = first
        if self.fails is not None:
            raise RuntimeError(self.fails)
        assert more == {"enable_fallback": 0}
        self.asked[name] = chosen
        if folder := chosen.get("trt_engine_cache_path"):
            (Path(folder) / "compiled.engine").write_bytes(b"machine code")
        return _Session(self, path, self.started or name)


class _Options:
    def __init__(self, entries: dict[str, str]):
        self.add_session_config_entry = entries.__setitem__


class _HostValue(onnxruntime.OrtValue):
    """Device memory is the host's."""

    @classmethod
    def ortvalue_from_shape_and_type(
        cls, shape: Any, element_type: Any, device_type: str = "cuda", device_id: int = 0
    ) -> Any:
        assert device_type == "cuda"
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, element_type, "cpu", 0)


class _Session:
    def __init__(self, runtime: StandInOnnxRuntime, path: str, provider: str):
        self._runtime, self._provider = runtime, provider
        self._session = onnxruntime.InferenceSession(path, providers=[CPU])
        for name in ("get_modelmeta", "get_inputs", "get_outputs", "io_binding"):
            setattr(self, name, getattr(self._session, name))

    def get_providers(self) -> list[str]:
        return [self._provider]

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self._session.run_with_iobinding(binding, options)
        if binding.get_outputs()[0].shape()[0] > self._runtime.holds:
            raise RuntimeError(self._runtime.run_fails)
