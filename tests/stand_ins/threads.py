"""A backend that several threads use at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

_Run = Callable[[np.ndarray], np.ndarray]


def require_own_answers(run: _Run, inputs: Sequence[np.ndarray], times: int = 60) -> None:
    """Each input has a thread of its own, which must get what it gets alone, every time."""
    alone = [run(slices) for slices in inputs]

    def repeat(index: int) -> list[bool]:
        return [np.array_equal(run(inputs[index]), alone[index]) for _ in range(times)]

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(inputs)) as pool:
            assert all(all(same) for same in pool.map(repeat, range(len(inputs))))
    finally:
        sys.setswitchinterval(usual)
