"""What a device reaches at best: a matrix product, and copies from the host's memory and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lgg_bench.timing import Clock
from lgg_runtime.backends.cuda_driver import CudaDevice, DeviceBuffer, PinnedBuffer

COPY_BYTES = 2**28
_CPU_SIDE, _GPU_SIDE = 1024, 8192
_REPEATS = 5


def measure_ceilings(cuda: CudaDevice | None, clock: Clock) -> dict[str, float]:
    """TFLOP/s of a matrix product by type and GB/s of copies, each the best of a few repeats.

    On a GPU the product needs PyTorch and is left out without it; the copies go through pinned
    memory. Without a GPU: NumPy's product in float32, and a copy within the host's memory.
    """
    if cuda is not None:
        return {**_gpu_products(clock), **_gpu_copies(cuda, clock)}
    a = np.random.default_rng(0).standard_normal((_CPU_SIDE, _CPU_SIDE), np.float32)
    source = np.ones(COPY_BYTES // 4, np.uint8)
    target = np.empty_like(source)
    return {
        "fp32_tflops": _tera(_CPU_SIDE) / _best(lambda: a @ a, clock),
        "copy_gb_s": len(source) / 1e9 / _best(lambda: np.copyto(target, source), clock),
    }


def _gpu_products(clock: Clock) -> dict[str, float]:
    try:
        import torch
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    found = {}
    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        a = torch.randn((_GPU_SIDE, _GPU_SIDE), device="cuda", dtype=dtype)

        def product(a: Any = a) -> None:
            a @ a
            torch.cuda.synchronize()

        found[f"{name}_tflops"] = _tera(_GPU_SIDE) / _best(product, clock)
    return found


def _gpu_copies(cuda: CudaDevice, clock: Clock) -> dict[str, float]:
    host, device = PinnedBuffer(cuda), DeviceBuffer(cuda)
    host.reserve(COPY_BYTES)
    device.reserve(COPY_BYTES)

    def copy_in() -> None:
        cuda.copy_in(device.address, host.address, COPY_BYTES)
        cuda.wait()

    def copy_out() -> None:
        cuda.copy_out(host.address, device.address, COPY_BYTES)
        cuda.wait()

    found = {
        "copy_in_gb_s": COPY_BYTES / 1e9 / _best(copy_in, clock),
        "copy_out_gb_s": COPY_BYTES / 1e9 / _best(copy_out, clock),
    }
    host.release()
    device.release()
    return found


def _best(call: Callable[[], Any], clock: Clock) -> float:
    """Seconds of the fastest of a few calls, after one that is not counted."""
    call()
    seconds = []
    for _ in range(_REPEATS):
        start = clock.now()
        call()
        seconds.append(clock.now() - start)
    return min(seconds)


def _tera(side: int) -> float:
    return 2e-12 * side**3
