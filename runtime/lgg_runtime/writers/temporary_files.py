"""Refusals of the folder for temporary files, which no user chose by name."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lgg_runtime.errors import DISK_FULL, ResourceError
from lgg_runtime.writers.atomic import FREE_SOME, telling_refusal


@contextlib.contextmanager
def telling_temporary_files() -> Iterator[None]:
    """Around work that writes temporary files and no others. Raises ResourceError, which names
    their folder, where the disk is full or refuses one, or where no folder takes them.
    """
    with telling_refusal(Path("TMPDIR")):
        place = tempfile.gettempdir()
    try:
        yield
    except ResourceError as error:
        if not isinstance(error.__cause__, OSError):  # not the disk's: memory, a thread
            raise
        raise ResourceError(f"{place} (TMPDIR): {error}") from error
    except OSError as error:
        full = error.errno in DISK_FULL
        if not full and error.filename is None:  # a library's, or a terminal's
            raise
        reason = FREE_SOME if full else f"cannot be written: {error.strerror}"
        raise ResourceError(f"{place} (TMPDIR): {reason}") from error
