"""Which files are taken for a model, before any library looks into them, and what a run keeps."""

from __future__ import annotations

import importlib.util
import signal
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgg_runtime.backends import Backend, BackendSettings, load_backend
from lgg_runtime.errors import ModelError, OutOfMemoryError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.providers import PROVIDERS

CPU = BackendSettings("cpu", 1)


class TimeLimit(Exception):
    """What a queue of tasks raises out of a signal's handler."""


class Late(np.ndarray):
    """Slices of which each comes with a signal."""

    def __getitem__(self, key: Any) -> Any:
        send_signal()
        return super().__getitem__(key)


def send_signal(*_: Any, **__: Any) -> None:
    signal.raise_signal(signal.SIGALRM)


@pytest.fixture
def limited() -> Iterator[None]:
    def end(*_: Any) -> None:
        raise TimeLimit("out of time")

    before = signal.signal(signal.SIGALRM, end)
    yield
    signal.signal(signal.SIGALRM, before)


def test_an_artifact_is_loaded_by_its_suffix_in_any_case(tmp_path: Path, artifact: Path) -> None:
    path = tmp_path / "MODEL.ONNX"
    path.write_bytes(artifact.read_bytes())
    backend: Backend = load_backend(path, CPU)
    assert (backend.contract.name, backend.provider, backend.device) == ("tiny", "cpu", "CPU")


def test_a_checkpoint_is_to_be_exported_first(tmp_path: Path) -> None:
    (tmp_path / "model.PTH").write_bytes(b"PK\3\4")
    with pytest.raises(ModelError, match=r"model\.PTH: a PyTorch checkpoint; export it first"):
        load_backend(tmp_path / "model.PTH", CPU)


@pytest.mark.parametrize("name", ["model", "model.h5", "model.onnx.zip"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match=rf"{name}: expected a model file \.onnx"):
        load_backend(tmp_path / name, CPU)


def test_every_provider_can_be_asked_for() -> None:
    names = [LoadSettings(provider=name).provider for name in PROVIDERS]
    assert names == ["cpu", "openvino", "cuda", "tensorrt", "auto"]


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_probabilities_that_do_not_fit_are_exhausted_memory(artifact: Path, provider: str) -> None:
    if provider == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("pip install 'lgg-edge[openvino]'")
    backend = load_backend(artifact, BackendSettings(provider, 1))
    slices = np.broadcast_to(np.uint8(0), (2**40, 16, 16, 3))
    with pytest.raises(OutOfMemoryError, match="the memory does not suffice"):
        backend.inner.run(slices)  # type: ignore[attr-defined]


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_run_that_is_done_holds_no_slices(artifact: Path, provider: str) -> None:
    if provider == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("pip install 'lgg-edge[openvino]'")
    backend = load_backend(artifact, BackendSettings(provider, 1))
    volume = np.zeros((4, 16, 32, 3), np.uint8)
    held = weakref.ref(volume)
    backend.run(volume[1:3])
    del volume
    assert held() is None


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_what_a_signal_raises_in_a_run_is_no_word_on_the_model(
    artifact: Path, provider: str
) -> None:
    if provider == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("pip install 'lgg-edge[openvino]'")
    backend = load_backend(artifact, BackendSettings(provider, 1))
    slices = np.zeros((2, 16, 32, 3), np.uint8)
    with pytest.raises(TimeLimit):
        backend.inner.run(slices.view(Late))  # type: ignore[attr-defined]
    assert backend.run(slices).shape == (2, 16, 32)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(
    ("provider", "call"),
    [
        ("cpu", "onnxruntime.InferenceSession"),
        ("openvino", "openvino.frontend.FrontEndManager"),
        ("openvino", "lgg_runtime.backends.openvino_session.OpenVinoSession._prepare"),
    ],
)
def test_what_a_signal_raises_in_a_load_is_no_word_on_the_model(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, provider: str, call: str
) -> None:
    if provider == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("pip install 'lgg-edge[openvino]'")
    monkeypatch.setattr(call, send_signal)
    with pytest.raises(TimeLimit):
        load_backend(artifact, BackendSettings(provider, 1))
