"""The doctor's findings: on this machine, and on machines that lack something."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from lgg_runtime import doctor
from lgg_runtime.doctor import Finding, examine
from lgg_runtime.errors import MissingExtraError, ModelError
from lgg_runtime.loading import LoadSettings


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PROBE_S", 0.01)


def test_this_machine_starts_the_cpu_and_says_whether_int8_helps() -> None:
    findings = {finding.subject: finding for finding in examine()}
    assert findings["provider cpu"].works
    assert "golden input within" in findings["provider cpu"].found
    assert findings["int8, onnxruntime"].found.endswith("times as fast as fp32")
    assert "int8" in findings["int8, onnxruntime"].advice
    assert {"onnxruntime", "optional", "cores", "provider cuda"} <= findings.keys()


def test_each_optional_library_is_named_installed_or_not() -> None:
    _, optional = doctor.examine_packages()
    named = [part.split()[0] for part in optional.found.split(", ")]
    for library in ("tensorrt_rtx", "highdicom", "pynetdicom", "dicomweb-client", "nibabel"):
        assert library in named


@pytest.mark.parametrize(
    ("fp32", "found", "advice"),
    [(1.19, "1.19 times", "gains little or nothing"), (1.21, "1.21 times", "is worth its while")],
)
def test_the_advice_on_int8_agrees_with_the_number_beside_it(
    monkeypatch: pytest.MonkeyPatch, fp32: float, found: str, advice: str
) -> None:
    monkeypatch.setattr(doctor, "_time_in_turn", lambda _: [fp32, 1.0])
    findings = {finding.subject: finding for finding in examine()}
    finding = findings["int8, onnxruntime"]
    assert finding.found == f"{found} as fast as fp32"
    assert advice in finding.advice


def test_a_provider_that_does_not_start_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MissingExtraError("the engine is not installed; pip install 'lgg-edge[cpu]'")

    monkeypatch.setattr(doctor, "open_model", refuse)
    finding = doctor.examine_provider("cpu")
    assert finding == Finding(
        "provider cpu", "does not start", "the engine is not installed; pip install "
        "'lgg-edge[cpu]'", works=False,
    )  # fmt: skip


def test_an_engine_that_fails_at_the_probe_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise RuntimeError("std::bad_alloc\nin some place")

    finding = doctor._int8("any", "cpu", fail)
    assert finding == Finding("int8, any", "not measured", "std::bad_alloc", works=False)
    monkeypatch.setattr(doctor, "_time_in_turn", fail)
    assert doctor._int8("any", "cpu", lambda _: print).found == "not measured"


def test_an_engine_that_refuses_a_whole_int8_model_is_not_said_to_gain_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(model: str, settings: LoadSettings) -> None:
        raise ModelError(f"{model}.onnx: {settings.provider} refuses it")

    monkeypatch.setattr(doctor, "open_model", refuse)
    assert doctor._int8("any", "openvino", lambda _: print) == Finding(
        "int8, any", "not measured", "tiny-int8.onnx: openvino refuses it", works=False
    )


def test_two_packages_of_one_module_are_named_with_the_commands_that_mend_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = {"onnxruntime": "1.20", "onnxruntime-gpu": "1.21"}
    monkeypatch.setattr(doctor, "installed_packages", lambda: both)
    finding = next(iter(doctor.examine_packages()))
    assert finding.found == "onnxruntime 1.20, onnxruntime-gpu 1.21"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in finding.advice
    assert "pip install 'lgg-edge[gpu]'" in finding.advice
    assert not finding.works


@pytest.mark.parametrize(
    ("quota", "wish", "advice"),
    [(None, None, ""), (1.5, None, "whole cores"), (2.0, None, ""), (None, "9999", "above")],
)
def test_cores_that_are_granted_in_part_are_advised_against(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, wish: str | None, advice: str
) -> None:
    monkeypatch.setattr(doctor, "cgroup_quota", lambda: quota)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if wish is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", wish)
    found = doctor.examine_cores().advice
    assert advice in found and bool(advice) == bool(found)


def test_the_command_prints_a_line_for_each_finding(
    call_infer: Callable[..., SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding("provider cpu", "starts"), Finding("int8", "slow", "use fp32")]
    monkeypatch.setattr(doctor, "examine", lambda: iter(found))
    ended = call_infer("doctor")
    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines()] == [
        ["provider", "cpu", "starts"], ["int8", "slow"], ["->", "use", "fp32"],
    ]  # fmt: skip
    listed = json.loads(call_infer("doctor", "--json").out)
    assert listed[1] == {"subject": "int8", "found": "slow", "advice": "use fp32", "works": True}


@pytest.mark.parametrize(("openvino", "code"), [(False, 6), (True, 0)])
def test_without_any_provider_it_ends_with_6(
    call_infer: Callable[..., SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
    openvino: bool,
    code: int,
) -> None:
    found = [
        Finding("provider cpu", "no", works=False),
        Finding("provider openvino", "perhaps", works=openvino),
        Finding("int8", "helps"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda: found)
    assert call_infer("doctor").code == code


def test_an_input_of_that_name_is_an_input(
    tmp_path: Path, call_infer: Callable[..., SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "doctor").mkdir()
    ended = call_infer("doctor", "-o", tmp_path / "out")
    assert ended.code == 4
    assert "doctor: no slice in it" in ended.err
