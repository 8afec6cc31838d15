"""The node's own log lines, and silence for the libraries that would quote a header."""

from __future__ import annotations

import logging
import os
import sys
import threading
from datetime import datetime

from lgg_runtime.extras import keep_silent

LOG = logging.getLogger("lgg_node")
_QUOTE_VALUES = (
    "pynetdicom", "pydicom", "highdicom", "dicomweb_client", "urllib3", "requests",
)  # fmt: skip
# As journald takes them from the beginning of a line: sd-daemon(3).
_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3}


class _Formatter(logging.Formatter):
    """Times are this machine's, with their zone: as summer time ends, an hour comes twice."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        when = datetime.fromtimestamp(record.created).astimezone()
        return when.isoformat(" ", "milliseconds")


class _JournalFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES[record.levelname]}>{super().format(record)}"


def set_up_log(level: str) -> None:
    """Lines of the node alone go to standard error, each with its priority where that is the
    journal; an uncaught error is told by its type.
    """
    for package in _QUOTE_VALUES:
        keep_silent(package)
    handler = logging.StreamHandler(sys.stderr)
    formatter = _JournalFormatter if _is_journal() else _Formatter
    handler.setFormatter(formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.handlers[:] = [handler]
    LOG.propagate = False
    LOG.setLevel(level.upper())
    threading.excepthook = _tell_type


def _is_journal() -> bool:
    """Whether standard error is the stream that systemd opened to the journal (systemd.exec(5)); it
    may be a file or a pipe that a command of the service put in its place.
    """
    told = os.environ.get("JOURNAL_STREAM")
    if told is None:
        return False
    found = os.fstat(2)
    return told == f"{found.st_dev}:{found.st_ino}"


def _tell_type(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "a thread"
    LOG.error("%s ended: %s", name.split("@")[0], args.exc_type.__name__)
