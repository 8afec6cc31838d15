"""A model that is loaded while its caller does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lgg_runtime.ahead import load_ahead
from lgg_runtime.errors import ModelError, UsageError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.segmenter import Segmenter


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The thread of each load, which gives nothing."""
    seen: list[threading.Thread] = []

    def load(_model: str, _settings: LoadSettings) -> Any:
        seen.append(threading.current_thread())

    monkeypatch.setattr(Segmenter, "load", load)
    return seen


def test_on_a_cpu_it_is_loaded_before_it_is_asked_for(loads: list[threading.Thread]) -> None:
    with load_ahead("lite", LoadSettings()):
        pass
    assert loads and loads[0] is not threading.main_thread()
    assert not loads[0].is_alive()


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "auto"])
def test_on_a_gpu_it_is_loaded_once_it_is_asked_for(
    loads: list[threading.Thread], provider: str
) -> None:
    with load_ahead("lite", LoadSettings(provider=provider)) as load:
        assert not loads
        load()
    assert loads == [threading.main_thread()]


def test_under_a_limit_of_memory_it_is_loaded_once_it_is_asked_for(
    loads: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lgg_runtime.ahead.is_memory_limited", lambda: True)
    with load_ahead("lite", LoadSettings()) as load:
        assert not loads
        load()
    assert loads == [threading.main_thread()]


def test_what_is_given_is_the_model_or_why_there_is_none(artifact: Path) -> None:
    with load_ahead(str(artifact), LoadSettings(threads=1)) as load:
        assert load().provider == "cpu"
    with (
        pytest.raises(ModelError, match="no such model"),
        load_ahead("gone.onnx", LoadSettings()) as load,
    ):
        load()


def test_who_ends_without_asking_hears_nothing_of_it() -> None:
    with pytest.raises(UsageError, match="my own"), load_ahead("gone.onnx", LoadSettings()):
        raise UsageError("my own")


def test_of_a_request_and_a_model_that_are_both_refused_the_request_is_told(
    source: Path, infer: Callable[..., Any], tmp_path: Path
) -> None:
    ended = infer(source, "-m", tmp_path / "gone.onnx", "-ot", "dicom-seg")
    assert ended.code == 2 and "gone.onnx" not in ended.err
    assert ended.err.count("\n") == 1
