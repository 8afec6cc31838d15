"""Commands in processes forked from one that has imported everything, to be killed by hundreds.

The server of a test forks a child for each request and tells, by line on its standard output, the
child's number, the first file that it opens in a watched folder, and how it ended.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import itertools
import json
import os
import resource
import select
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DEADLINE_S = 300.0


@dataclass(frozen=True)
class Call:
    """`function` (module:name) as a command with the arguments; output goes to the file `log`.

    watched: a folder whose first opened file is told, and whose file-system calls are counted.
    kill_at, fail_at: `kill_with` before, or EIO in place of, the call of that number. limits: by
    the name of a RLIMIT.
    """

    function: str
    arguments: tuple[str, ...]
    log: Path
    watched: Path
    kill_at: int | None = None
    kill_with: int = signal.SIGKILL
    fail_at: int | None = None
    limits: dict[str, int] = field(default_factory=dict)


class Running:
    """A forked command."""

    def __init__(self, server: ForkServer, number: int, log: Path):
        self._server, self.number, self._log = server, number, log
        self.code: int | None = None

    def wait(self, seconds: float = DEADLINE_S) -> int | None:
        """Its exit code, minus the signal that killed it; None where it still runs by then."""
        if self.code is None:
            line = self._server.read(seconds)
            self.code = None if line is None else line["code"]
        return self.code

    def kill_after(self, seconds: float) -> bool:
        """Whether it was killed then; it may have ended by itself before."""
        if self.wait(seconds) is not None:
            return False
        self.send(signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(self.number, number)

    @property
    def said(self) -> str:
        return self._log.read_text(errors="backslashreplace")


class ForkServer:
    """modules: imported once, for every command."""

    def __init__(self, modules: tuple[str, ...]):
        folder = str(Path(__file__).parents[1])
        paths = os.pathsep.join([folder, *filter(None, sys.path)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stand_ins.forks", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        self._pending = b""
        if self.read(DEADLINE_S) != {"ready": True}:
            raise RuntimeError("the server of forks did not start")

    def start(self, call: Call) -> Running:
        """Forks the command and returns once it has opened a file in the watched folder, or
        ended without."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(call), default=str).encode() + b"\n")
        self._process.stdin.flush()
        line = self.read(DEADLINE_S)
        assert line is not None
        running = Running(self, line["number"], call.log)
        begun = self.read(DEADLINE_S)
        assert begun is not None
        running.code = begun.get("code")
        return running

    def run(self, call: Call) -> Running:
        running = self.start(call)
        if running.wait() is None:
            running.send(signal.SIGKILL)
            raise TimeoutError(f"{call.function} {call.arguments}: no end after {DEADLINE_S} s")
        return running

    def read(self, seconds: float) -> dict[str, Any] | None:
        stream = self._process.stdout
        assert stream is not None
        while b"\n" not in self._pending:
            if not select.select([stream], [], [], seconds)[0]:
                return None
            data = os.read(stream.fileno(), 4096)
            if not data:
                raise RuntimeError("the server of forks has ended")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        value: dict[str, Any] = json.loads(line)
        return value

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def serve(modules: list[str]) -> None:
    for name in modules:
        importlib.import_module(name)
    _tell({"ready": True})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        number = os.fork()
        if number == 0:
            _run(request)
        _, status = os.waitpid(number, 0)
        _tell({"code": os.waitstatus_to_exitcode(status)})


def _run(request: dict[str, Any]) -> None:
    """In the child; never returns."""
    told = os.dup(1)
    os.write(told, json.dumps({"number": os.getpid()}).encode() + b"\n")
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # A shell starts what runs in its background with SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        for name, value in request["limits"].items():
            resource.setrlimit(getattr(resource, name), (value, value))
        _watch(request, told)
        module, _, function = request["function"].partition(":")
        sys.argv = [function, *request["arguments"]]
        getattr(importlib.import_module(module), function)()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  a child must not go on as a second server
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


_FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}


def _watch(request: dict[str, Any], told: int) -> None:
    calls = itertools.count(1)
    watched = request["watched"]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _FILE_EVENTS or not str(arguments[0]).startswith(watched):
            return
        number = next(calls)
        if number == 1:
            os.write(told, b'{"begun": true}\n')
        if number == request["kill_at"]:
            os.kill(os.getpid(), request["kill_with"])
        if number == request["fail_at"]:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(arguments[0]))

    sys.addaudithook(hook)


def _tell(value: dict[str, Any]) -> None:
    os.write(1, json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    serve(sys.argv[1:])
