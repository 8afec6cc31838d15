"""Commands whose reader or terminal goes away: the same exit codes, and the work is done."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lgg_runtime import errors
from lgg_runtime.terminal import Terminated, run_command, show, tell
from stand_ins.signals import keeping_handlers

INFER = [sys.executable, "-m", "lgg_runtime.cli"]


@pytest.fixture
def broken_pipe() -> Iterator[int]:
    """A pipe to write to, whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def broken_streams(broken_pipe: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard output and error are such pipes; the handlers of signals are put back."""
    monkeypatch.setattr("sys.argv", ["tool"])
    with (
        keeping_handlers(),
        os.fdopen(os.dup(broken_pipe), "w") as out,
        os.fdopen(os.dup(broken_pipe), "w") as err,
    ):
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", err)
        yield


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NoInputError("x: nothing"), 4),
        (click.UsageError("such an option"), 2),
        (MemoryError(), 7),
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.usefixtures("broken_streams")
def test_an_error_that_cannot_be_printed_has_its_code(error: BaseException, code: int) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_command(click.Command("tool", callback=fail))
    assert ended.value.code == code


@pytest.mark.usefixtures("broken_streams")
def test_what_cannot_be_printed_ends_no_command() -> None:
    def work() -> int:
        for _ in range(2):
            tell("a notice")
            show("a result")
        return 3

    with pytest.raises(SystemExit) as ended:
        run_command(click.Command("tool", callback=work))
    assert ended.value.code == 3


def test_a_run_goes_on_without_who_reads_its_notices(
    broken_pipe: int, source: Path, artifact: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = [*INFER, str(source), "-o", str(out), "-m", str(artifact), "--provider", "auto"]
    done = subprocess.run(words, stdout=broken_pipe, stderr=broken_pipe, check=False)
    assert done.returncode == 0
    assert json.loads((out / "run.json").read_text())["state"] == "complete"


@pytest.mark.parametrize("more", [[], ["--no-progress"]])
def test_a_run_goes_on_without_its_terminal(
    source: Path, artifact: Path, tmp_path: Path, more: list[str]
) -> None:
    out, (master, slave) = tmp_path / "out", pty.openpty()
    words = [*INFER, str(source), "-o", str(out), "-m", str(artifact), *more]
    child = "import os,signal,sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    child += "os.execv(sys.argv[1], sys.argv[1:])"
    started = subprocess.Popen(
        [sys.executable, "-c", child, *words], stdin=slave, stdout=slave, stderr=slave,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    os.close(master)
    assert started.wait(60) == 0
    assert json.loads((out / "run.json").read_text())["state"] == "complete"


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_file_of_a_run_never_has_the_number_of_a_closed_stream(
    tmp_path: Path, closed: str
) -> None:
    """Where libraries print to, as libjpeg does of a damaged picture."""
    command = """
import os, sys, click
from lgg_runtime.terminal import run_command
name = sys.argv.pop()
def work():
    with open(name, "w") as result:
        for number in (1, 2):
            os.write(number, b"Corrupt JPEG data")
        result.write("the mask")
run_command(click.Command("tool", callback=work))
"""
    words = ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-c", command]
    done = subprocess.run([*words, str(tmp_path / "mask")], capture_output=True, check=False)
    assert (done.returncode, (tmp_path / "mask").read_text()) == (0, "the mask")


def test_a_usage_error_never_stands_among_the_results() -> None:
    words = ["sh", "-c", 'exec "$0" "$@" 2>&-', *INFER, "--nonsense"]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


def test_doctor_ends_as_it_does_with_a_reader(broken_pipe: int) -> None:
    words = [*INFER, "doctor", "--json"]
    assert subprocess.run(words, stdout=broken_pipe, check=False).returncode == 0


def test_a_file_that_cannot_be_written_is_no_reader_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = Path("/proc/self/mem")
    if not lost.exists():
        pytest.skip("needs Linux's /proc")
    stream = lost.open("w")
    monkeypatch.setattr("sys.stdout", stream)
    with pytest.raises(OSError, match="Input/output error"):
        show("the only result")
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    stream.close()
