"""Files that gzip packed, and the check sum at their end, which who reads the start never sees."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

from lgg_runtime.errors import InputError
from lgg_runtime.readers.regular import open_regular, why_unread

CUT_SHORT = "cut short or damaged; copy the file again"
_MAGIC = b"\x1f\x8b"
_MOST_SURPLUS = 1 << 27  # bytes behind what is wanted that are read for the check sum
_PIECE = 1 << 17


def is_gzip(path: Path) -> bool:
    """By its first bytes. Raises InputError, the reason alone, for a file that cannot be opened."""
    with open_regular(path) as (handle, _):
        return os.read(handle, len(_MAGIC)) == _MAGIC


def require_check_sum(path: Path, wanted: int) -> None:
    """Unpack to the end, in pieces that are dropped. wanted: bytes that are of use.

    Raises InputError, the reason alone, where length or check sum differ, and where more comes
    behind what is wanted than anyone would store there.
    """
    left = wanted + _MOST_SURPLUS
    try:
        with gzip.open(path) as stream:
            while piece := stream.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    most = f"{_MOST_SURPLUS >> 20} MiB"
                    raise InputError(f"goes on for more than {most} behind its voxels")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(why_unread(error, CUT_SHORT)) from error
