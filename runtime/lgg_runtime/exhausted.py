"""Memory that ended outside of a model's run: in Python, NumPy or OpenCV."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lgg_runtime.errors import OutOfMemoryError

# What helps a run, and what helps a load, in which no slice takes part yet.
SMALLER_INPUT, SMALLER_MODEL = "give fewer or smaller slices", "free some, or take a smaller model"
# cv2.Error.StsNoMem in the text: `code` is that of the class, of the last error in any thread.
_OPENCV_S = "(-4:"


def is_memory_exhausted(error: Exception) -> bool:
    """Whether it says that the memory does not suffice; OpenCV's exception is no MemoryError."""
    is_of_opencv = type(error).__module__ == "cv2"
    return isinstance(error, MemoryError) or (is_of_opencv and _OPENCV_S in str(error))


@contextlib.contextmanager
def telling_exhausted_memory(remedy: str = SMALLER_INPUT) -> Iterator[None]:
    """Around work that may exhaust the memory. Raises OutOfMemoryError where it does."""
    try:
        yield
    except Exception as error:
        if not is_memory_exhausted(error):
            raise
        raise OutOfMemoryError(f"memory exhausted; {remedy}") from error
