"""lgg-node as a process of its own, which may be killed and started again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from lgg_runtime.pacs.config import load_config
from lgg_runtime.pacs.spool import DATABASE
from lgg_runtime.pacs.state import State
from lgg_runtime.pacs.status import read_status

COMMAND = (sys.executable, "-m", "lgg_runtime.pacs.cli")


def wait_until(holds: Callable[[], bool], most_seconds: float, what: str) -> None:
    """Look at another process until something holds there; fails after a long time."""
    pause = threading.Event()
    until = time.monotonic() + most_seconds
    while not holds():
        assert time.monotonic() < until, f"not within {most_seconds} s: {what}"
        pause.wait(0.1)


class NodeProcess:
    """Its lines go to one log over all starts."""

    def __init__(self, config: Path, log: Path):
        self.config, self.log = config, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it listens."""
        before = self._starts()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "run", "--config", str(self.config)], stdout=log, stderr=log
            )
        wait_until(lambda: self._starts() > before or self._has_ended(), 120, "the node listens")
        assert not self._has_ended(), self.log.read_text()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """By a signal; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    def end(self) -> None:
        if self._process is not None and not self._has_ended():
            self.kill()

    def status(self) -> dict[str, Any]:
        """What `lgg-node status --json` prints, without the cost of a process."""
        config = load_config(self.config)
        with closing(State(config.node.spool / DATABASE)) as state:
            return read_status(state, config)

    def call(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        words = [*COMMAND, command, "--config", str(self.config), *more]
        return subprocess.run(words, capture_output=True, text=True, check=True)

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _starts(self) -> int:
        return self.log.read_text().count("listening on port") if self.log.exists() else 0
