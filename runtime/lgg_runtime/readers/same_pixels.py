"""Whether two files hold the same pixels after decoding, a frame at a time.

As a command, `python -m lgg_runtime.readers.same_pixels KEPT`, with the other file as its input:
the exit code is 0 where they do.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import starmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError
from lgg_runtime.readers.dicom_files import load_pydicom
from lgg_runtime.readers.dicom_pixels import without_unused_bits
from lgg_runtime.redact import without_uids

MOST_BYTES = 2 << 30  # of address space, for two files and a decoder
MOST_SECONDS = 30.0


def have_same_pixels(kept: Path, came: bytes) -> bool:
    """Decodes in this process: for native pixels, whose size is checked before they are read.

    Raises what pydicom raises on damage, ValueError for another number of frames.
    """
    read = load_pydicom().dcmread
    from pydicom.pixels.utils import iter_pixels

    def frames_of(opened: Callable[[], Path | BinaryIO]) -> Iterator[npt.NDArray[Any]]:
        header = read(opened(), stop_before_pixels=True)
        # Of a deflated file iter_pixels reads what is not inflated.
        is_deflated = header.file_meta.TransferSyntaxUID.is_deflated
        for frame in iter_pixels(read(opened()) if is_deflated else opened(), raw=True):
            yield without_unused_bits(frame, header)

    frames = (frames_of(lambda: kept), frames_of(lambda: io.BytesIO(came)))
    return all(starmap(np.array_equal, zip(*frames, strict=True)))


def have_same_compressed_pixels(kept: Path, came: bytes) -> bool:
    """Decodes in a process of its own, of bounded memory and time: a codec believes what a
    codestream says of its size. False where that does not suffice.

    Raises InputError in a frozen program or one without a Python interpreter to start: what would
    begin in the place of that process is a host program.
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        raise InputError(
            f"{without_uids(kept.name)}: another file has its SOPInstanceUID, and one of them is "
            "compressed: expected a Python interpreter to compare them, found none in this "
            "program; remove one of them"
        )
    # -P: with -m alone, a module in the folder that the node was started in would run.
    words = [sys.executable, "-P", "-m", __name__, str(kept)]
    # One thread: each more takes address space.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            words, input=came, env=environment, capture_output=True, check=False,
            timeout=MOST_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    sys.exit(not have_same_pixels(Path(sys.argv[1]), sys.stdin.buffer.read()))


if __name__ == "__main__":
    main()
