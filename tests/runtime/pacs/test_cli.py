"""The node's command where there is nothing to do, or nothing that it may do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("prometheus_client")

from click import UsageError
from click.testing import CliRunner

from lgg_runtime.errors import LggError, NoInputError, ResourceError
from lgg_runtime.pacs.cli import command
from lgg_runtime.pacs.config import load_config
from lgg_runtime.pacs.node import run_node
from lgg_runtime.pacs.spool import DATABASE
from lgg_runtime.pacs.state import State
from lgg_runtime.terminal import ENDING
from stand_ins.pacs import write_config
from stand_ins.ports import free_port
from stand_ins.signals import keeping_handlers

STUDY = "a" * 32


@pytest.mark.parametrize("words", [["status"], ["retry", "--all"], ["forget", "old"]])
def test_a_look_where_no_node_has_run_says_so_and_makes_nothing(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "spool").mkdir()
    with pytest.raises(NoInputError, match="spool: no node has run there yet"):
        command.main([*words, "--config", str(write_config(tmp_path))], standalone_mode=False)
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("words", [["status"], ["retry", "--all"], ["forget", "old"]])
def test_a_spool_that_the_disk_does_not_tell_of_is_not_one_where_no_node_has_run(
    tmp_path: Path, words: list[str]
) -> None:
    path = str(write_config(tmp_path))
    (tmp_path / "spool").symlink_to(tmp_path / "spool")  # what is below it cannot be looked at
    failed = pytest.raises(
        ResourceError, match=r"spool/state\.sqlite: cannot be looked at \(Too many"
    )
    with failed:
        command.main([*words, "--config", path], standalone_mode=False)
    (tmp_path / "spool").unlink()


@pytest.mark.parametrize("name", ["old", STUDY, STUDY[:12], "a\nb"])
def test_a_name_that_nothing_has_is_not_forgotten_in_silence(tmp_path: Path, name: str) -> None:
    (tmp_path / "spool").mkdir()
    with closing(State(tmp_path / "spool" / DATABASE)) as state:
        state.execute("INSERT INTO study (id, state, last_at) VALUES (?, 'done', 0)", (STUDY,))
    words = ["forget", name, "--config", str(write_config(tmp_path))]
    shown = name.replace("\n", r"\\n")
    with pytest.raises(LggError, match=rf"^{shown}: expected a destination for which") as refused:
        command.main(words, standalone_mode=False)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("words", [["status"], ["retry", "--all"], ["forget", "old"], ["run"]])
@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.parent / "away" / "state.sqlite")],
    ids=["folder", "FIFO", "broken link"],
)
def test_a_database_that_is_no_file_is_told_as_that(
    tmp_path: Path, artifact: Path, words: list[str], make: Callable[[Path], object]
) -> None:
    (tmp_path / "spool").mkdir()
    make(tmp_path / "spool" / DATABASE)
    path = str(write_config(tmp_path, model={"name": str(artifact)}))
    with (
        keeping_handlers(),
        pytest.raises(ResourceError, match=r"state\.sqlite: is no file, or a link to none; bring"),
    ):
        command.main([*words, "--config", path], standalone_mode=False)


@pytest.mark.parametrize(
    ("words", "takes"),
    [
        (["status"], True),
        (["retry", "--all"], True),
        (["forget", STUDY], True),
        (["check"], False),
        (["run"], False),
    ],
)
def test_only_what_opens_the_files_that_the_settings_name_needs_them(
    tmp_path: Path, words: list[str], takes: bool
) -> None:
    """A certificate may be gone, or be the node's user's alone to look at, when a person asks."""
    (tmp_path / "spool").mkdir()
    with closing(State(tmp_path / "spool" / DATABASE)) as state:
        state.execute("INSERT INTO study (id, state, last_at) VALUES (?, 'failed', 0)", (STUDY,))
    gone = str(tmp_path / "gone.pem")
    path = write_config(tmp_path, listen={"certificate": gone, "key": gone})
    done = CliRunner().invoke(command, [*words, "--config", str(path)])
    assert (done.exit_code == 0) is takes
    assert takes or "listen.key: expected the path of a file that is there" in str(done.exception)


@pytest.mark.parametrize("words", [["run"], ["status"], ["retry"], ["forget", "old"], ["check"]])
def test_what_needs_settings_asks_for_them(words: list[str]) -> None:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == UsageError.exit_code
    assert "Missing option '--config'" in done.output


@pytest.mark.parametrize(
    ("words", "left"), [([], "failed"), ([STUDY, "--all"], "failed"), ([STUDY], "queued")]
)
def test_a_retry_is_of_the_studies_that_are_named_or_of_all(
    tmp_path: Path, words: list[str], left: str
) -> None:
    (tmp_path / "spool").mkdir()
    path = str(write_config(tmp_path))
    with closing(State(tmp_path / "spool" / DATABASE)) as state, state.change() as run:
        run("INSERT INTO study (id, state, last_at) VALUES (?, 'failed', 0)", (STUDY,))
    done = CliRunner().invoke(command, ["retry", *words, "--config", path])
    with closing(State(tmp_path / "spool" / DATABASE)) as state:
        assert [row["state"] for row in state.rows("SELECT state FROM study")] == [left]
    assert done.exit_code == (0 if left == "queued" else UsageError.exit_code)
    told = "1 queued again" if left == "queued" else "name STUDIES or give --all"
    assert told in done.output


@pytest.mark.parametrize("is_ignored", [True, False])
def test_a_node_ends_with_its_terminal_except_under_nohup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ignored: bool
) -> None:
    class Started(Exception):
        pass

    def start(_config: object, is_ending: object) -> None:
        raise Started

    monkeypatch.setattr("lgg_runtime.pacs.node.run_node", start)
    monkeypatch.setattr("lgg_runtime.pacs.log.set_up_log", lambda _level: None)
    with keeping_handlers():
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
        with pytest.raises(Started):
            command.main(["run", "--config", str(write_config(tmp_path))], standalone_mode=False)
        heard = {number for number in ENDING if callable(signal.getsignal(number))}
    assert heard == set(ENDING) - ({signal.SIGHUP} if is_ignored else set())


# Another signal at every call that the handling of the first makes.
TWO_SIGNALS = """if True:
    import contextlib, signal, sys
    from lgg_runtime.pacs import cli, node

    def interrupt(_frame, event, _):
        if event == "call":
            signal.raise_signal(signal.SIGINT)

    @contextlib.contextmanager
    def run_node(_config, is_ending):
        sys.setprofile(interrupt)
        signal.raise_signal(signal.SIGTERM)
        sys.setprofile(None)
        yield

    node.run_node = run_node
    cli.command.main(["run", "--config", sys.argv[1]], standalone_mode=False)
"""


def test_a_second_signal_within_the_first_ends_a_node_as_well(tmp_path: Path) -> None:
    words = [sys.executable, "-c", TWO_SIGNALS, str(write_config(tmp_path))]
    subprocess.run(words, check=True, timeout=60)


def test_a_node_that_is_told_to_end_while_it_starts_takes_nothing(
    tmp_path: Path, artifact: Path
) -> None:
    port = free_port()
    path = write_config(tmp_path, listen={"port": port}, model={"name": str(artifact)})
    with (
        run_node(load_config(path), is_ending=lambda: True),
        pytest.raises(ConnectionRefusedError),
        socket.create_connection(("127.0.0.1", port)),
    ):
        pass
