"""The node's benchmark, small: a real node, a real archive, the shipped model."""

from __future__ import annotations

import queue
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

from lgg_bench.node import NodeBenchSettings, _archive, _node, _send, measure_node, tabulate
from lgg_bench.record import Record
from lgg_bench.tables import describe_record
from lgg_runtime import terminal
from lgg_runtime.errors import LggError, ModelError
from stand_ins.signals import keeping_handlers


def test_a_study_and_a_queue_are_measured() -> None:
    told: list[str] = []
    settings = NodeBenchSettings(slices=4, size=48, rounds=1, waiting=2, quiet_seconds=1.0)
    record = measure_node(settings, told.append)
    assert set(record.results["seconds"]) == {"queued", "made", "sent", "after_quiet"}
    assert record.results["seconds"]["after_quiet"]["median"] > 0
    rss = record.results["rss_mib"]
    assert len(rss["after_each"]) == 2
    assert min(rss["idle"], *rss["after_each"]) > 10
    assert told == ["study 1 of 1", "result 1 of 2", "result 2 of 2"]
    text = describe_record(record)
    assert "A study of 4 slices, 1 time, standard on cpu" in text
    assert "Memory of the process, 2 studies of FLAIR alone waiting" in text


def test_a_model_that_is_not_there_is_refused_before_a_node_starts() -> None:
    with pytest.raises(ModelError, match="gone: no such model"):
        measure_node(NodeBenchSettings(model="gone"), print)


def test_a_signal_while_a_node_starts_ends_that_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM goes to lgg-bench alone, unlike Ctrl-C."""
    lived_on, script = tmp_path / "lived on", tmp_path / "python"
    # More than a pipe holds: the signal comes when lgg-bench listens to the node.
    said = "yes | head -n 50000 >&2"
    script.write_text(f"#!/bin/sh\n{said}\nkill -TERM $PPID\nsleep 5\ntouch '{lived_on}'\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    with keeping_handlers(), pytest.raises(terminal.Terminated):
        signal.signal(signal.SIGTERM, terminal._stop)
        with _node(tmp_path / "node", 1, NodeBenchSettings()) as node:
            raise AssertionError(node)
    assert not lived_on.exists()


def test_a_node_that_ends_is_told_and_not_waited_for(tmp_path: Path) -> None:
    with _node(tmp_path / "node", 1, NodeBenchSettings()) as node:
        node.process.kill()
        with pytest.raises(LggError, match="the node ended before its result"):
            node.wait_for(queue.Queue())


def test_images_that_nobody_takes_are_told() -> None:
    images = [Path("a.dcm")]
    with _archive() as (port, _), pytest.raises(LggError, match="gave no answer to it"):
        _send(port, [images])  # which takes results alone


def test_the_tables_by_hand() -> None:
    spans = {"queued": {"median": 1.0, "slowest": 2.0}, "after_quiet": {"median": 3, "slowest": 4}}
    rss = {"idle": 10.0, "all_waiting": 20.0, "after_each": [30.0, 90.0, 40.0, 50.0, 60.0]}
    record = Record("node", asdict(NodeBenchSettings()), {}, {"seconds": spans, "rss_mib": rss})
    times, memory = tabulate(record)
    assert times.rows == [["queued", "1.00", "2.00"], ["after quiet", "3.00", "4.00"]]
    assert memory.rows == [["MiB", "10", "20", "30", "40", "60", "90"]]
