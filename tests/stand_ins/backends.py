"""Stand-ins for a loaded artifact."""

from __future__ import annotations

import numpy as np

from lgg_runtime.errors import OutOfMemoryError
from stand_ins.artifacts import expected_probability


class NarrowBackend:
    """Computes `expected_probability`, on at most `holds` slices at once; batches: what it saw."""

    provider, device, contract = "cuda", "Stand-in GPU", None

    def __init__(self, holds: int):
        self.holds = holds
        self.batches: list[int] = []
        self.versions: dict[str, str] = {}

    def run(self, slices: np.ndarray) -> np.ndarray:
        self.batches.append(len(slices))
        if len(slices) > self.holds:
            raise OutOfMemoryError("the stand-in's memory does not suffice")
        return expected_probability(slices).astype(np.float32)
