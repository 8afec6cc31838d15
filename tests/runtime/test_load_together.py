"""A model and its first look, loaded side by side where loading means compiling."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

import numpy as np
import pytest

from lgg_runtime.backends.onnx_session import OnnxSession
from lgg_runtime.errors import ModelError, ResourceError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.segmenter import Segmenter
from stand_ins.threads import Counted

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="pip install 'lgg-edge[openvino]'"
)


@pytest.fixture
def meetings(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> list[tuple[str, bool]]:
    """Of each model that is loaded, its name and whether the other was loaded at the time."""
    both, met, load = Barrier(2), [], Segmenter._load_one
    # As long as it takes where they are to meet; where they are not, it is only lost.
    most_seconds = 60 if request.node.name == "test_openvino_compiles_both_at_once" else 0.5

    def watch(model: Any, settings: LoadSettings) -> Segmenter:
        try:
            both.wait(most_seconds)
            met.append((Path(model).stem, True))
        except BrokenBarrierError:
            met.append((Path(model).stem, False))
        return load(model, settings)

    monkeypatch.setattr(Segmenter, "_load_one", watch)
    return met


@needs_openvino
def test_openvino_compiles_both_at_once(
    artifact: Path, meetings: list[tuple[str, bool]], tmp_path: Path
) -> None:
    quick = tmp_path / "quick.onnx"
    quick.write_bytes(artifact.read_bytes())
    segmenter = Segmenter.load(artifact, LoadSettings(provider="openvino", first_look=quick))
    assert sorted(meetings) == sorted([(artifact.stem, True), ("quick", True)])
    assert segmenter.first_look is not None
    assert segmenter.first_look.provider == segmenter.provider == "openvino"


def test_where_no_thread_can_begin_it_is_told(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    with pytest.raises(ResourceError, match="the memory does not suffice for a thread"):
        Segmenter.load(artifact, LoadSettings(provider="openvino", first_look=artifact))


@pytest.mark.parametrize("provider", ["cpu", "auto"])
def test_the_first_look_runs_on_what_the_model_runs_on(
    artifact: Path, meetings: list[tuple[str, bool]], tmp_path: Path, provider: str
) -> None:
    quick = tmp_path / "quick.onnx"
    quick.write_bytes(artifact.read_bytes())
    segmenter = Segmenter.load(artifact, LoadSettings(provider=provider, first_look=quick))
    assert meetings == [(artifact.stem, False), ("quick", False)]
    assert segmenter.first_look is not None
    assert segmenter.first_look.settings.provider == segmenter.provider == "cpu"


@pytest.mark.parametrize("threads", [1, 2, 6])
@pytest.mark.parametrize("count", [1, 3])
def test_both_compute_in_no_more_threads_than_were_asked_for(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, threads: int, count: int
) -> None:
    settings = LoadSettings(threads=threads, first_look=artifact)
    segmenter = Segmenter.load(artifact, settings)
    assert segmenter.first_look is not None
    busy: list[int] = []
    at_once: list[int] = []
    slices = np.zeros((count, 16, 16, 3), np.uint8)
    monkeypatch.setattr(OnnxSession, "_session", lambda _, share: Counted(share, busy, at_once))
    with ThreadPoolExecutor(2) as callers:
        for backend in (segmenter._backend, segmenter.first_look._backend):
            callers.submit(lambda run: [run(slices) for _ in range(10)], backend.run)
    assert len(at_once) == 20 * count
    assert max(at_once) <= threads


@pytest.mark.parametrize("provider", ["cpu", pytest.param("openvino", marks=needs_openvino)])
def test_where_both_are_refused_the_model_is_told(
    artifact: Path, tmp_path: Path, provider: str
) -> None:
    for name in ("model", "quick"):
        (tmp_path / f"{name}.onnx").write_bytes(artifact.read_bytes()[:-40])
    look = tmp_path / "quick.onnx"
    with pytest.raises(ModelError, match=r"^model\.onnx: "):
        Segmenter.load(tmp_path / "model.onnx", LoadSettings(provider=provider, first_look=look))
    with pytest.raises(ModelError, match=r"^quick\.onnx: "):
        Segmenter.load(artifact, LoadSettings(provider=provider, first_look=look))


_AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from lgg_runtime.backends.openvino_core import import_openvino, open_core
assert "openvino" not in sys.modules
start = Barrier(8)
def open_one(_):
    start.wait()
    import_openvino()
    return open_core()
sys.setswitchinterval(1e-6)
with ThreadPoolExecutor(8) as threads:
    cores = list(threads.map(open_one, range(8)))
assert len({id(core) for core in cores}) == 1
assert "openvino.tools.ovc" not in sys.modules
"""


@needs_openvino
def test_threads_that_open_openvino_at_once_share_one_core() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _AT_ONCE], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
