"""The benchmarks of whole processes, each once and small, and the page that they fill."""

from dataclasses import replace
from pathlib import Path

import pytest

from lgg_bench.record import Record
from lgg_bench.throughput import NOTEBOOK
from lgg_export import limits
from lgg_export.parity import Limits
from lgg_runtime.cores import available_cores
from lgg_runtime.errors import InputError, UsageError
from lgg_train.phantom import patient_name
from lgg_train.run import SPLIT_FILE

ROOT = Path(__file__).parents[2]


def test_peers_take_turns_and_lgg_infer_says_how_busy_its_engine_was(
    call_main, data, run, artifact, tmp_path
):
    out = tmp_path / "throughput.json"
    ended = call_main(
        "peers", data, run, artifact, "--threads", 1, "--rounds", 1,
        "--rival", NOTEBOOK, "--rival", "onnxruntime, defaults", "--patients", 3,
        "--first-look", artifact, "-o", out,
    )  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    results = Record.read(out).results
    rows = {row["subject"]: row for row in results["rows"]}
    looking = "tiny.onnx on cpu, first look"
    assert list(rows) == [NOTEBOOK, "onnxruntime, defaults", "tiny.onnx on cpu", looking]
    assert results["first_look"] == results["artifacts"]["tiny.onnx"]
    assert (results["slices"], results["studies"]) == (15, 3)
    assert rows[NOTEBOOK]["times_notebook"]["median"] == 1.0
    assert rows[NOTEBOOK]["engine_busy"] is None
    ours = rows["tiny.onnx on cpu"]
    assert 0 < ours["engine_share_of_process"] < ours["engine_busy"] <= 1
    assert ours["slices_per_second"]["median"] == pytest.approx(15 / ours["seconds"]["median"])
    assert "tiny.onnx (fp32) on cpu, first look" in ended.out


@pytest.mark.parametrize("where", ["second artifact", "first look"])
def test_what_no_provider_runs_is_refused_before_minutes_are_measured(
    call_main, data, run, artifact, tmp_path, monkeypatch, where
):
    def run_whole(*_args, **_settings):
        pytest.fail("a command was timed")

    monkeypatch.setattr("lgg_bench.throughput.run_whole", run_whole)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    given = [tmp_path / "bad.onnx"] if where == "second artifact" else []
    looking = ["--first-look", tmp_path / "bad.onnx"] if where == "first look" else []
    ended = call_main("peers", data, run, artifact, *given, *looking, "--threads", 1)
    assert (ended.code, ended.out) == (5, "")
    assert ended.err.startswith("lgg-bench: bad.onnx: not an ONNX model")


def test_peers_of_another_network_than_the_run_s_are_refused(call_main, data, artifact):
    ended = call_main("peers", data, ROOT / "train" / "shipped" / "standard", artifact)
    assert (ended.code, ended.out) == (UsageError.exit_code, "")
    assert "tiny.onnx is of another network than" in ended.err


def test_memory_is_of_as_many_slices_as_asked_for(call_main, artifact, tmp_path):
    out = tmp_path / "memory.json"
    ended = call_main("memory", artifact, "--slices", 25, "--slices", 50, "--threads", 1, "-o", out)
    assert (ended.code, ended.err) == (0, "")
    rows = Record.read(out).results["rows"]
    assert [row["slices"] for row in rows] == [25, 50]
    assert all(row["peak_mib"] > 20 for row in rows)


def test_coldstart_breaks_one_slice_down_to_its_parts(call_main, artifact, tmp_path):
    out = tmp_path / "coldstart.json"
    ended = call_main("coldstart", artifact, "--rounds", 1, "--threads", 1, "-o", out)
    assert (ended.code, ended.err) == (0, "")
    results = Record.read(out).results
    parts = results["breakdown"]["cpu"]
    assert {"import cv2", "import numpy", "import onnxruntime", "run the slice"} <= parts.keys()
    assert [*parts][0 :: len(parts) - 1] == ["Python itself", "model, session and the rest"]
    assert "x import click" in ended.out


def test_quality_of_whole_frames_is_that_of_the_network(call_main, data, run, artifact, tmp_path):
    out = tmp_path / "quality.json"
    ended = call_main("quality", run, artifact, "--data", data, "--first-look", artifact, "-o", out)
    assert (ended.code, ended.err) == (0, "")
    record = Record.read(out)
    results = record.results
    assert record.settings["threads"] == available_cores()
    network, whole, cropped, looked = results["rows"]
    assert (results["patients"], results["slices"]) == (2, 10)
    assert [row["way"] for row in results["rows"]] == ["", "", "head crop", "first look"]
    assert network["lost"] is None
    assert whole["left_out"] == 0 <= looked["left_out"] < results["slices"]
    assert 0 < network["mean_dice"] < 1
    assert whole["mean_dice"] == pytest.approx(network["mean_dice"], abs=1e-3)
    for row in (whole, cropped, looked):
        lost = network["mean_dice"] - row["mean_dice"]
        assert row["lost"]["mean_dice"] == pytest.approx(lost)
        assert row["lost"]["patient_dice"] >= lost
    assert "PHANTOM" not in out.read_text()


