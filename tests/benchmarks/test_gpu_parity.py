"""A GPU's answers are held to both limits of the artifact's precision."""

from pathlib import Path

import numpy as np
import pytest

from lgg_bench import gpu_parity
from lgg_bench.gpu import GpuBenchSettings, measure_gpu
from lgg_bench.gpu_parity import compare_with_cpu
from lgg_export.limits import Limits
from lgg_runtime.backends import BackendSettings, load_backend
from stand_ins.artifacts import write_artifact

SLICES = np.zeros((1, 16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("probability", "flipped", "passed"),
    [
        (0.25, 0.5, True),
        (0.24, 0.5, False),
        (0.25, 0.49, False),
        (None, 0.5, True),
        (0.25, None, True),
        (None, 0.49, False),
    ],
)
def test_what_is_found_may_reach_both_limits_and_pass_neither(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    probability: float | None,
    flipped: float | None,
    passed: bool,
) -> None:
    write_artifact(tmp_path / "m.onnx")
    backend = load_backend(tmp_path / "m.onnx", BackendSettings("cpu", 1))
    threshold = backend.contract.threshold
    # One half lies on the threshold, which is tumour, in the reference and by 0.25 below it here.
    expected = np.full((1, 16, 16), threshold, np.float32)
    found = expected.copy()
    found[:, :8] -= 0.25
    answers = iter((expected, found))
    monkeypatch.setattr(type(backend), "run", lambda *_: next(answers))
    monkeypatch.setattr(gpu_parity, "limits_of", lambda _: Limits(probability, flipped))
    result = compare_with_cpu(backend, tmp_path / "m.onnx", SLICES)
    assert result["largest_probability_difference"] == 0.25
    assert result["flipped_pixels"] == 0.5
    assert result["passed"] is passed


def test_a_suffix_in_capitals_is_that_of_onnx_too(tmp_path: Path) -> None:
    write_artifact(tmp_path / "m.ONNX")
    settings = GpuBenchSettings((1,), 32, "cpu", minutes=0.001, patients=1)
    results = measure_gpu([tmp_path / "m.ONNX"], None, settings).results
    assert results["parity"]["m.ONNX"]["passed"] is True
    assert results["artifacts"]["m.ONNX"]["operations"] > 0
