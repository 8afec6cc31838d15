"""What a processor tells about itself, and the warning where int8 gains nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest

from lgg_runtime import processor
from lgg_runtime.contract import Contract
from lgg_runtime.processor import multiplies_bf16, multiplies_int8


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the processor is told of, in place of Linux's file."""
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx avx2\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx avx_vnni_int16\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", True),
        ("Processor\t: of another kind\n", None),
    ],
)
def test_the_flags_of_the_first_processor_decide(
    cpuinfo: Path, text: str, expected: bool | None
) -> None:
    cpuinfo.write_text(text)
    assert multiplies_int8() is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 amx_bf16\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", True),
        ("Processor\t: of another kind\n", None),
    ],
)
def test_so_they_do_for_bf16(cpuinfo: Path, text: str, expected: bool | None) -> None:
    cpuinfo.write_text(text)
    assert multiplies_bf16() is expected


@pytest.mark.usefixtures("cpuinfo")
def test_a_system_that_does_not_tell_is_not_judged() -> None:
    assert multiplies_int8() is None
    assert multiplies_bf16() is None


@pytest.fixture
def run_on(
    tmp_path: Path, cpuinfo: Path, artifact: Path, call_infer: Callable[..., SimpleNamespace]
) -> Callable[[str, str], str]:
    """Runs a model of that precision on a processor of which that is told; what is said."""

    def run(precision: str, told: str) -> str:
        cpuinfo.write_text(told)
        model = onnx.load(str(artifact))
        held = model.metadata_props[0]
        contract = Contract.loads(held.value)
        held.value = replace(contract, precision=precision).dumps()
        onnx.save(model, str(tmp_path / "m.onnx"))
        cv2.imwrite(str(tmp_path / "p_1.png"), np.full((16, 16, 3), 90, np.uint8))
        out = tmp_path / "out" / precision
        done = call_infer(tmp_path / "p_1.png", "-o", out, "-m", tmp_path / "m.onnx")
        assert done.code == 0, done.err
        return str(done.err)

    return run


@pytest.mark.parametrize(
    ("precision", "told", "warned"),
    [
        ("int8", "flags : avx", True),
        ("int8", "flags : avx2", False),
        ("fp32", "flags : avx", False),
        ("int8", "Features : fp asimd", True),
        ("int8", "Features : fp asimd asimddp", False),
    ],
)
def test_an_int8_model_is_warned_about_where_it_gains_nothing(
    run_on: Callable[[str, str], str], precision: str, told: str, warned: bool
) -> None:
    warning = "no instructions for int8 (VNNI, AVX2, or asimddp on ARM); int8 may be slower"
    assert (warning in run_on(precision, told)) == warned