def test_quality_is_judged_by_the_limits_of_the_precisions_that_round(
    call_main, data, run, artifact, tmp_path, monkeypatch
):
    wide = Limits(mean_dice_loss=0.5, patient_dice_loss=0.25, recall_loss=0.125)
    monkeypatch.setattr(limits, "LOSSY", wide)
    out = tmp_path / "quality.json"
    ended = call_main("quality", run, artifact, "--data", data, "--limit", 1, "-o", out)
    assert (ended.code, ended.err) == (0, "")
    expected = {"mean_dice": 0.5, "patient_dice": 0.25, "recall": 0.125}
    assert Record.read(out).results["limits"] == expected
    assert "at most 0.5 of the mean Dice, 0.25 of a patient's Dice, 0.125 of recall" in ended.out


def test_quality_of_an_artifact_of_another_run_is_refused(call_main, data, run, artifact, altered):
    other = altered("other.onnx", change=lambda contract: replace(contract, threshold=0.4))
    ended = call_main("quality", run, artifact, other, "--data", data)
    assert (ended.code, ended.out) == (UsageError.exit_code, "")
    said = f"other.onnx is not of {run}: its contract's threshold is not the run's"
    assert ended.err == f"lgg-bench: {said}\n"


def test_a_first_look_that_may_have_seen_the_patients_is_refused(
    call_main, data, run, artifact, altered
):
    def train_on_all(contract):
        return replace(contract, training=replace(contract.training, split="0" * 64))

    look = altered("look.onnx", change=train_on_all)
    decided = altered("decided.onnx", change=lambda contract: replace(contract, threshold=0.4))
    args = ("quality", run, artifact, "--data", data, "--limit", 1, "--first-look")
    assert call_main(*args, decided).code == 0
    ended = call_main(*args, look)
    assert (ended.code, ended.out) == (UsageError.exit_code, "")
    assert "its contract's training data or split is not that of" in ended.err


@pytest.mark.parametrize("command", ["quality", "plausibility"])
@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"by": "all"}, "the split, by all, leaves nothing for test"),
        (
            {"by": "patient", "validation": (patient_name(1),), "test": ("NOBODY",)},
            "the data do not hold all slices that the split names of NOBODY",
        ),
    ],
)
def test_a_part_that_is_empty_or_not_in_the_data_is_refused(
    call_main, data, make_run, artifact, tmp_path, command, parts, said
):
    run = make_run(train=(patient_name(0),), **parts)
    what = [run, artifact] if command == "quality" else ["--split", run / SPLIT_FILE]
    ended = call_main(command, *what, "--data", data, "-o", tmp_path / "record.json")
    assert (ended.code, ended.out) == (InputError.exit_code, "")
    assert said in ended.err
    assert not (tmp_path / "record.json").exists()


def test_the_page_is_filled_from_records_and_from_nothing_else(call_main, tmp_path):
    with_nothing = tmp_path / "performance.md"
    with_nothing.write_text("<!-- begin throughput -->\n<!-- end throughput -->\n")
    ended = call_main("performance", tmp_path, "-o", with_nothing)
    assert ended.code == InputError.exit_code
    assert "throughput.json: no such file" in ended.err


@pytest.mark.parametrize("command", ["coldstart", "memory"])
def test_what_no_provider_runs_ends_with_the_code_of_a_refused_model(call_main, tmp_path, command):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    ended = call_main(command, tmp_path / "bad.onnx")
    assert (ended.code, ended.out) == (5, "")
    assert ended.err.startswith("lgg-bench: bad.onnx: not an ONNX model")


@pytest.mark.parametrize("command", ["coldstart", "memory"])
def test_a_model_that_is_not_there_is_refused_before_any_work(call_main, tmp_path, command):
    ended = call_main(command, tmp_path / "none.onnx")
    assert (ended.code, ended.out) == (5, "")
    assert ended.err == f"lgg-bench: {tmp_path / 'none.onnx'}: no such model\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["memory", "a.onnx", "--slices", "30"], "steps of 25"),
        (["throughput", ".", "a.onnx", "--rounds", "0"], "rounds"),
        (["throughput", ".", "a.onnx", "--infer-option", "--model=b"], "--infer-option -m/--model"),
        (["peers", ".", "run", "a.onnx", "--rival", "abacus"], "no rival 'abacus'"),
    ],
)
def test_impossible_settings_are_refused(call_main, args, said):
    ended = call_main(*args)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
