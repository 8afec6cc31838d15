"""The handlers of signals that a command sets, put back."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from lgg_runtime.terminal import ENDING


@contextlib.contextmanager
def keeping_handlers() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in ENDING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
