"""Engines on a stand-in for TensorRT and a stand-in for the driver: the whole path to the device's
memory and back, without a GPU. What a real GPU would add stays untested here.
"""

import gc
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lgg_export.engine import EngineSettings, build_engine
from lgg_runtime.backends import BackendSettings, open_backend
from lgg_runtime.backends.engine import EngineBackend
from lgg_runtime.errors import ModelError, OutOfMemoryError, ProviderError
from lgg_runtime.golden import golden_input
from lgg_runtime.sidecar import Sidecar, read_sidecar, sidecar_path
from stand_ins.artifacts import expected_probability, write_artifact
from stand_ins.cuda import StandInDriver
from stand_ins.tensorrt import StandInTensorRT
from stand_ins.threads import require_own_answers

SETTINGS = BackendSettings("tensorrt", 1)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "m.onnx")
    path = tmp_path / "m.engine"
    settings = EngineSettings("tensorrt", batch=4, size=512)
    build_engine(tmp_path / "m.onnx", path, settings, StandInTensorRT(), StandInDriver())
    return path


def rewrite(path: Path, sidecar: Sidecar) -> None:
    sidecar_path(path).write_text(sidecar.dumps())


def test_an_engine_answers_from_host_memory_to_host_memory(engine: Path) -> None:
    driver = StandInDriver()
    backend = EngineBackend(engine, SETTINGS, StandInTensorRT(), driver)
    slices = golden_input((2, 32, 48, 3))

    found = backend.run(slices)

    np.testing.assert_allclose(found, expected_probability(slices), atol=1e-6)
    assert (backend.provider, backend.device) == ("tensorrt", "Stand-in GPU (SM86)")
    assert backend.versions["tensorrt"] == "10.13.0"
    order = [name for name in driver.calls if name.startswith("cuMemcpy") or "Synch" in name]
    assert order[-3:] == ["cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize"]


def test_more_slices_than_the_engine_holds_run_in_parts(engine: Path) -> None:
    backend = EngineBackend(engine, SETTINGS, StandInTensorRT(), StandInDriver())
    slices = golden_input((11, 16, 32, 3))
    found = backend.run(slices)
    np.testing.assert_allclose(found, expected_probability(slices), atol=1e-6)


def test_threads_get_each_their_own_answers(engine: Path) -> None:
    backend = EngineBackend(engine, SETTINGS, StandInTensorRT(), StandInDriver())
    inputs = [np.full((1, 64, 64, 3), 90 + 20 * n, np.uint8) for n in range(4)]
    require_own_answers(backend.run, inputs, times=300)


def test_results_stay_when_the_buffers_are_used_again(engine: Path) -> None:
    backend = EngineBackend(engine, SETTINGS, StandInTensorRT(), StandInDriver())
    first = backend.run(np.zeros((1, 16, 16, 3), np.uint8))
    kept = first.copy()
    backend.run(np.full((1, 16, 16, 3), 255, np.uint8))
    np.testing.assert_array_equal(first, kept)


def test_buffers_grow_to_the_largest_run_and_no_further(engine: Path) -> None:
    driver = StandInDriver()
    backend = EngineBackend(engine, SETTINGS, StandInTensorRT(), driver)
    for count, side in ((1, 16), (4, 64), (2, 32), (4, 64)):
        backend.run(np.zeros((count, side, side, 3), np.uint8))
    assert sorted(len(block) for block in driver.held.values()) == [
        4 * 64 * 64 * 3,
        4 * 64 * 64 * 4,
    ]


def test_everything_is_given_back_with_the_backend(engine: Path) -> None:
    driver = StandInDriver()
    backend = EngineBackend(engine, SETTINGS, StandInTensorRT(), driver)
    assert driver.held
    assert driver.pinned
    del backend
    gc.collect()
    assert not driver.held
    assert not driver.pinned
    assert driver.calls[-1] == "cuDevicePrimaryCtxRelease_v2"


def test_a_gpu_that_an_engine_does_not_fit_is_given_back(engine: Path) -> None:
    driver = StandInDriver((7, 5))
    with pytest.raises(ProviderError, match="built for SM86"):
        EngineBackend(engine, SETTINGS, StandInTensorRT(), driver)
    gc.collect()
    assert driver.calls[-2:] == ["cuStreamDestroy_v2", "cuDevicePrimaryCtxRelease_v2"]


def test_what_another_thread_loaded_is_given_back(engine: Path) -> None:
    """Python ends in the main thread, where CUDA knows no GPU that another thread chose."""
    driver = StandInDriver()
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(EngineBackend, engine, SETTINGS, StandInTensorRT(), driver)
        backend = loading.result()
    del backend, loading
    gc.collect()
    assert not driver.held
    assert not driver.pinned
    assert driver.calls[-1] == "cuDevicePrimaryCtxRelease_v2"


