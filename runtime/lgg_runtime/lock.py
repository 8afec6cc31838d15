"""One run at a time in an output folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lgg_runtime.errors import OutputConflictError, ResourceError
from lgg_runtime.writers.atomic import refused

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
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise refused(path, error) from error
    try:
        try:
            is_ours = _try_lock(handle)
        except OSError as error:
            raise ResourceError(
                f"{folder}: cannot be locked: {error.strerror}; choose a folder on another disk"
            ) from error
        if not is_ours:
            raise OutputConflictError(
                f"{folder}: another run is writing there; wait for its end or take another folder"
            )
        died = os.fstat(handle).st_size > 0
        try:
            os.write(handle, _MARK)
        except OSError as error:
            raise refused(path, error) from error
        try:
            yield died
        finally:
            with contextlib.suppress(OSError):  # of a disk that is gone, which the run has told
                os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    """Whether the lock was free. Raises OSError where the disk has none, as over a network."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
