"""Files appear whole or not at all: temporary name, flush to disk, rename."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from lgg_runtime.errors import DISK_FULL, InputError, ResourceError, printable

PART_SUFFIX = ".part"
# Of one part of a path, on every file system in use for data (NAME_MAX of Linux and macOS).
LONGEST_NAME_BYTES = 255
# In no name on a disk or share made for Windows, nor is a device's; which error one answers with
# differs.
_UNFIT_LETTERS = frozenset('<>:"\\|?*') | frozenset(map(chr, range(32)))
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[1-9]) *(\..*)?", re.IGNORECASE | re.DOTALL)
FREE_SOME = "the disk is full; free some space"
_NAME_REFUSED = (errno.EINVAL, errno.ENOENT)


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write so that a reader, or a crash at any moment, sees the old one or the new one.

    It has its name once the block is left without an error.
    Raises ResourceError where the disk is full or refuses the write.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        with telling_refusal(path):
            with part.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
    finally:
        with contextlib.suppress(OSError):  # the write's own error is the one to report
            part.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a whole file as `open_atomically` does.

    data: in one piece, or in several where the whole shall not be held in memory.
    """
    with open_atomically(path) as stream:
        stream.writelines((data,) if isinstance(data, bytes) else data)


def remove(path: Path) -> None:
    """Remove a file that may be there. Raises ResourceError where that cannot be."""
    with telling_refusal(path):
        path.unlink(missing_ok=True)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder with its parents; mode: of the folder, if it is made. Raises ResourceError
    where that cannot be.
    """
    with telling_refusal(path):
        missing = takewhile(lambda parent: not parent.exists(), path.parents)
        for parent in reversed([*missing]):  # mkdir's own `parents` goes by recursion
            parent.mkdir(exist_ok=True)
        path.mkdir(mode, exist_ok=True)


def find_nearest(path: Path) -> Path:
    """It, or the nearest of its parents that is there. Raises ResourceError where it has no such
    name.
    """
    with telling_refusal(path):
        return next(parent for parent in (path, *path.absolute().parents) if parent.exists())


def require_folder(path: Path) -> None:
    """Raises ResourceError where make_folder could not make the folder; nothing is made yet."""
    nearest = find_nearest(path)
    with telling_refusal(path):
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    _require_access(nearest, path)


def require_writable(path: Path) -> None:
    """Raises ResourceError where no file can be made beside `path`, where one may not look into its
    folder, or where a folder stands in its place; asked before long work.
    """
    with telling_refusal(path):
        has_folder = path.parent.is_dir()
    if not has_folder:
        raise ResourceError(
            f"{printable(path.name)}: cannot be written: no folder {printable(str(path.parent))}; "
            "make it first"
        )
    _require_access(path.parent, path)
    with telling_refusal(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def _require_access(folder: Path, path: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        with telling_refusal(path):
            is_read_only = os.statvfs(folder).f_flag & os.ST_RDONLY  # for root, too
        number = errno.EROFS if is_read_only else errno.EACCES
        raise refused(path, OSError(number, os.strerror(number)))


def require_names(names: Iterable[str], folders: Iterable[str] = ()) -> None:
    """Raises InputError, the reason alone, for a name of a file or folder that no file system
    takes.
    """
    taken = (*(name + PART_SUFFIX for name in names), *folders)
    longest = max((len(os.fsencode(name)) for name in taken), default=0)
    if longest > LONGEST_NAME_BYTES:
        raise InputError(
            f"its result would have a name of {longest} bytes, at most {LONGEST_NAME_BYTES} are "
            "possible; shorten the name"
        )


@contextlib.contextmanager
def telling_refusal(path: Path) -> Iterator[None]:
    """Around work on that file or folder. Raises ResourceError, as `refused` words it, where the
    operating system refuses it.
    """
    try:
        yield
    except OSError as error:
        raise refused(path, error) from error


def refused(path: Path, error: OSError) -> ResourceError:
    """The operating system's refusal of a write, in one line with its remedy."""
    full = error.errno in DISK_FULL
    reason = FREE_SOME if full else f"cannot be written: {error.strerror}"
    given = os.fsdecode(error.filename or path)  # path's, or of its folders; TensorBoard's is bytes
    name = Path(given).name.removesuffix(PART_SUFFIX)
    if error.errno in _NAME_REFUSED and (unfit := _find_unfit(name)):
        remedy = f"a disk or share made for Windows takes no name {unfit}; rename it"
        return ResourceError(f"{printable(name)}: {reason}; {remedy}, or choose another disk")
    return ResourceError(f"{printable(path.name)}: {reason}")


def _find_unfit(name: str) -> str:
    """What a disk made for Windows refuses in it; empty where there is nothing."""
    if device := _DEVICE.fullmatch(name):
        return f"of a device as '{device[1]}'"
    found = [f"'{printable(letter)}'" for letter in sorted(_UNFIT_LETTERS.intersection(name))]
    found += [f"'{end}' at the end" for end in ". " if name.endswith(end)]
    return f"with {' or '.join(found)}" if found else ""
