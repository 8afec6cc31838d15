"""Why a port cannot be listened on: by a mistake in the settings, or by what may pass."""

from __future__ import annotations

import errno
import socket

from lgg_runtime.errors import ResourceError, UsageError

# An interface that is not up yet, another program that has not ended yet.
_MAY_PASS = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})


def unusable(where: str, error: OSError) -> ResourceError | UsageError:
    """The error to raise: a service manager starts again after a ResourceError alone."""
    message = f"{where} cannot be used ({error.strerror})"
    if error.errno in _MAY_PASS or isinstance(error, socket.gaierror):
        return ResourceError(f"{message}; start again when it can")
    return UsageError(message)
