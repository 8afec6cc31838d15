"""How every command of the toolchain ends: one line for an error, and its exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from functools import partial
from types import FrameType
from typing import NoReturn, TextIO

import click

from lgg_runtime.errors import DISK_FULL, LggError, ResourceError, UsageError, printable
from lgg_runtime.exhausted import telling_exhausted_memory

INTERRUPTED, TERMINATED = 130, 143
# Each but SIGTERM may have been ignored by who started the command: a shell, nohup.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_AGAIN_S = 0.001
_STDERR = 2  # the last of the numbers that every program is given


class Terminated(BaseException):
    """SIGTERM arrived, or SIGHUP of a terminal that was closed; the work at hand is dropped and
    what was done is recorded.
    """


def run_command(command: click.Command) -> NoReturn:
    """Run a click command and exit with its code: 2 for usage, an LggError's own, 130 and 143.

    The first signal counts: `timeout` sends two, and the second one would end the recording of what
    was done.
    """
    _take_standard_numbers()
    sys.unraisablehook = _come_again
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _stop)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be text
    try:
        with telling_exhausted_memory():
            code = command.main(prog_name=command.name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        with _whatever_happens():
            error.show(sys.stderr or io.StringIO())  # without a stream, click takes standard output
        sys.exit(error.exit_code)
    except LggError as error:
        _end(f"{command.name}: {error}", error.exit_code)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            name = printable(str(error.filename))
            told = f"{command.name}: {name}: {error.strerror}; give a shorter one"
            _end(told, UsageError.exit_code)
        # What writes files says which one; here it is a standard stream.
        if isinstance(error.__context__, KeyboardInterrupt):
            _end(f"{command.name}: interrupted", INTERRUPTED)
        if error.errno not in DISK_FULL:
            raise
        _drop_broken_streams()
        _end(f"{command.name}: the disk is full; free some space", ResourceError.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _end(f"{command.name}: interrupted", INTERRUPTED)
    except Terminated:
        _end(f"{command.name}: terminated", TERMINATED)


def show(text: str, nl: bool = True) -> None:
    """Print a result; what would break the terminal is escaped."""
    with ignoring_lost_reader(sys.stdout):
        click.echo("\n".join(map(printable, text.split("\n"))), nl=nl)


def terminal_columns() -> int | None:
    """Of the terminal that results are printed to; None where they go to a file or a program."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def tell(line: str) -> None:
    """Print a notice to standard error."""
    with ignoring_lost_reader(sys.stderr):
        click.echo(line, err=True)


@contextlib.contextmanager
def ignoring_lost_reader(stream: TextIO | None) -> Iterator[None]:
    """Print to that stream; a reader that closed the pipe, or a terminal that is gone, changes no
    exit code. A file that cannot be written does.
    """
    try:
        yield
        if stream is not None:
            stream.flush()
    except OSError as error:
        if error.errno != errno.EPIPE and not (error.errno == errno.EIO and _is_device(stream)):
            raise
        _drop_broken_streams()


def _is_device(stream: TextIO | None) -> bool:
    """As a terminal is, after it is gone too."""
    return stream is not None and stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)


def _end(line: str, code: int) -> NoReturn:
    """Exit with that code, whether or not the line can be printed."""
    with _whatever_happens():
        click.echo(line, err=True)
    sys.exit(code)


@contextlib.contextmanager
def _whatever_happens() -> Iterator[None]:
    with contextlib.suppress(OSError):
        yield
    _drop_broken_streams()


def _take_standard_numbers() -> None:
    """A result that took the number of a closed stream would hold what a library prints there."""
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(nowhere)


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


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    for each in ENDING:
        if signal.getsignal(each) is _stop:
            signal.signal(each, _pass_over)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated


def _pass_over(_number: int, _frame: FrameType | None) -> None:
    """Not SIG_IGN: of a signal that has just come, Python would print that it is ignored."""


def _come_again(lost: sys.UnraisableHookArgs) -> None:
    """Python swallows what a handler raises while a callback is at work, as each import has one;
    the first signal counts, and it would be the one that was lost.
    """
    error = lost.exc_value
    if not isinstance(error, (KeyboardInterrupt, Terminated)):
        sys.__unraisablehook__(lost)
        return
    signal.signal(signal.SIGALRM, partial(_raise, type(error)))
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)


def _raise(error: type[BaseException], _number: int, _frame: FrameType | None) -> NoReturn:
    raise error
