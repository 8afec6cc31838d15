"""Options that the commands of lgg-bench share."""

from pathlib import Path

import pytest

from lgg_bench.options import measured
from lgg_bench.record import Record
from lgg_runtime.cores import MOST_THREADS
from lgg_runtime.errors import ResourceError, UsageError


@pytest.mark.parametrize(
    "words",
    [
        ("latency", "a.onnx", "--batch", 8),
        ("latency", "a.onnx", "--threads", 1),
        ("gpu", "a.onnx", "--batch", 8),
        ("throughput", ".", "a.onnx", "--provider", "cpu"),
        ("peers", ".", "run", "a.onnx", "--rival", "notebook"),
        ("memory", "a.onnx", "--slices", 500),
        ("coldstart", "a.onnx", "--provider", "cpu"),
    ],
)
def test_a_subject_that_is_given_twice_is_refused(call_main, words):
    ended = call_main(*words, *words[-2:])
    assert (ended.code, ended.out) == (UsageError.exit_code, "")
    assert f"'{words[-2]}': {words[-1]} is given twice." in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ("latency", "a.onnx"),
        ("throughput", ".", "a.onnx"),
        ("peers", ".", "run", "a.onnx"),
        ("memory", "a.onnx"),
        ("coldstart", "a.onnx"),
        ("roofline", "a.onnx"),
    ],
)
def test_too_many_threads_are_refused_before_anything_else(call_main, words):
    ended = call_main(*words, "--threads", MOST_THREADS + 1)
    assert (ended.code, ended.out) == (UsageError.exit_code, "")
    assert "1025 is not in the range 1<=x<=1024" in ended.err


def test_a_disk_that_is_full_in_the_end_does_not_cost_what_was_measured(
    tmp_path, monkeypatch, capsys
):
    def write(*_args):
        raise ResourceError("memory.json: the disk is full; free some space")

    record = Record.read(Path(__file__).parents[2] / "docs" / "results" / "memory.json")
    monkeypatch.setattr("lgg_bench.record.write_atomically", write)
    with pytest.raises(ResourceError, match="the disk is full"):
        measured(tmp_path / "memory.json", lambda: record)
    assert "Memory of lgg-infer on a folder" in capsys.readouterr().out
