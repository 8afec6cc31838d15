"""Open regular files alone, without ever waiting: a pipe without a writer would block for ever."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lgg_runtime.errors import InputError

# A regular file is not delayed by O_NONBLOCK.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_MOST_TEXT = 64 * 2**20
_NO_FILE = frozenset({errno.ENXIO, errno.ENODEV, errno.EISDIR})  # of sockets, devices, folders


class IrregularFileError(InputError):
    """A folder, pipe, socket or device where a file was expected."""

    def __init__(self) -> None:
        super().__init__("expected a regular file, found a folder, pipe, socket or device")


def why_unread(error: BaseException, damage: str) -> str:
    """Why a file could not be read: what the system said, or, where it was the bytes, `damage`."""
    refused = error.strerror if isinstance(error, OSError) else None
    return f"cannot be read: {refused}" if refused else damage


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """A handle to read from and the file's status; an OSError of the block becomes an InputError.

    Raises InputError, the reason alone, for what cannot be opened or read, IrregularFileError for
    what is no regular file.
    """
    try:
        handle = os.open(path, _OPEN_FLAGS)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _NO_FILE:
            raise IrregularFileError from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot be opened: {reason}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise IrregularFileError
        yield handle, status
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from error
    finally:
        with suppress(OSError):  # of a disk that is gone: what was read is whole, or told
            os.close(handle)


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a regular file, all of one moment.

    Raises InputError, the reason alone, for one of more than `most` bytes, for one that changes
    meanwhile, and as `open_regular` does.
    """
    with open_regular(path) as (handle, before):
        if before.st_size > most:
            raise InputError(f"holds {before.st_size} bytes; at most {most} are read")
        with open(handle, "rb", closefd=False) as file:
            data = file.read(before.st_size + 1)
        after = os.fstat(handle)
    if len(data) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
        raise InputError("changed while it was read; try again once it is written")
    return data


def read_text(path: Path) -> str:
    """`Path.read_text` in UTF-8, which ends: of a file, or of a pipe, such as `<(jq ...)` gives;
    of a pipe that nobody writes to, nothing.

    Raises OSError and UnicodeDecodeError as that does, and OSError for a device, or for more than
    64 MiB.
    """
    with open(path, "rb", opener=lambda name, _: os.open(name, _OPEN_FLAGS)) as file:
        kind = os.fstat(file.fileno()).st_mode
        if stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
            raise OSError(errno.EINVAL, "a device; expected a file or a pipe")
        os.set_blocking(file.fileno(), True)  # else what is not written yet is an error
        data = file.read(_MOST_TEXT + 1)
    if len(data) > _MOST_TEXT:
        raise OSError(errno.EFBIG, f"more than {_MOST_TEXT} bytes")
    return io.TextIOWrapper(io.BytesIO(data), "utf-8").read()
