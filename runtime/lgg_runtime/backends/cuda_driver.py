"""The few calls of the CUDA driver that running an engine needs, without torch or a toolkit."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import OutOfMemoryError, ProviderError

LIBRARY = "libcuda.so.1"
_KERNEL_MODULE = Path("/sys/module/nvidia/version")
_OUT_OF_MEMORY = 2
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING

_PROTOTYPES: dict[str, Sequence[Any]] = {
    "cuInit": [c_uint],
    "cuDriverGetVersion": [ctypes.POINTER(c_int)],
    "cuDeviceGetCount": [ctypes.POINTER(c_int)],
    "cuDeviceGet": [ctypes.POINTER(c_int), c_int],
    "cuDeviceGetName": [c_char_p, c_int, c_int],
    "cuDeviceGetAttribute": [ctypes.POINTER(c_int), c_int, c_int],
    "cuDevicePrimaryCtxRetain": [ctypes.POINTER(c_void_p), c_int],
    "cuDevicePrimaryCtxRelease_v2": [c_int],
    "cuCtxSetCurrent": [c_void_p],
    "cuMemGetInfo_v2": [ctypes.POINTER(c_size_t), ctypes.POINTER(c_size_t)],
    "cuMemAlloc_v2": [ctypes.POINTER(c_uint64), c_size_t],
    "cuMemFree_v2": [c_uint64],
    "cuMemAllocHost_v2": [ctypes.POINTER(c_void_p), c_size_t],
    "cuMemFreeHost": [c_void_p],
    "cuMemcpyHtoDAsync_v2": [c_uint64, c_void_p, c_size_t, c_void_p],
    "cuMemcpyDtoHAsync_v2": [c_void_p, c_uint64, c_size_t, c_void_p],
    "cuStreamCreate": [ctypes.POINTER(c_void_p), c_uint],
    "cuStreamSynchronize": [c_void_p],
    "cuStreamDestroy_v2": [c_void_p],
    "cuGetErrorName": [c_int, ctypes.POINTER(c_char_p)],
}


def find_driver() -> Any:
    """The driver's library. Raises ProviderError where it is not installed."""
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise ProviderError(
            f"{LIBRARY} is missing: no NVIDIA driver here; install it "
            "(Ubuntu: sudo ubuntu-drivers install)"
        ) from error


