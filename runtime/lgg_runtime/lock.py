"""One run at a time in an output folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lgg_runtime.errors import OutputConflictError
from lgg_runtime.writers.atomic import refused

LOCK_FILE = ".lgg-infer.lock"


@contextlib.contextmanager
def lock_output(folder: Path) -> Iterator[None]:
    """Hold the output folder; the operating system frees the lock of a process that died.

    Raises OutputConflictError where another run holds it, ResourceError where it is read-only.
    """
    path = folder / LOCK_FILE
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise refused(path, error) from error
    try:
        if not _try_lock(handle):
            raise OutputConflictError(f"{folder}: another run is writing there; wait for its end")
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
