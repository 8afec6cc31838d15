"""ONNX artifacts through OpenVINO where the memory ends, and what a later run finds then."""

from __future__ import annotations

import importlib.util
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lgg_runtime.backends import BackendSettings, openvino_session
from lgg_runtime.backends.openvino_core import import_openvino, open_core
from lgg_runtime.backends.openvino_session import OpenVinoSession
from lgg_runtime.errors import OutOfMemoryError
from lgg_runtime.volume import FLAIR

if importlib.util.find_spec("openvino") is None:
    pytest.skip("pip install 'lgg-edge[openvino]'", allow_module_level=True)
SETTINGS = BackendSettings("openvino", 1)
SLICES = np.random.default_rng(0).integers(96, 160, (2, 16, 32, 3), dtype=np.uint8)
EXPECTED = 1 / (1 + np.exp(-(SLICES[..., FLAIR].astype(float) - 128) / 8))


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        RuntimeError("at infer_request.cpp:223\nstd::bad_alloc\n"),
        RuntimeError("at core.cpp:109\ncan't alloc\n"),
        RuntimeError("at core.cpp:109\nResource temporarily unavailable\n"),
        RuntimeError("at core.cpp:109\nstd::future_error: Broken promise\n"),  # of no thread
    ],
)
def test_exhausted_memory_is_an_error_of_its_own(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def exhaust(_size: tuple[int, ...]) -> Any:
        raise failure

    session = OpenVinoSession(artifact, SETTINGS)
    monkeypatch.setattr(session, "_prepare", exhaust)
    with pytest.raises(OutOfMemoryError, match="the memory does not suffice"):
        session.run(np.zeros((1, 16, 16, 3), np.uint8))


@pytest.mark.parametrize("failure", [MemoryError, KeyboardInterrupt])
def test_a_size_whose_requests_could_not_be_made_is_prepared_anew(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    def fail(_compiled: Any) -> Any:
        raise failure

    session = OpenVinoSession(artifact, SETTINGS)
    with monkeypatch.context() as patched:
        patched.setattr(import_openvino().CompiledModel, "create_infer_request", fail)
        with pytest.raises((OutOfMemoryError, KeyboardInterrupt)):
            session.run(SLICES)
    assert session._prepare(SLICES.shape[1:3]).qsize() > 0
    np.testing.assert_allclose(session.run(SLICES), EXPECTED, atol=1e-6)


def test_exhausted_memory_is_not_the_file_s_fault(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_model(*_: object) -> None:
        raise RuntimeError("at core.cpp:132\nFailed to allocate 1572864 bytes of memory\n")

    core = SimpleNamespace(get_property=open_core().get_property, compile_model=compile_model)
    monkeypatch.setattr(openvino_session, "open_core", lambda: core)
    with pytest.raises(
        OutOfMemoryError, match="the memory does not suffice for OpenVINO; free some, "
    ):
        OpenVinoSession(artifact, SETTINGS)


def test_a_session_keeps_no_slices_of_a_run_that_is_over(artifact: Path) -> None:
    session = OpenVinoSession(artifact, SETTINGS)
    slices = SLICES.copy()
    held = weakref.ref(slices)
    session.run(slices)
    del slices
    assert held() is None