class CudaDevice:
    """One GPU: its identity, memory on it, pinned memory beside it, and a stream.

    library: the driver, or an object with the same calls. Raises ProviderError where no GPU
    answers, OutOfMemoryError where its memory does not suffice.
    """

    def __init__(self, library: Any, index: int = 0):
        self._library, self.index = library, index
        for name, arguments in _PROTOTYPES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, c_int
        self._call("cuInit", 0)
        count = c_int()
        self._call("cuDeviceGetCount", byref(count))
        if not 0 <= index < count.value:
            raise ProviderError(f"GPU {index}: expected one of the {count.value} that are here")
        device, context, stream = c_int(), c_void_p(), c_void_p()
        self._call("cuDeviceGet", byref(device), index)
        self._device = device.value
        # The primary context is the one that TensorRT and onnxruntime use.
        self._call("cuDevicePrimaryCtxRetain", byref(context), self._device)
        self._context = context
        self.make_current()
        self._call("cuStreamCreate", byref(stream), _NON_BLOCKING)
        self.stream = int(stream.value or 0)

    @property
    def name(self) -> str:
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, len(text), self._device)
        return text.value.decode(errors="replace")

    @property
    def compute_capability(self) -> str:
        """Such as SM86."""
        return f"SM{self._attribute(_MAJOR)}{self._attribute(_MINOR)}"

    @property
    def driver_version(self) -> str:
        """The CUDA version that the driver serves, and its own number where the system tells."""
        value = c_int()
        self._call("cuDriverGetVersion", byref(value))
        cuda = f"CUDA {value.value // 1000}.{value.value % 1000 // 10}"
        try:
            return f"{_KERNEL_MODULE.read_text().strip()}, {cuda}"
        except OSError:
            return cuda

    def memory_bytes(self) -> tuple[int, int]:
        """Free and total bytes."""
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def make_current(self) -> None:
        """Use this GPU in the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes on the GPU."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), size)
        return address.value

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", address)

    def allocate_pinned(self, size: int) -> tuple[int, npt.NDArray[np.uint8]]:
        """`size` new page-locked bytes of the host: their address, and an array over them."""
        address = c_void_p()
        self._call("cuMemAllocHost_v2", byref(address), size)
        value = int(address.value or 0)
        held = (ctypes.c_uint8 * size).from_address(value)
        return value, np.ctypeslib.as_array(held)

    def free_pinned(self, address: int) -> None:
        self._call("cuMemFreeHost", address)

    def copy_in(self, target: int, source: int, size: int) -> None:
        """Pinned to device, in the stream's order."""
        self._call("cuMemcpyHtoDAsync_v2", target, source, size, self.stream)

    def copy_out(self, target: int, source: int, size: int) -> None:
        """Device to pinned, in the stream's order."""
        self._call("cuMemcpyDtoHAsync_v2", target, source, size, self.stream)

    def wait(self) -> None:
        """Return once everything in the stream is done."""
        self._call("cuStreamSynchronize", self.stream)

    def release(self) -> None:
        """Give the GPU back, after all that is held on it."""
        self._call("cuStreamDestroy_v2", self.stream)
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _attribute(self, number: int) -> int:
        value = c_int()
        self._call("cuDeviceGetAttribute", byref(value), number, self._device)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status == 0:
            return
        text = c_char_p()
        self._library.cuGetErrorName(status, byref(text))
        reason = f"{name}: {(text.value or b'unknown error').decode()}"
        if status == _OUT_OF_MEMORY:
            raise OutOfMemoryError(f"the GPU's memory does not suffice ({reason})")
        raise ProviderError(f"the NVIDIA driver refuses: {reason}")


class OnDevice(Protocol):
    """What holds memory of the GPU until it is released."""

    def release(self) -> None: ...


def release_with(owner: object, held: OnDevice, cuda: CudaDevice) -> None:
    """Release what is held, be it the device itself, when `owner` goes or Python ends: what came
    last first. Not in a process that was forked meanwhile, in which no call of CUDA works.
    """
    weakref.finalize(owner, _release, held, cuda, os.getpid())


def _release(held: OnDevice, cuda: CudaDevice, process: int) -> None:
    if os.getpid() == process:
        cuda.make_current()  # the thread in which Python ends may be another than used it
        held.release()


class PinnedBuffer:
    """Page-locked host memory that grows to the largest run so far: `array` of uint8, `address`."""

    def __init__(self, cuda: CudaDevice):
        self._cuda = cuda
        self.address = 0
        self.array: npt.NDArray[np.uint8] = np.empty(0, np.uint8)

    def reserve(self, size: int) -> None:
        """Hold at least `size` bytes. Raises OutOfMemoryError; nothing is held then."""
        if size <= len(self.array):
            return
        self.release()
        self.address, self.array = self._cuda.allocate_pinned(size)

    def release(self) -> None:
        self.array = np.empty(0, np.uint8)
        if self.address:
            self._cuda.free_pinned(self.address)
        self.address = 0


class DeviceBuffer:
    """Memory of the GPU that grows to the largest run so far."""

    def __init__(self, cuda: CudaDevice):
        self._cuda = cuda
        self.address = self._size = 0

    def reserve(self, size: int) -> None:
        """Hold at least `size` bytes. Raises OutOfMemoryError; nothing is held then."""
        if size <= self._size:
            return
        self.release()
        self.address, self._size = self._cuda.allocate(size), size

    def release(self) -> None:
        if self.address:
            self._cuda.free(self.address)
        self.address = self._size = 0
