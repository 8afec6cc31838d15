"""lgg-node: receive studies, segment them, send the results back. Research use only."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from lgg_runtime.terminal import run_command

_CONFIG = click.option(
    "--config", "path", required=True, type=click.Path(path_type=Path), help="The settings' file."
)


@click.group("lgg-node")
@click.version_option(package_name="lgg-edge", prog_name="lgg-node")
def command() -> None:
    """A DICOM node beside a PACS. Research use only, not for diagnosis."""


@command.command()
@_CONFIG
def run(path: Path) -> None:
    """Receive, segment and send until SIGTERM or Ctrl-C, which is a clean end."""
    from lgg_runtime.pacs.config import load_config
    from lgg_runtime.pacs.log import set_up_log
    from lgg_runtime.pacs.node import run_node

    config = load_config(path)
    set_up_log(config.node.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with run_node(config):
        stop.wait()


@command.command()
@_CONFIG
def check(path: Path) -> None:
    """Check the settings; every mistake is listed."""
    from lgg_runtime.pacs.config import load_config

    load_config(path)
    click.echo(f"{path}: no mistake in it")


@command.command()
def example() -> None:
    """Print a commented file of settings."""
    from lgg_runtime.pacs.config import EXAMPLE

    click.echo(EXAMPLE.read_text(encoding="utf-8"), nl=False)


def main() -> None:
    run_command(command)


if __name__ == "__main__":
    main()
