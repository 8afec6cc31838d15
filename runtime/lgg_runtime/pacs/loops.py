"""A thread that does one thing again and again until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lgg_runtime.errors import LggError
from lgg_runtime.pacs.log import LOG

LONGEST_WAIT_SECONDS = 0.5
WAIT_AFTER_ERROR_SECONDS = 5.0


class Loop:
    """Calls `step` until stopped.

    A step returns how many seconds to wait before the next, unless the loop is woken; None where
    it had nothing to do, for LONGEST_WAIT_SECONDS. An error is logged and ends no loop: the next
    step follows after WAIT_AFTER_ERROR_SECONDS.
    """

    def __init__(self, name: str, step: Callable[[], float | None]):
        self.name = name
        self.failure = ""  # of the last step; empty where it went well
        self.step = step
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Take the next step now."""
        self._wake.set()

    def tell_to_stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    def join(self, most_seconds: float) -> bool:
        """Wait for the step at hand to end; whether it did."""
        if self._thread.ident is not None:
            self._thread.join(most_seconds)
        return not self._thread.is_alive()

    @property
    def is_well(self) -> bool:
        return self._thread.is_alive() and not self.failure

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                wait = self.step()
                self.failure = ""
            except LggError as error:
                wait = self._tell(str(error))
            except Exception as error:  # noqa: BLE001  one bad study or peer must not end the node
                wait = self._tell(type(error).__name__)
            if not self._stopping.is_set():
                self._wake.wait(LONGEST_WAIT_SECONDS if wait is None else wait)

    def _tell(self, failure: str) -> float:
        if failure != self.failure:
            LOG.error("%s: %s", self.name, failure)
        self.failure = failure
        return WAIT_AFTER_ERROR_SECONDS
