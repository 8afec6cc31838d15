"""What a device reaches at best, on the processor and on stand-ins for a GPU and its libraries."""

import sys
from functools import partial
from types import SimpleNamespace

import pytest

from lgg_bench import ceilings
from lgg_bench.ceilings import measure_ceilings
from lgg_bench.timing import Clock
from lgg_runtime.backends.cuda_driver import CudaDevice
from stand_ins.cuda import StandInDriver


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "COPY_BYTES", 4096)


def test_copies_go_through_pinned_memory_and_give_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    driver = StandInDriver()
    ticks = iter(range(100))
    clock = Clock(now=lambda: next(ticks) * 1e-6)
    found = measure_ceilings(CudaDevice(driver), clock)
    assert found == pytest.approx({"copy_in_gb_s": 4.096, "copy_out_gb_s": 4.096})
    assert not driver.held
    assert not driver.pinned
    # Each way five times and once before, and each time waited for.
    ways = ("cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2")
    copies = [name for name in driver.calls if name in (*ways, "cuStreamSynchronize")]
    assert copies == [name for way in ways for name in 6 * (way, "cuStreamSynchronize")]


class Matrix:
    """A square matrix of PyTorch's stand-in, which tells of its products."""

    def __init__(self, calls: list[str], shape: tuple[int, int], device: str, dtype: str) -> None:
        self.calls, self.told = calls, f"{device} {dtype} {shape[0]}"

    def __matmul__(self, _other: object) -> None:
        self.calls.append(self.told)


@pytest.mark.parametrize("on_gpu", [True, False])
def test_a_gpu_s_products_are_of_the_fastest_of_a_few_calls_each_of_which_was_waited_for(
    monkeypatch: pytest.MonkeyPatch, on_gpu: bool
) -> None:
    calls: list[str] = []
    cuda = SimpleNamespace(is_available=lambda: on_gpu, synchronize=lambda: calls.append("wait"))
    pytorch = SimpleNamespace(
        float32="single", float16="half", randn=partial(Matrix, calls), cuda=cuda
    )
    monkeypatch.setitem(sys.modules, "torch", pytorch)
    looks = [0.0]
    # Of the products in either type, then of the copies.
    for seconds in ((0.04, 0.02, 0.03, 0.05, 0.06) if on_gpu else ()) * 2 + 10 * (1.0,):
        looks += [looks[-1] + seconds, looks[-1] + seconds]
    found = measure_ceilings(CudaDevice(StandInDriver()), Clock(now=iter(looks).__next__))
    rate = pytest.approx(2 * 8192**3 / 0.02 / 1e12)
    products = {"fp32_tflops": rate, "fp16_tflops": rate} if on_gpu else {}
    assert {name: found[name] for name in found if "copy" not in name} == products
    each = [f"cuda {dtype} 8192" for dtype in ("single", "half")]
    assert calls == ([call for one in each for call in 6 * (one, "wait")] if on_gpu else [])


def test_a_processor_s_ceilings_are_of_the_fastest_of_a_few_calls() -> None:
    looks = [0.0]
    for seconds in 2 * (0.004, 0.002, 0.001, 0.003, 0.005):  # of the product, then of the copy
        looks += [looks[-1] + seconds, looks[-1] + seconds]
    found = measure_ceilings(None, Clock(now=iter(looks).__next__))
    assert found == pytest.approx(
        {"fp32_tflops": 2 * 1024**3 / 0.001 / 1e12, "copy_gb_s": 4096 / 4 / 0.001 / 1e9}
    )
