"""What a node finds in its spool as it starts: another node, files without records, records; and
when it listens.
"""

from __future__ import annotations

import socket
import sqlite3
import threading
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")
pytest.importorskip("prometheus_client")

from lgg_runtime.errors import OutputConflictError
from lgg_runtime.pacs import node
from lgg_runtime.pacs.cli import command
from lgg_runtime.pacs.config import NodeConfig, load_config
from lgg_runtime.pacs.node import run_node
from lgg_runtime.pacs.spool import DATABASE
from lgg_runtime.pacs.state import State
from lgg_runtime.pacs.status import read_status
from stand_ins.pacs import associate, write_config
from stand_ins.ports import free_port


def test_one_node_at_a_time_holds_a_spool(tmp_path: Path, artifact: Path) -> None:
    config = load_config(write_config(tmp_path, model={"name": str(artifact)}))
    with (
        run_node(config),
        pytest.raises(OutputConflictError, match="another run"),
        run_node(config),
    ):
        pass


def test_a_start_removes_the_node_s_unrecorded_files_and_no_others(
    tmp_path: Path, artifact: Path
) -> None:
    config = load_config(write_config(tmp_path, model={"name": str(artifact)}))
    with run_node(config):
        pass
    study, own, other = (config.node.spool / "images" / ("a" * 32)), f"{'b' * 32}.dcm", "scan.dcm"
    results = config.node.spool / "results"
    study.mkdir()
    for folder in (study, results):
        for name in (own, f"{own}.part", other, f"{other}.part"):
            (folder / name).write_bytes(b"")
    (results / "deep").mkdir()
    (results / "deep" / own).write_bytes(b"")
    with run_node(config):
        left = {path.relative_to(results.parent).as_posix() for path in results.rglob("*.dcm*")}
        assert left == {"results/scan.dcm", "results/scan.dcm.part", f"results/deep/{own}"}
        assert {path.name for path in study.iterdir()} == {other, f"{other}.part"}


@pytest.mark.parametrize("name", [f"images/{'a' * 32}/{'b' * 32}.dcm", f"results/{'a' * 32}.dcm"])
def test_a_node_does_not_start_over_files_whose_database_is_gone(
    tmp_path: Path, artifact: Path, name: str
) -> None:
    config = load_config(write_config(tmp_path, model={"name": str(artifact)}))
    path = config.node.spool / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    with (
        pytest.raises(OutputConflictError, match=r"but no state\.sqlite; bring that back"),
        run_node(config),
    ):
        pass
    assert path.exists()
    assert not (config.node.spool / DATABASE).exists()


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "without its -wal"])
def test_a_node_does_not_start_over_files_whose_records_are_gone(
    tmp_path: Path, artifact: Path, is_empty: bool
) -> None:
    path = write_config(tmp_path, model={"name": str(artifact)})
    config = load_config(path)
    kept = config.node.spool / "images" / ("a" * 32) / f"{'b' * 32}.dcm"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"")
    database = config.node.spool / DATABASE
    if is_empty:
        database.write_bytes(b"")
    else:  # as a copy that left out what no checkpoint has brought into the file yet
        with closing(sqlite3.connect(database)) as made:
            made.execute("PRAGMA journal_mode = WAL")
    with pytest.raises(OutputConflictError, match="bring it back with its -wal"):
        # A look at it gives it no version either, after which the node would take it for its own.
        command.main(["status", "--config", str(path)], standalone_mode=False)
    with (
        pytest.raises(OutputConflictError, match="bring it back with its -wal"),
        run_node(config),
    ):
        pass
    assert kept.exists()


def test_a_node_looks_first_with_the_model_that_is_set(
    tmp_path: Path, artifact: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = {"name": str(artifact), "first_look": str(artifact)}
    with caplog.at_level("INFO"), run_node(load_config(write_config(tmp_path, model=model))):
        pass
    assert "model tiny after tiny " in caplog.text


def test_no_peer_brings_an_image_while_files_without_a_record_are_removed(
    tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, settled, port = node.settle_leftovers, [], free_port()

    def settle_alone(*given: Any) -> None:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=20)
        settled.append(given)
        settle(*given)

    monkeypatch.setattr(node, "settle_leftovers", settle_alone)
    settings = {"model": {"name": str(artifact)}, "listen": {"port": port}}
    with run_node(load_config(write_config(tmp_path, **settings))):
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
    assert settled


def test_metrics_are_counted_while_images_are_received(
    tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = []

    def receive(state: State) -> None:
        with state.change():
            received.append(state)

    def count(state: State, config: NodeConfig) -> dict[str, Any]:
        with state._lock:  # as while a query runs
            receiving = threading.Thread(target=receive, args=(running.state,))
            receiving.start()
            receiving.join(20)
            assert received == [running.state]
        return read_status(state, config)

    monkeypatch.setattr(node, "read_status", count)
    port = free_port()
    settings = {"model": {"name": str(artifact)}, "http": {"port": port}}
    with (
        run_node(load_config(write_config(tmp_path, **settings))) as running,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer,
    ):
        assert b'lgg_node_studies{state="done"} 0.0' in answer.read()


def test_a_node_that_ends_lets_its_associations_end(tmp_path: Path, artifact: Path) -> None:
    with run_node(load_config(write_config(tmp_path, model={"name": str(artifact)}))) as node:
        association, server = associate(node.receiver.port), node.receiver._server
        assert server is not None

        def release() -> None:
            while server.fileno() != -1:
                association.join(0.01)
            association.release()

        releasing = threading.Thread(target=release)
        releasing.start()
    releasing.join(20)
    assert association.is_released
