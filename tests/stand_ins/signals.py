"""Ctrl-C at a certain call; what a command sets for signals, put back."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

from lgg_runtime.terminal import ENDING


def break_off(*_: object) -> None:
    """Stands in for a call at which the user gives Ctrl-C."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def keeping_handlers() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in (*ENDING, signal.SIGALRM)}
    hook = sys.unraisablehook
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for each, handler in before.items():
            signal.signal(each, handler)
