"""Within the memory that there is: a backend that goes on with smaller batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lgg_runtime.errors import OutOfMemoryError
from lgg_runtime.volume import Pixels, Probability

if TYPE_CHECKING:
    from lgg_runtime.backends import Backend


def is_memory_limited() -> bool:
    """Whether the process may not take all of the machine's memory (`ulimit -v` or `-d`)."""
    try:
        import resource
    except ImportError:  # not on this operating system
        return False
    limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    return any(resource.getrlimit(each)[0] != resource.RLIM_INFINITY for each in limits)


class WithinMemory:
    """A Backend over another: a run that exhausts the memory is repeated in halves.

    inner: the other, which does the work; largest_batch: what still fits, None as long as
    everything did; it stays for later runs.
    """

    def __init__(self, backend: Backend):
        self.inner = backend
        self.contract, self.provider = backend.contract, backend.provider
        self.device, self.versions = backend.device, backend.versions
        self.largest_batch: int | None = None

    def run(self, slices: Pixels) -> Probability:
        """As Backend.run. Raises OutOfMemoryError where not even one slice fits."""
        parts: list[Probability] = []
        done = 0
        while done < len(slices):
            step = min(self.largest_batch or len(slices), len(slices) - done)
            try:
                parts.append(self.inner.run(slices[done : done + step]))
            except OutOfMemoryError:
                if step == 1:
                    raise
                # Another thread may have found meanwhile that less fits.
                self.largest_batch = min(self.largest_batch or step, step // 2)
                continue
            done += step
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
