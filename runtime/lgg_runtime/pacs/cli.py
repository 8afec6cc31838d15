"""lgg-node: receive studies, segment them, send the results back. Research use only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import click

from lgg_runtime import __version__
from lgg_runtime.command_group import CommandGroup
from lgg_runtime.terminal import ENDING, run_command, show

if TYPE_CHECKING:
    from lgg_runtime.pacs.config import NodeConfig
    from lgg_runtime.pacs.state import State

_CONFIG = click.option(
    "--config", "path", required=True, type=click.Path(path_type=Path), help="The settings' file."
)


@click.group("lgg-node", cls=CommandGroup)
@click.version_option(__version__, prog_name="lgg-node")
def command() -> None:
    """A DICOM node beside a PACS. Research use only, not for diagnosis."""


@command.command()
@_CONFIG
def run(path: Path) -> None:
    """Receive, segment and send until SIGTERM, Ctrl-C or the terminal's end: a clean end each."""
    from lgg_runtime.pacs.config import load_config
    from lgg_runtime.pacs.log import set_up_log
    from lgg_runtime.pacs.node import run_node

    config = load_config(path)
    set_up_log(config.node.log_level)
    # Not an Event: a second signal, as `timeout` sends, would wait for ever for the first's lock.
    heard: SimpleQueue[int] = SimpleQueue()
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: heard.put(number))
    with run_node(config, is_ending=lambda: not heard.empty()):
        heard.get()
    _end_at_once()


def _end_at_once() -> None:
    """Where a destination does not answer, a thread of pynetdicom would keep the process until its
    timeout: past a service manager's patience, and beside a node that has taken the spool. And a
    worker that comes back from native code while Python ends would abort the process.
    """
    if threading.active_count() > 1:
        os._exit(0)


@command.command()
@_CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(path: Path, as_json: bool) -> None:
    """Show the queue, failures, deliveries and throughput, of a node that runs or not."""
    from lgg_runtime.pacs.status import describe_status, read_status

    with _open_state(path) as (state, config):
        found = read_status(state, config)
    show(json.dumps(found, indent=1) if as_json else describe_status(found))


@command.command()
@_CONFIG
@click.argument("studies", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All failed studies and deliveries.")
def retry(path: Path, studies: tuple[str, ...], everything: bool) -> None:
    """Try again: STUDIES by the names that status shows, or everything that failed.

    A study that was held is taken as it is.
    """
    from lgg_runtime.pacs.outbox import find_orphans
    from lgg_runtime.pacs.retries import queue_again

    if bool(studies) == everything:
        raise click.UsageError("name STUDIES or give --all")
    with _open_state(path) as (state, config):
        names = [one.name for one in config.destinations]
        show(f"{queue_again(state, studies, everything, names)} queued again")
        for line in find_orphans(state, names):
            show(line)


@command.command()
@_CONFIG
@click.argument("name")
def forget(path: Path, name: str) -> None:
    """Let go of what waits for a destination NAME that the settings no longer name, of a study NAME
    that is held or failed, or of a result NAME that was given up.
    """
    from lgg_runtime.errors import UsageError, printable
    from lgg_runtime.pacs.outbox import forget_orphans
    from lgg_runtime.pacs.retries import let_go

    with _open_state(path) as (state, config):
        names = [one.name for one in config.destinations]
        count = forget_orphans(state, name, names) or let_go(state, name)
    if not count:
        raise UsageError(
            f"{printable(name)}: expected a destination for which results wait, a study that is "
            "held or failed, as status shows it, or a result that was given up, as in the log"
        )
    show(f"{count} forgotten")


@contextlib.contextmanager
def _open_state(path: Path) -> Iterator[tuple[State, NodeConfig]]:
    from lgg_runtime.errors import NoInputError, ResourceError
    from lgg_runtime.pacs.config import load_config
    from lgg_runtime.pacs.spool import DATABASE, telling_failed_look
    from lgg_runtime.pacs.state import State

    config = load_config(path, needs_files=False)
    database = config.node.spool / DATABASE
    with telling_failed_look(database):
        try:
            database.lstat()
        except PermissionError as error:
            why = "only the node's user may look there"
            raise ResourceError(f"{config.node.spool}: {why}") from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NoInputError(f"{config.node.spool}: no node has run there yet") from error
    with contextlib.closing(State(database)) as state:
        yield state, config


@command.command()
@_CONFIG
def check(path: Path) -> None:
    """Check the settings, and load the model; every mistake is listed."""
    from lgg_runtime.pacs.config import load_config
    from lgg_runtime.pacs.preflight import check_settings

    for line in check_settings(path, load_config(path)):
        show(line)
    show(f"{path}: no mistake in it")


@command.command()
def example() -> None:
    """Print a commented file of settings."""
    from lgg_runtime.pacs.config import EXAMPLE

    show(EXAMPLE.read_text(encoding="utf-8"), nl=False)


def main() -> None:
    run_command(command)


if __name__ == "__main__":
    main()
