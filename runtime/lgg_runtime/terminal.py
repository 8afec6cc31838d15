"""How every command of the toolchain ends: one line for an error, and its exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import click

from lgg_runtime.errors import LggError, ResourceError, UsageError, printable

INTERRUPTED, TERMINATED = 130, 143
_FULL = (errno.ENOSPC, errno.EDQUOT)


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
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            name = printable(str(error.filename))
            click.echo(f"{command.name}: {name}: {error.strerror}; give a shorter one", err=True)
            sys.exit(UsageError.exit_code)
        # What writes files says which one; here it is a standard stream that goes to one.
        if error.errno not in _FULL:
            raise
        _drop_broken_streams()
        with contextlib.suppress(OSError):
            click.echo(f"{command.name}: the disk is full; free some space", err=True)
        _drop_broken_streams()
        sys.exit(ResourceError.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"{command.name}: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except Terminated:
        click.echo(f"{command.name}: terminated", err=True)
        sys.exit(TERMINATED)


@contextlib.contextmanager
def ignoring_closed_pipe() -> Iterator[None]:
    """Print final output; a reader that closed the pipe changes no exit code."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_broken_streams()


def _drop_broken_streams() -> None:
    """So that Python, which flushes them when it ends, does not end with an error of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated
