"""How pynetdicom behaves here: what it keeps to itself, and what it takes for a peer's silence."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any


def set_up_pynetdicom() -> None:
    """No values in logs, and no handlers that would format them. Files are sent as they are, in
    pieces, in place of a data set that is parsed and written anew.

    Its timers go by the monotonic clock. By the machine's, which they ask by default, a clock that
    is set forward would end every open association as that of a peer that stalls, and one that is
    set back would keep a peer that does.
    """
    from pynetdicom import _config, timer

    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    _config.STORE_SEND_CHUNKED_DATASET = True
    clock = vars(time) | {"time": time.monotonic}
    timer.time = SimpleNamespace(**clock)  # type: ignore[assignment, attr-defined]


def hear_before_silence(association: Any) -> None:
    """Have no peer count as silent whose bytes wait to be read: where this process was suspended,
    its own timers ran out before it could look. `dul.was_silent` says what was found last: once a
    peer has been told of its end, it may have closed the connection, which then looks readable.
    """
    dul = association.dul
    timer, dul.was_silent = dul._idle_timer, False

    def is_silent() -> bool:
        # Asked twice: its other thread may have read what waited between the first two.
        dul.was_silent = timer.expired and not dul.socket.ready and timer.expired
        return bool(dul.was_silent)

    dul.idle_timer_expired = is_silent
