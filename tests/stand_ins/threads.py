"""A backend that several threads use at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lgg_runtime.contract import INPUT
from lgg_runtime.volume import Pixels, Probability

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


class Counted:
    """A session that notes how many threads compute at once, its own and others'."""

    def __init__(self, threads: int, busy: list[int], at_once: list[int]):
        self._threads, self._busy, self._at_once = threads, busy, at_once

    def run(self, _: object, feeds: dict[str, Pixels]) -> list[Probability]:
        self._busy.append(self._threads)
        self._at_once.append(sum(self._busy))
        time.sleep(0.002)
        self._busy.remove(self._threads)
        return [np.zeros(feeds[INPUT].shape[:3], np.float32)]
