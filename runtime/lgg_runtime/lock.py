"""One run at a time in an output folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lgg_runtime.errors import OutputConflictError, ResourceError
from lgg_runtime.writers.atomic import telling_refusal

LOCK_FILE = ".lgg-infer.lock"
# In the file while a run is at work, gone after any end but a sudden death.
_MARK = b"at work\n"


@contextlib.contextmanager
def lock_output(folder: Path, name: str = LOCK_FILE) -> Iterator[bool]:
    """Hold the output folder; the operating system frees the lock of a process that died.

    name: of the lock file, which stays, one for each kind of work that may have a folder alone.

    Yields whether the run before died: the file then still holds its mark. Raises
    OutputConflictError where another run holds the folder, ResourceError where it is read-only or
    on a disk that knows no locks.
    """
    path = folder / name
    with telling_refusal(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:  # the latter on an SMB share
            raise OutputConflictError(
                f"{folder}: another run is writing there; wait for its end or take another folder"
            ) from error
        except OSError as error:  # the disk has no locks, as over a network
            raise ResourceError(
                f"{folder}: cannot be locked: {error.strerror}; choose a folder on another disk"
            ) from error
        with telling_refusal(path):
            died = os.fstat(handle).st_size > 0
            os.write(handle, _MARK)
        try:
            yield died
        finally:
            # Here and below: a disk that is gone refuses either, which the run has told.
            with contextlib.suppress(OSError):
                os.ftruncate(handle, 0)
    finally:
        with contextlib.suppress(OSError):
            os.close(handle)
