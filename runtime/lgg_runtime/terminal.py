"""How every command of the toolchain ends: one line for an error, and its exit code."""

from __future__ import annotations

import io
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from lgg_runtime.errors import LggError, ResourceError

INTERRUPTED, TERMINATED = 130, 143


class Terminated(BaseException):
    """SIGTERM arrived; the work at hand is dropped and what was done is recorded."""


def run_command(command: click.Command) -> NoReturn:
    """Run a click command and exit with its code: 2 for usage, an LggError's own, 130 and 143."""
    signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be text
    try:
        code = command.main(prog_name=command.name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LggError as error:
        click.echo(f"{command.name}: {error}", err=True)
        sys.exit(error.exit_code)
    except MemoryError:
        click.echo(f"{command.name}: memory exhausted; give fewer or smaller slices", err=True)
        sys.exit(ResourceError.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"{command.name}: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except Terminated:
        click.echo(f"{command.name}: terminated", err=True)
        sys.exit(TERMINATED)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated
