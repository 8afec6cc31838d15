"""Models by name and path: what ships is known by its digest, others by their golden answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgg_runtime import loading, opening
from lgg_runtime.contract import METADATA_KEY, Contract
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import ModelError, OutOfMemoryError
from lgg_runtime.loading import SHIPPED, LoadSettings, find_model, read_sums
from lgg_runtime.segmenter import Segmenter


def test_a_shipped_model_is_found_by_its_name(
    tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_WEIGHTS", tmp_path)
    with pytest.raises(ModelError, match="shipped model 'standard' is not in this install"):
        Segmenter.load()
    data = artifact.read_bytes()
    (tmp_path / "standard.onnx").write_bytes(data)
    assert find_model("standard") == tmp_path / "standard.onnx"
    with pytest.raises(
        ModelError,
        match="SHA256SUMS of the shipped models is missing or dam",
    ):
        Segmenter.load()
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  standard.onnx\n")
    assert Segmenter.load().contract.name == "tiny"
    (tmp_path / "standard.onnx").write_bytes(data.replace(b"tiny", b"tinz"))
    with pytest.raises(ModelError, match=r"^standard\.onnx: not the file that was shipped; "):
        Segmenter.load()


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("model_file.read_bounded", "memory exhausted"),
        ("onnx_session._run_session", "tiny.onnx: the memory does not suffice"),  # golden input
    ],
)
def test_memory_that_ends_within_a_load_is_told_with_what_helps_one(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, where: str, told: str
) -> None:
    def exhaust(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(f"lgg_runtime.backends.{where}", exhaust)
    with pytest.raises(OutOfMemoryError) as refused:
        Segmenter.load(artifact, LoadSettings(threads=1))
    assert str(refused.value) == f"{told}; free some, or take a smaller model"


@pytest.mark.parametrize(
    ("provider", "change"),
    [("cpu", "multiple"), ("cpu", "sides"), ("openvino", "multiple")],  # which frees fixed sides
)
def test_a_model_that_does_not_take_the_sides_of_its_contract_is_refused(
    tmp_path: Path,
    build_model: Callable[..., Any],
    save_artifact: Callable[..., Path],
    make_contract: Callable[..., Contract],
    provider: str,
    change: str,
) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")
    if change == "sides":
        contract = make_contract()
        # It answers its golden input, and nothing else.
        model = build_model(size=("N", *contract.golden.shape[1:3]))
    else:
        model = pytest.importorskip("onnx").load(find_model("tiny"))
        held = next(one.value for one in model.metadata_props if one.key == METADATA_KEY)
        contract = replace(Contract.loads(held), size_multiple=5)
        del model.metadata_props[:]
    path = save_artifact(model, tmp_path / "m.onnx", contract.dumps())
    with pytest.raises(ModelError, match=r"^m\.onnx: the model cannot be run: "):
        Segmenter.load(path, LoadSettings(provider, threads=1))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_recorded_digests_are_of_what_ships(name: str) -> None:
    assert read_sums()[f"{name}.onnx"] == digest_file(find_model(name))


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_damaged_model_is_refused(
    tmp_path: Path,
    build_model: Callable[..., Any],
    save_artifact: Callable[..., Path],
    make_contract: Callable[..., Contract],
    provider: str,
) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")
    model = build_model()
    path = save_artifact(model, tmp_path / "m.onnx", make_contract().dumps())
    assert Segmenter.load(path, LoadSettings(provider, threads=1)).provider == provider
    next(t for t in model.graph.initializer if t.float_data).float_data[0] = 0.0
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"^m\.onnx: the answer to the golden input differs by "):
        Segmenter.load(path, LoadSettings(provider, threads=1))


@pytest.mark.parametrize(
    ("processor", "is_refused"), [("x86_64", False), ("AMD64", False), ("aarch64", True)]
)
def test_a_shipped_model_answers_its_golden_input_where_it_was_not_measured(
    monkeypatch: pytest.MonkeyPatch, processor: str, is_refused: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: processor)
    settings = LoadSettings(threads=1)
    assert Segmenter.load("tiny", settings).provider == "cpu"
    wrong = "lgg_runtime.backends.onnx_session.OnnxSession.run"
    monkeypatch.setattr(wrong, lambda _, slices: np.zeros(slices.shape[:3], np.float32))
    if is_refused:
        with pytest.raises(ModelError, match=r"^tiny\.onnx: the answer to the golden input "):
            Segmenter.load("tiny", settings)
    else:
        Segmenter.load("tiny", settings)


def test_threads_and_both_digests_reach_the_backend(
    monkeypatch: pytest.MonkeyPatch, artifact: Path
) -> None:
    given: list[Any] = []

    def refuse(_path: Path, chosen: Any) -> None:
        given.append(chosen)
        raise ModelError("not opened")

    monkeypatch.setattr(opening, "open_backend", refuse)
    monkeypatch.setattr(opening, "identify_model", lambda _path, _key: ("a" * 64, "b" * 64))
    with pytest.raises(ModelError, match="not opened"):
        opening.open_model(artifact, LoadSettings(threads=3))
    assert [(c.threads, c.sha256, c.sidecar_sha256) for c in given] == [(3, "a" * 64, "b" * 64)]
