"""A stand-in for libcuda.so.1: its calls, on the host's own memory."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

OUT_OF_MEMORY = 2
INVALID_VALUE = 1
INVALID_CONTEXT = 201
IN_A_CONTEXT = ("cuMem", "cuStream")  # calls that need one in the calling thread


class StandInDriver:
    """`memory` bytes of device memory on one GPU of the given compute capability.

    calls: the names in order; held and pinned: what is allocated, by address.
    """

    def __init__(self, capability: tuple[int, int] = (8, 6), memory: int = 1 << 30):
        self.capability, self.memory = capability, memory
        self.calls: list[str] = []
        self._current = threading.local()
        self.held: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        for name in vars(type(self)):
            if name.startswith("cu"):
                setattr(self, name, self._spy(name))

    def _spy(self, name: str) -> Callable[..., int]:
        method = getattr(type(self), name)

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name.startswith(IN_A_CONTEXT) and not hasattr(self._current, "context"):
                return INVALID_CONTEXT
            status: int = method(self, *arguments)
            return status

        return call

    def cuInit(self, _flags: int) -> int:
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 13000
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = 1
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, text: Any, _size: int, _device: int) -> int:
        text.value = b"Stand-in GPU"
        return 0

    def cuDeviceGetAttribute(self, value: Any, number: int, _device: int) -> int:
        value._obj.value = self.capability[{75: 0, 76: 1}[number]]
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, _device: int) -> int:
        context._obj.value = 1
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, _device: int) -> int:
        return 0

    def cuCtxSetCurrent(self, context: Any) -> int:
        self._current.context = context
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:
        used = sum(len(block) for block in self.held.values())
        free._obj.value, total._obj.value = self.memory - used, self.memory
        return 0

    def cuMemAlloc_v2(self, address: Any, size: int) -> int:
        if sum(len(block) for block in self.held.values()) + size > self.memory:
            return OUT_OF_MEMORY
        block = ctypes.create_string_buffer(size)
        address._obj.value = ctypes.addressof(block)
        self.held[ctypes.addressof(block)] = block
        return 0

    def cuMemFree_v2(self, address: int) -> int:
        return INVALID_VALUE if self.held.pop(address, None) is None else 0

    def cuMemAllocHost_v2(self, address: Any, size: int) -> int:
        block = ctypes.create_string_buffer(size)
        address._obj.value = ctypes.addressof(block)
        self.pinned[ctypes.addressof(block)] = block
        return 0

    def cuMemFreeHost(self, address: int) -> int:
        return INVALID_VALUE if self.pinned.pop(address, None) is None else 0

    def cuMemcpyHtoDAsync_v2(self, target: int, source: int, size: int, _stream: int) -> int:
        ctypes.memmove(target, source, size)
        return 0

    def cuMemcpyDtoHAsync_v2(self, target: int, source: int, size: int, _stream: int) -> int:
        ctypes.memmove(target, source, size)
        return 0

    def cuStreamCreate(self, stream: Any, _flags: int) -> int:
        stream._obj.value = 7
        return 0

    def cuStreamSynchronize(self, _stream: int) -> int:
        return 0

    def cuStreamDestroy_v2(self, _stream: int) -> int:
        return 0

    def cuGetErrorName(self, status: int, text: Any) -> int:
        text._obj.value = {
            INVALID_VALUE: b"CUDA_ERROR_INVALID_VALUE",
            OUT_OF_MEMORY: b"CUDA_ERROR_OUT_OF_MEMORY",
            INVALID_CONTEXT: b"CUDA_ERROR_INVALID_CONTEXT",
        }[status]
        return 0
