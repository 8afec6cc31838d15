"""lgg-infer and the provider that was asked for, on a machine whose onnxruntime is for the CPU."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lgg_runtime.backends import BackendSettings, GpuSettings, load_backend, missing
from lgg_runtime.cli import command
from lgg_runtime.errors import UsageError
from stand_ins.artifacts import write_artifact


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "m.onnx")
    folder = tmp_path / "in"
    folder.mkdir()
    cv2.imwrite(str(folder / "p_1.png"), np.full((32, 32, 3), 90, np.uint8))
    return folder


@pytest.fixture(autouse=True)
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "installed_packages", lambda: {"onnxruntime": "1.32.0"})


def infer(inputs: Path, *options: str) -> tuple[Result, Path]:
    output = inputs.parent / "out"
    model = str(inputs.parent / "m.onnx")
    arguments = [str(inputs), "-o", str(output), "-m", model, "--no-progress", *options]
    return CliRunner().invoke(command, arguments), output


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--cuda-graph",), "CUDA graph: provider cpu has no use for it"),
        (("--gpu-memory", "500"), "GPU memory: provider cpu has no use for it"),
        (("--gpu-index", "7"), "GPU number: provider cpu has no use for it"),
        (("--engine-cache", "c"), "engine cache: provider cpu has no use for it"),
        (("--provider", "openvino", "--cuda-graph"), "CUDA graph: provider openvino has no use"),
        (("--provider", "cuda", "--engine-cache", "c"), "engine cache: provider cuda has no use"),
    ],
)
def test_an_option_that_the_provider_has_no_use_for_is_a_usage_error(
    inputs: Path, options: tuple[str, ...], told: str
) -> None:
    result, output = infer(inputs, *options)
    assert isinstance(result.exception, UsageError)
    assert told in str(result.exception)
    assert not output.exists()


def test_auto_takes_options_of_a_gpu_for_the_case_that_one_starts(inputs: Path) -> None:
    result, _ = infer(inputs, "--provider", "auto", "--gpu-memory", "500", "--cuda-graph")
    assert result.exit_code == 0, result.output


def test_an_engine_has_no_use_for_what_was_decided_when_it_was_built(tmp_path: Path) -> None:
    (tmp_path / "m.engine").touch()
    settings = BackendSettings("tensorrt", 1, GpuSettings(cuda_graph=True))
    with pytest.raises(UsageError, match="CUDA graph: an engine has no use for it"):
        load_backend(tmp_path / "m.engine", settings)


def test_auto_says_what_it_became_on_the_screen_and_in_the_record(inputs: Path) -> None:
    result, output = infer(inputs, "--provider", "auto")
    assert result.exit_code == 0, result.output
    reason = "provider cuda: onnxruntime-gpu is missing"
    assert f"provider auto: cpu ({reason}" in result.stderr
    record = json.loads((output / "run.json").read_text())
    assert record["provider"]["requested"] == "auto"
    assert (record["provider"]["ran"], record["provider"]["device"]) == ("cpu", "CPU")
    assert record["provider"]["why"].startswith(reason)
    assert "onnxruntime" in record["versions"]
