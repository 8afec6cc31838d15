"""Why a port cannot be listened on: by a mistake in the settings, or by what may pass; and the
connections to it.
"""

from __future__ import annotations

import errno
import re
import socket
import time
from typing import Any

from lgg_runtime.errors import ResourceError, UsageError
from lgg_runtime.pacs.log import LOG

# A host that the resolver may know later; numbers alone are an address, which is right or wrong.
_NAME = re.compile(r"([A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]*[A-Za-z_-][A-Za-z0-9_-]*\.?")
# An interface that is not up yet, another program that has not ended yet.
_MAY_PASS = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})
_SECONDS_BEFORE_ANOTHER = 1.0


def unusable(where: str, address: str, error: OSError | UnicodeError) -> ResourceError | UsageError:
    """The error to raise: a service manager starts again after a ResourceError alone."""
    if isinstance(error, UnicodeError):
        return UsageError(f"{where} cannot be used (no name of a host)")
    message = f"{where} cannot be used ({error.strerror})"
    is_unknown = isinstance(error, socket.gaierror) and _NAME.fullmatch(address)
    if error.errno in _MAY_PASS or is_unknown:
        return ResourceError(f"{message}; start again when it can")
    if error.errno == errno.EACCES:
        return UsageError(f"{message}; choose one above 1023, or allow CAP_NET_BIND_SERVICE")
    return UsageError(message)


def take_connection(listening: socket.socket) -> tuple[socket.socket, Any]:
    """The next connection and its peer's address. Raises OSError where none can be taken, a second
    later: socketserver passes over it and would try again at once, for as long as one waits.
    """
    try:
        return listening.accept()
    except OSError as error:
        LOG.error("a connection cannot be taken: %s", error.strerror)
        time.sleep(_SECONDS_BEFORE_ANOTHER)
        raise
