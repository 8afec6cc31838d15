"""lgg-bench as the shell sees it: exit codes, files, and what goes to which stream."""

import json
import subprocess
import sys

import pytest

from lgg_bench.record import Record


def test_parity_of_a_faithful_artifact_ends_well(call_main, run, artifact, data, tmp_path):
    out = tmp_path / "parity.json"
    ended = call_main("parity", run, artifact, "--data", data, "-o", out)
    assert (ended.code, ended.err) == (0, "")
    assert "passed" in ended.out and "Research use only" in ended.out
    assert Record.read(out).results["artifacts"][0]["failures"] == []


def test_parity_of_a_wrong_artifact_ends_with_9_after_the_table_and_the_record(
    call_main, run, artifact, altered, tmp_path
):
    wrong, out = altered("wrong_too.onnx", factor=1.05), tmp_path / "parity.json"
    ended = call_main("parity", run, artifact, wrong, "--limit", "1", "-o", out)
    assert ended.code == 9
    assert ended.err == "lgg-bench: 1 of 2 artifacts beyond their limits: wrong_too.onnx\n"
    assert "wrong_too.onnx FAILED: probability difference" in ended.out
    assert len(Record.read(out).results["artifacts"]) == 2


def test_latency_prints_and_records_every_configuration(call_main, run, artifact, tmp_path):
    out = tmp_path / "latency.json"
    ended = call_main(
        "latency", artifact, "--run", run, "--batch", 1, "--batch", 2, "--threads", 1,
        "--size", 48, "--rounds", 2, "-o", out,
    )  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("Milliseconds a slice: 1 thread, batch") == 2
    held = json.loads(out.read_text())
    assert [row["batch"] for row in held["results"]["rows"]] == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(("options", "shown"), [([], True), (["--no-progress"], False)])
def test_a_terminal_gets_a_progress_bar_unless_none_is_wanted(
    call_main, artifact, monkeypatch, options, shown
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    args = ("--batch", 1, "--threads", 1, "--size", 48, "--rounds", 1)
    ended = call_main("latency", *options, artifact, *args)
    assert ended.code == 0
    assert ("1/1" in ended.err) is shown


def test_table_prints_records_as_markdown(call_main, run, artifact, tmp_path):
    parity, latency = tmp_path / "parity.json", tmp_path / "latency.json"
    call_main("parity", run, artifact, "--limit", "1", "-o", parity)
    call_main("latency", artifact, "--batch", 1, "--threads", 1, "--size", 48, "--rounds", 1,
              "-o", latency)  # fmt: skip
    ended = call_main("table", parity, latency)
    assert ended.code == 0
    assert "| PyTorch (fp32) |" in ended.out
    assert "**Milliseconds a slice: 1 thread, batch 1**" in ended.out
    assert ended.out.count("Measured 2") == 2


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["parity", "run"], 2, "ARTIFACT"),
        (["latency", "none.onnx"], 5, "none.onnx: no such model"),
        (["latency", "none.onnx", "--size", "40"], 2, "multiple of 16"),
        (["latency", "none.onnx", "--provider", "abacus"], 2, "abacus"),
        (["latency", "none.onnx", "-o", "a.txt"], 2, "ends in .json"),
        (["table", "none.json"], 3, "none.json: no such file"),
    ],
)
def test_errors_are_one_line_with_their_own_exit_code(call_main, args, code, said):
    ended = call_main(*args)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err.splitlines()[-1]


def test_version_and_help_import_nothing_heavy():
    script = (
        "import sys\nfrom lgg_bench.cli import command\n"
        "command.main(['latency', '--help'], standalone_mode=False)\n"
        "command.main(['--version'], standalone_mode=False)\n"
        "print(sorted({'torch', 'onnxruntime', 'cv2', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "lgg-bench, version" in done.stdout


def test_latency_of_artifacts_alone_needs_no_pytorch(artifact):
    script = (
        "import sys\nfrom lgg_bench.cli import command\n"
        f"command.main(['latency', {str(artifact)!r}, '--size', '48', '--rounds', '1',"
        " '--batch', '1'], standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
