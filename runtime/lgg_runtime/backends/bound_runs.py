"""Runs of an onnxruntime session whose inputs and outputs stay on the GPU, copied through pinned
host memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from lgg_runtime.backends.cuda_driver import CudaDevice, PinnedBuffer
from lgg_runtime.contract import INPUT, OUTPUT
from lgg_runtime.volume import Pixels, Probability

SHAPES_KEPT = 4
_NO_GRAPH = "-1"


@dataclass(frozen=True)
class _Binding:
    """Device memory of one shape, bound to the session; graph: the id of its CUDA graph."""

    io: Any
    source: Any
    target: Any
    graph: str


class BoundRuns:
    """Keeps device memory for the last few shapes, because memory must not grow with each new one.

    device_type: onnxruntime's name of where `cuda` allocates; cuda_graph: record and replay the
    kernels of the first few shapes, whose memory then stays where it is.
    """

    def __init__(
        self,
        runtime: Any,
        session: Any,
        cuda: CudaDevice,
        device_type: str = "cuda",
        cuda_graph: bool = False,
    ):
        self._runtime, self._session, self._cuda = runtime, session, cuda
        self._device_type, self._cuda_graph = device_type, cuda_graph
        self._bindings: dict[tuple[int, ...], _Binding] = {}
        self._last: _Binding | None = None
        self._source, self._target = PinnedBuffer(cuda), PinnedBuffer(cuda)
        self._lock = Lock()  # memory that one run at a time may use

    def run(self, slices: Pixels) -> Probability:
        """[N, H, W, 3] uint8 to [N, H, W] float32."""
        shape = slices.shape[:3]
        size = int(np.prod(shape)) * 4
        with self._lock:
            self._cuda.make_current()
            binding = self._bindings.get(slices.shape) or self._bind(slices.shape)
            self._source.reserve(slices.nbytes)
            self._source.array[: slices.nbytes] = slices.reshape(-1)
            self._cuda.copy_in(binding.source.data_ptr(), self._source.address, slices.nbytes)
            self._cuda.wait()
            self._compute(binding)
            self._target.reserve(size)
            self._cuda.copy_out(self._target.address, binding.target.data_ptr(), size)
            self._cuda.wait()
            return self._target.array[:size].view(np.float32).reshape(shape).copy()

    def repeat(self) -> int:
        """Compute again on what lies on the device, for the last run's shape; its slices."""
        if self._last is None:
            return 0
        self._compute(self._last)
        return int(self._last.source.shape()[0])

    def _compute(self, binding: _Binding) -> None:
        options = self._runtime.RunOptions()
        if self._cuda_graph:
            options.add_run_config_entry("gpu_graph_id", binding.graph)
        self._session.run_with_iobinding(binding.io, options)
        binding.io.synchronize_outputs()
        self._last = binding

    def release(self) -> None:
        self._last = None
        self._bindings.clear()
        self._source.release()
        self._target.release()
        self._session = None

    def _bind(self, shape: tuple[int, ...]) -> _Binding:
        if len(self._bindings) == SHAPES_KEPT:
            # A recorded graph holds its addresses: with graphs the last one, which has none, goes.
            del self._bindings[list(self._bindings)[-1 if self._cuda_graph else 0]]
        number = len(self._bindings) + 1
        graph = str(number) if number < SHAPES_KEPT else _NO_GRAPH
        source = self._allocate(shape, np.uint8)
        target = self._allocate(shape[:3], np.float32)
        io = self._session.io_binding()
        io.bind_ortvalue_input(INPUT, source)
        io.bind_ortvalue_output(OUTPUT, target)
        binding = _Binding(io, source, target, graph)
        self._bindings[shape] = binding
        return binding

    def _allocate(self, shape: tuple[int, ...], dtype: type) -> Any:
        return self._runtime.OrtValue.ortvalue_from_shape_and_type(
            shape, dtype, self._device_type, self._cuda.index
        )
