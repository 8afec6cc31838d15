"""IO binding with onnxruntime itself, on the CPU's memory in place of a GPU's."""

import weakref
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lgg_runtime.backends.bound_runs import SHAPES_KEPT, BoundRuns
from lgg_runtime.backends.cuda_driver import CudaDevice
from lgg_runtime.golden import golden_input
from stand_ins.artifacts import expected_probability, write_artifact
from stand_ins.cuda import StandInDriver
from stand_ins.threads import require_own_answers


class SpySession:
    """onnxruntime's session, the graph id of each run, and the bindings that are still held."""

    def __init__(self, session: onnxruntime.InferenceSession):
        self._session = session
        self.graphs: list[str | None] = []
        self.bound = 0
        self.held: weakref.WeakSet[onnxruntime.IOBinding] = weakref.WeakSet()

    def io_binding(self) -> onnxruntime.IOBinding:
        binding = self._session.io_binding()
        self.held.add(binding)
        self.bound += 1
        return binding

    def run_with_iobinding(self, binding: object, options: onnxruntime.RunOptions) -> None:
        try:
            self.graphs.append(options.get_run_config_entry("gpu_graph_id"))
        except RuntimeError:
            self.graphs.append(None)
        self._session.run_with_iobinding(binding)


@pytest.fixture
def session(tmp_path: Path) -> SpySession:
    write_artifact(tmp_path / "m.onnx")
    options = ["CPUExecutionProvider"]
    return SpySession(onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=options))


def test_runs_of_changing_shapes_answer_each_their_own_input(session: SpySession) -> None:
    runs = BoundRuns(onnxruntime, session, CudaDevice(StandInDriver()), "cpu")
    for shape in ((2, 32, 16, 3), (1, 16, 16, 3), (2, 32, 16, 3)):
        slices = golden_input(shape)
        np.testing.assert_allclose(runs.run(slices), expected_probability(slices), atol=1e-6)
    assert session.graphs == [None, None, None]


def test_threads_get_each_their_own_answers(session: SpySession) -> None:
    runs = BoundRuns(onnxruntime, session, CudaDevice(StandInDriver()), "cpu")
    inputs = [np.full((1, 64, 64, 3), 90 + 20 * n, np.uint8) for n in range(4)]
    require_own_answers(runs.run, inputs)


def test_a_result_is_not_overwritten_by_the_next_run(session: SpySession) -> None:
    runs = BoundRuns(onnxruntime, session, CudaDevice(StandInDriver()), "cpu")
    first = runs.run(np.zeros((1, 16, 16, 3), np.uint8))
    runs.run(np.full((1, 16, 16, 3), 255, np.uint8))
    np.testing.assert_allclose(first, expected_probability(np.zeros((1, 16, 16, 3))), atol=1e-6)


def test_memory_is_kept_for_a_few_shapes_only(session: SpySession) -> None:
    runs = BoundRuns(onnxruntime, session, CudaDevice(StandInDriver()), "cpu")
    for height in (*range(16, 16 * 9, 16), 80, 96, 112, 128):
        runs.run(np.zeros((1, height, 16, 3), np.uint8))
    assert (session.bound, len(session.held)) == (8, SHAPES_KEPT)  # the last four, bound once


def test_with_cuda_graphs_the_first_shapes_keep_theirs_and_the_others_run_without(
    session: SpySession,
) -> None:
    runs = BoundRuns(onnxruntime, session, CudaDevice(StandInDriver()), "cpu", cuda_graph=True)
    for height in (16, 32, 48, 64, 80, 16, 64):
        slices = golden_input((1, height, 16, 3))
        np.testing.assert_allclose(runs.run(slices), expected_probability(slices), atol=1e-6)
    assert SHAPES_KEPT == 4
    assert session.graphs == ["1", "2", "3", "-1", "-1", "1", "-1"]


def test_memory_is_given_back(session: SpySession) -> None:
    driver = StandInDriver()
    runs = BoundRuns(onnxruntime, session, CudaDevice(driver), "cpu")
    runs.run(np.zeros((1, 16, 16, 3), np.uint8))
    assert driver.pinned and session.held
    runs.release()
    assert not driver.pinned and not session.held


def test_what_is_copied_is_waited_for_before_it_is_used(session: SpySession) -> None:
    driver = StandInDriver()
    BoundRuns(onnxruntime, session, CudaDevice(driver), "cpu").run(golden_input((1, 16, 16, 3)))
    used = [call for call in driver.calls if call.startswith(("cuMemcpy", "cuStreamSync"))]
    wait = "cuStreamSynchronize"
    assert used == ["cuMemcpyHtoDAsync_v2", wait, "cuMemcpyDtoHAsync_v2", wait]


def test_the_last_shapes_computation_is_repeated_without_a_copy(session: SpySession) -> None:
    driver = StandInDriver()
    runs = BoundRuns(onnxruntime, session, CudaDevice(driver), "cpu", cuda_graph=True)
    assert runs.repeat() == 0 and session.graphs == []
    for count in (3, 2):
        runs.run(golden_input((count, 16, 32, 3)))
    copied = driver.calls.count("cuMemcpyHtoDAsync_v2")
    assert runs.repeat() == 2
    assert session.graphs == ["1", "2", "2"]
    assert driver.calls.count("cuMemcpyHtoDAsync_v2") == copied
