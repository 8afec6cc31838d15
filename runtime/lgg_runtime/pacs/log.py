"""The node's own log lines, and silence for the libraries that would quote a header."""

from __future__ import annotations

import logging
import sys
import threading
from datetime import datetime

from lgg_runtime.extras import keep_silent

LOG = logging.getLogger("lgg_node")
_QUOTE_VALUES = (
    "pynetdicom", "pydicom", "highdicom", "dicomweb_client", "urllib3", "requests",
)  # fmt: skip


class _Formatter(logging.Formatter):
    """Times are this machine's, with their zone: as summer time ends, an hour comes twice."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        when = datetime.fromtimestamp(record.created).astimezone()
        return when.isoformat(" ", "milliseconds")


def set_up_log(level: str) -> None:
    """Lines of the node alone go to standard error; an uncaught error is told by its type."""
    for package in _QUOTE_VALUES:
        keep_silent(package)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.handlers[:] = [handler]
    LOG.propagate = False
    LOG.setLevel(level.upper())
    threading.excepthook = _tell_type


def _tell_type(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "a thread"
    LOG.error("%s ended: %s", name.split("@")[0], args.exc_type.__name__)