def test_a_process_that_was_forked_gives_nothing_back(engine: Path) -> None:
    code = """if True:
        import gc, os, sys
        from pathlib import Path
        from lgg_runtime.backends.engine import EngineBackend
        from lgg_runtime.backends.settings import BackendSettings
        from stand_ins.cuda import StandInDriver
        from stand_ins.tensorrt import StandInTensorRT
        driver = StandInDriver()
        settings = BackendSettings("tensorrt", 1)
        backend = EngineBackend(Path(sys.argv[1]), settings, StandInTensorRT(), driver)
        before = len(driver.calls)
        os.fork() and os.wait()
        del backend
        gc.collect()
        print(len(driver.calls) > before, flush=True)
    """
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, str(engine)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "False\nTrue\n"


def test_memory_that_does_not_suffice_is_exhausted_memory(engine: Path) -> None:
    backend = EngineBackend(engine, SETTINGS, StandInTensorRT(), StandInDriver(memory=100_000))
    with pytest.raises(OutOfMemoryError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        backend.run(np.zeros((4, 256, 256, 3), np.uint8))
    assert backend.run(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 64, 64)


def test_a_tampered_engine_is_refused_before_the_library_sees_it(engine: Path) -> None:
    data = bytearray(engine.read_bytes())
    data[-1] ^= 1
    engine.write_bytes(data)
    driver = StandInDriver()
    with pytest.raises(ModelError, match="its digest") as refusal:
        EngineBackend(engine, SETTINGS, None, driver)
    assert refusal.value.exit_code == 5
    assert driver.calls == []


@pytest.mark.parametrize(
    ("built_for", "gpu", "fits"),
    [
        (("SM86",), (8, 6), True),
        (("SM86", "SM120"), (12, 0), True),
        (("SM86",), (8, 9), False),
        ((), (8, 0), True),
        ((), (12, 1), True),
        ((), (7, 5), False),
    ],
)
def test_an_engine_runs_on_the_gpus_it_was_built_for(
    engine: Path, built_for: tuple[str, ...], gpu: tuple[int, int], fits: bool
) -> None:
    sidecar = read_sidecar(engine)
    rewrite(engine, replace(sidecar, key=replace(sidecar.key, compute_capabilities=built_for)))
    if fits:
        EngineBackend(engine, SETTINGS, StandInTensorRT(), StandInDriver(gpu))
        return
    with pytest.raises(ProviderError, match=r"built for SM8.*this GPU is Stand-in GPU, SM"):
        EngineBackend(engine, SETTINGS, StandInTensorRT(), StandInDriver(gpu))


def test_an_engine_that_computes_something_else_is_refused(engine: Path) -> None:
    sidecar = read_sidecar(engine)
    golden = sidecar.contract.golden
    wrong = replace(golden, samples=tuple(1 - s for s in golden.samples))
    rewrite(engine, replace(sidecar, contract=replace(sidecar.contract, golden=wrong)))
    with pytest.raises(ModelError, match="answer to the golden input differs"):
        EngineBackend(engine, SETTINGS, StandInTensorRT(), StandInDriver())


def test_an_engine_whose_tensors_are_not_the_sidecars_is_refused(engine: Path) -> None:
    sidecar = read_sidecar(engine)
    wrong = (replace(sidecar.tensors[0], dtype="FLOAT"), sidecar.tensors[1])
    rewrite(engine, replace(sidecar, tensors=wrong))
    with pytest.raises(ModelError, match=r"expected tensors .*FLOAT.*found .*UINT8"):
        EngineBackend(engine, SETTINGS, StandInTensorRT(), StandInDriver())


def test_what_the_library_cannot_load_is_said_in_its_words(engine: Path) -> None:
    engine.write_bytes(b"no plan")
    sidecar = read_sidecar(engine)
    digest = hashlib.sha256(b"no plan").hexdigest()
    rewrite(engine, replace(sidecar, key=replace(sidecar.key, engine_sha256=digest)))
    with pytest.raises(ProviderError, match="magic tag does not match"):
        EngineBackend(engine, SETTINGS, StandInTensorRT(), StandInDriver())


def test_without_a_driver_the_driver_is_named(
    engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lgg_runtime.backends.cuda_driver.LIBRARY", "libno-such-driver.so")
    with pytest.raises(ProviderError, match=r"libno-such-driver\.so is missing"):
        EngineBackend(engine, SETTINGS, StandInTensorRT())


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_an_engine_runs_on_no_other_provider(engine: Path, provider: str) -> None:
    with pytest.raises(ProviderError, match=rf"provider {provider}: m\.engine runs with tensorrt"):
        open_backend(engine, BackendSettings(provider, 1))


def test_an_engine_of_a_library_that_nobody_knows_is_refused(engine: Path) -> None:
    whole = read_sidecar(engine)
    rewrite(engine, replace(whole, key=replace(whole.key, library="tensorflow")))
    with pytest.raises(ModelError, match=r"^m\.engine: .* or tensorrt-rtx, found 'tensorflow'$"):
        EngineBackend(engine, SETTINGS)
