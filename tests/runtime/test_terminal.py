"""How a command ends: its exit code and one line."""

from __future__ import annotations

import errno
import signal
import threading
import weakref
from collections.abc import Callable, Iterator

import click
import cv2
import pytest

from lgg_runtime import errors
from lgg_runtime.terminal import Terminated, run_command, show
from stand_ins.signals import keeping_handlers

NO_MEMORY = cv2.error("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 48000000")


@pytest.fixture(autouse=True)
def own_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("sys.argv", ["tool"])
    with keeping_handlers():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield


def command_that(action: Callable[[], object]) -> click.Command:
    return click.Command("tool", callback=action)


def failing(error: BaseException) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.UsageError("such an option"), 2, "tool: such an option"),
        (errors.NoInputError("x: nothing"), 4, "tool: x: nothing"),
        (errors.ModelError("m: bad"), 5, "tool: m: bad"),
        (errors.MissingExtraError("install it"), 6, "tool: install it"),
        (errors.ResourceError("full"), 7, "tool: full"),
        (errors.ParityError("differs"), 9, "tool: differs"),
        (MemoryError(), 7, "tool: memory exhausted; give fewer or smaller slices"),
        (NO_MEMORY, 7, "tool: memory exhausted; give fewer or smaller slices"),
        (OSError(errno.ENOSPC, "full"), 7, "tool: the disk is full; free some space"),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "aaa\n"),
            2,
            "tool: aaa\\n: File name too long; give a shorter one",
        ),
        (KeyboardInterrupt(), 130, "tool: interrupted"),
        (Terminated(), 143, "tool: terminated"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_line_and_its_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(command_that(failing(error)))
    assert ended.value.code == code
    out, err = capsys.readouterr()
    assert (out, err.strip()) == ("", line)


def test_a_mistyped_option_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tool", "--what"])
    with pytest.raises(SystemExit) as ended:
        run_command(command_that(lambda: 0))
    assert ended.value.code == 2
    assert "--what" in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [(0, 0), (3, 3), (None, 0), ("text", 0)])
def test_a_command_ends_with_the_number_that_it_returns(result: object, code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(command_that(lambda: result))
    assert ended.value.code == code


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(command_that(failing(ZeroDivisionError())))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_through_its_cleaning_up(
    capsys: pytest.CaptureFixture[str], number: int
) -> None:
    done = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            done.append("cleaned up")

    with pytest.raises(SystemExit) as ended:
        run_command(command_that(work))
    assert (ended.value.code, done) == (143, ["cleaned up"])
    assert capsys.readouterr().err == "tool: terminated\n"


@pytest.mark.parametrize(
    ("first", "code", "line"),
    [(signal.SIGTERM, 143, "tool: terminated\n"), (signal.SIGINT, 130, "tool: interrupted\n")],
)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_does_not_end_the_cleaning_up(
    capsys: pytest.CaptureFixture[str], first: int, second: int, code: int, line: str
) -> None:
    done = []

    def work() -> None:
        try:
            signal.raise_signal(first)
        finally:
            signal.raise_signal(second)
            done.append("cleaned up")

    with pytest.raises(SystemExit) as ended:
        run_command(command_that(work))
    assert (ended.value.code, done) == (code, ["cleaned up"])
    assert capsys.readouterr().err.lstrip("\n") == line  # click ends the line that ^C is in


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGTERM, 143, "tool: terminated\n"), (signal.SIGINT, 130, "tool: interrupted\n")],
)
def test_a_signal_that_a_callback_swallows_ends_the_command_all_the_same(
    capsys: pytest.CaptureFixture[str], number: int, code: int, line: str
) -> None:
    class Held:
        """As the lock of an import, whose end calls back."""

    def work() -> None:
        held = Held()
        ends = weakref.ref(held, lambda _: signal.raise_signal(number))
        del held
        assert ends() is None
        threading.Event().wait(20)

    with pytest.raises(SystemExit) as ended:
        run_command(command_that(work))
    assert ended.value.code == code
    assert capsys.readouterr().err.lstrip("\n") == line


def test_another_error_in_a_callback_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    class Held:
        """Ends with an error."""

        def __del__(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(SystemExit) as ended:
        run_command(command_that(lambda: Held() and None))
    assert ended.value.code == 0
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_stays_ignored_where_the_shell_has_it_ignored(number: int) -> None:
    signal.signal(number, signal.SIG_IGN)
    done = []

    def work() -> None:
        signal.raise_signal(number)
        done.append("went on")

    with pytest.raises(SystemExit) as ended:
        run_command(command_that(work))
    assert (ended.value.code, done) == (0, ["went on"])


def test_a_name_that_is_no_text_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(command_that(lambda: click.echo("caf\udce9")))
    assert ended.value.code == 0
    assert capsys.readouterr().out == "caf\\udce9\n"


def test_a_result_keeps_its_lines_and_sends_the_terminal_no_orders(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show("out\x1b[2J: done\né")
    assert capsys.readouterr().out == "out\\x1b[2J: done\né\n"
