"""Compiled engines (`.engine`) of TensorRT and TensorRT for RTX, on the GPU they were built for."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from lgg_runtime.backends.acceptance import require_probability
from lgg_runtime.backends.cuda_driver import (
    CudaDevice,
    DeviceBuffer,
    PinnedBuffer,
    find_driver,
    release_with,
)
from lgg_runtime.backends.settings import BackendSettings
from lgg_runtime.contract import INPUT, OUTPUT
from lgg_runtime.errors import ModelError, OutOfMemoryError, ProviderError
from lgg_runtime.extras import import_extra
from lgg_runtime.golden import check_golden
from lgg_runtime.sidecar import EngineKey, Sidecar, choose_profile, read_engine
from lgg_runtime.volume import Pixels, Probability

# Each library's Python module, and the extra that installs it.
LIBRARIES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_PORTABLE_FROM = 80  # an engine without chosen capabilities runs from Ampere on


class EngineBackend:
    """A Backend over one engine.

    Before the engine is parsed: its digest stands in its sidecar, the library has the version and
    the GPU the compute capability that it was built for. Then it must answer the contract's golden
    input, which also warms it up. library and driver: the modules, or objects with the same calls;
    None for the installed ones. Raises ModelError for an artifact that is refused, ProviderError
    where it cannot run.
    """

    provider = "tensorrt"

    def __init__(
        self,
        path: Path,
        settings: BackendSettings,
        library: Any | None = None,
        driver: Any | None = None,
    ):
        data, sidecar = read_engine(path, settings.sha256, settings.sidecar_sha256)
        key = sidecar.key
        self.contract = sidecar.contract
        if key.library not in LIBRARIES:
            found = f"expected {' or '.join(LIBRARIES)}, found {key.library!r}"
            raise ModelError(f"{path.name}: the library that its sidecar names: {found}")
        module = import_library(key.library) if library is None else library
        if module.__version__ != key.library_version:
            raise ProviderError(
                f"{path.name}: built with {key.library} {key.library_version}, "
                f"installed is {module.__version__}; build it again: "
                f"lgg-export MODEL.onnx -o {path.name} --format {key.library}"
            )
        self._cuda = CudaDevice(find_driver() if driver is None else driver, settings.gpu.device)
        release_with(self, self._cuda, self._cuda)
        _require_fit(path.name, key, self._cuda)
        self.device = f"{self._cuda.name} ({self._cuda.compute_capability})"
        self.versions = {key.library: key.library_version, "driver": self._cuda.driver_version}
        self._profiles = key.profiles
        self._lock = Lock()  # context and buffers that one run at a time may use
        self._engine = _Engine(path.name, module, data, self._cuda)
        release_with(self, self._engine, self._cuda)
        self._engine.require_tensors(sidecar)
        self.golden_difference = check_golden(self.run, self.contract.golden)

    def repeat_on_device(self) -> int:
        """The last part of the last run once more, without copies, to time the computing alone;
        how many slices that is.
        """
        return self._engine.repeat()

    def run(self, slices: Pixels) -> Probability:
        """As Backend.run; more slices than a profile holds run one part after the other."""
        out: Probability = np.empty(slices.shape[:3], np.float32)
        done = 0
        while done < len(slices):
            number, count = choose_profile(self._profiles, (len(slices) - done, *slices.shape[1:]))
            part = slices[done : done + count]
            with self._lock:
                out[done : done + count] = self._engine.run(part, number)
            done += count
        require_probability(out, slices)
        return out


def import_library(name: str) -> Any:
    """TensorRT's module. Raises MissingExtraError, as `import_extra` does."""
    return import_extra(LIBRARIES[name], name)


def open_log(module: Any) -> Any:
    """A logger for the library that keeps its errors, as `errors`, in place of printing them."""

    class Log(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.INTERNAL_ERROR, module.ILogger.ERROR):
                self.errors.append(" ".join(message.split()))

    return Log()


def _require_fit(name: str, key: EngineKey, cuda: CudaDevice) -> None:
    found = cuda.compute_capability
    if key.compute_capabilities:
        fits, built = found in key.compute_capabilities, ", ".join(key.compute_capabilities)
    else:
        fits, built = int(found[2:]) >= _PORTABLE_FROM, f"SM{_PORTABLE_FROM} and later"
    if not fits:
        raise ProviderError(
            f"{name}: built for {built}; this GPU is {cuda.name}, {found}; build one for it"
        )


class _Engine:
    """The library's engine: one context, and buffers that grow to the largest run so far."""

    def __init__(self, name: str, module: Any, data: bytes, cuda: CudaDevice):
        self._name, self._cuda = name, cuda
        self._log = open_log(module)
        self._runtime = module.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(data)
        self._require(self._engine is not None)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise OutOfMemoryError(f"{name}: the GPU's memory does not suffice for the engine")
        self._profile = self._slices = 0
        self._device = {INPUT: DeviceBuffer(cuda), OUTPUT: DeviceBuffer(cuda)}
        self._source, self._target = PinnedBuffer(cuda), PinnedBuffer(cuda)

    def require_tensors(self, sidecar: Sidecar) -> None:
        """Raises ModelError where the engine's inputs and outputs are not the sidecar's."""
        found = [
            (t, self._engine.get_tensor_mode(t).name, self._engine.get_tensor_dtype(t).name)
            for t in (self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors))
        ]
        expected = [(t.name, t.mode, t.dtype) for t in sidecar.tensors]
        if found != expected:
            raise ModelError(f"{self._name}: expected tensors {expected}, found {found}")

    def run(self, slices: Pixels, profile: int) -> Probability:
        """One run of [N, H, W, 3] that the profile holds."""
        self._cuda.make_current()
        if profile != self._profile:
            self._require(self._context.set_optimization_profile_async(profile, self._cuda.stream))
            self._profile = profile
        shape = slices.shape[:3]
        self._slices = shape[0]
        sizes = {INPUT: slices.nbytes, OUTPUT: int(np.prod(shape)) * 4}
        self._source.reserve(sizes[INPUT])
        self._target.reserve(sizes[OUTPUT])
        self._require(self._context.set_input_shape(INPUT, slices.shape))
        for name, buffer in self._device.items():
            buffer.reserve(sizes[name])
            self._require(self._context.set_tensor_address(name, buffer.address))
        self._source.array[: sizes[INPUT]] = slices.reshape(-1)
        self._cuda.copy_in(self._device[INPUT].address, self._source.address, sizes[INPUT])
        self._require(self._context.execute_async_v3(self._cuda.stream))
        self._cuda.copy_out(self._target.address, self._device[OUTPUT].address, sizes[OUTPUT])
        self._cuda.wait()
        return self._target.array[: sizes[OUTPUT]].view(np.float32).reshape(shape)

    def repeat(self) -> int:
        """Compute again on what lies on the device; its slices."""
        self._cuda.make_current()
        self._require(self._context.execute_async_v3(self._cuda.stream))
        self._cuda.wait()
        return self._slices

    def release(self) -> None:
        for device in self._device.values():
            device.release()
        for pinned in (self._source, self._target):
            pinned.release()
        self._context = self._engine = self._runtime = None

    def _require(self, done: bool) -> None:
        if not done:
            reason = self._log.errors[-1] if self._log.errors else "no reason given"
            raise ProviderError(f"{self._name}: the library refuses: {reason[:300]}")
