"""Whole commands, from the start of the process to its end: seconds and peak memory."""

from __future__ import annotations

import compileall
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import lgg_runtime
from lgg_bench.timing import Spread, take_turns
from lgg_runtime.errors import (
    InputError,
    ModelError,
    NoInputError,
    ProviderError,
    ResourceError,
    UsageError,
)
from lgg_runtime.progress import ignore

_WATCH_S = 0.02
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
# Where a command's arguments name it, the folder for its results: a new one for each run.
OUTPUT = "{output}"
_INFER = "from lgg_runtime.cli import main; main()"  # what the installed script holds
# What a command ended with, by its exit code; all others say that it cannot use what it was given.
_KINDS = {
    kind.exit_code: kind
    for kind in (UsageError, NoInputError, ModelError, ProviderError, ResourceError)
}


@dataclass(frozen=True)
class Ran:
    """One run of a command. report: what `inspect` found in its output folder."""

    seconds: float
    peak_mib: float
    report: Any = None


def infer_command(*args: str | Path) -> list[str]:
    """The command line of lgg-infer, in this interpreter. Its modules are compiled first, as pip
    leaves what it installs, where the package's folder can be written.
    """
    compileall.compile_dir(Path(lgg_runtime.__file__).parent, quiet=2)
    return [sys.executable, "-c", _INFER, *map(str, args)]


def read_stages(output: Path) -> dict[str, float]:
    """Seconds of lgg-infer's stages, from the report in its output folder."""
    seconds: dict[str, float] = json.loads((output / "run.json").read_text())["seconds"]
    return seconds


def run_whole(
    command: Sequence[str],
    threads: int | None,
    inspect: Callable[[Path], Any] = ignore,
    keep_in: Path | None = None,
) -> Ran:
    """Run a command to its end. threads: set as OMP_NUM_THREADS, and as many of the cores are given
    to it, since not every engine obeys the variable; inspect: called with its output folder;
    keep_in: a folder in which its results stay, None to delete them.

    Raises the error that the command's exit code stands for, with the last line that it printed,
    InputError for a code that stands for none, ResourceError where it is killed.
    """
    limit = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        output = (keep_in or Path(folder)) / "out"
        filled = [output.as_posix() if part == OUTPUT else part for part in command]
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*_hold_to(threads), *filled],
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=os.environ | limit,
        )
        try:
            with _Peak(process.pid) as peak:
                code = process.wait()
                seconds = time.perf_counter() - begun
        finally:
            process.kill()  # where a signal ended the wait; it has ended else
            process.wait()
        if code:
            said.seek(0)
            _refuse(" ".join(command[:4]), code, said.read().decode(errors="replace"))
        return Ran(seconds, peak.mib, inspect(output))


def _refuse(command: str, code: int, said: str) -> NoReturn:
    if code == -signal.SIGKILL:
        raise ResourceError(
            f"{command}: killed; the memory may not suffice: free some, or give it less to do"
        )
    lines = said.strip().splitlines() or ["no message"]
    raise _KINDS.get(code, InputError)(f"{command}: exit {code}: {lines[-1]}")


def _hold_to(threads: int | None) -> list[str]:
    """What goes before a command to hold it to so many cores, where there are more.

    Raises UsageError where there is no taskset.
    """
    cores = sorted(os.sched_getaffinity(0))
    if threads is None or threads >= len(cores):
        return []
    if shutil.which("taskset") is None:
        raise UsageError(f"threads {threads}: needs taskset, of util-linux; install it")
    return ["taskset", "--cpu-list", ",".join(map(str, cores[:threads]))]


class _Peak:
    """Watches a process's peak resident memory until the block ends.

    What the system tells of a process that has ended counts its parent's memory too, from the
    moment between fork and exec. Growth in the last _WATCH_S of the process may be missed.
    """

    def __init__(self, pid: int):
        self.mib = 0.0
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak", daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_WATCH_S):
            try:
                found = _PEAK.search(self._status.read_text())
            except OSError:  # it has ended, or the system has no such file
                return
            self.mib = int(found[1]) / 1024 if found else self.mib


def run_in_turn(
    commands: Mapping[str, Callable[..., Ran]], rounds: int, advance: Callable[[], object]
) -> dict[str, list[Ran]]:
    """Every command in every round, as `take_turns` has it. commands: `run_whole` but for where to
    keep the results.

    These are deleted at the end alone: for a minute after some thousand files were deleted, a file
    system may take twice as long to make new ones (ext4 without a journal).
    """
    found: dict[str, list[Ran]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as kept:
        for _, name in take_turns(list(commands), rounds):
            found[name].append(commands[name](keep_in=Path(tempfile.mkdtemp(dir=kept))))
            advance()
    return found


def compare_runs(reference: Sequence[Ran], runs: Sequence[Ran]) -> Spread:
    """How many times faster than the reference, round by round."""
    return Spread.of([a.seconds / b.seconds for a, b in zip(reference, runs, strict=True)])
