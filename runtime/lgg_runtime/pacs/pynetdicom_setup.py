"""How pynetdicom behaves in this process: what it keeps to itself, and by which clock it goes."""

from __future__ import annotations

import time
from types import SimpleNamespace


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
