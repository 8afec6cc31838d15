"""How far a run is, for who waits at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

# Given what is counted and how many there are, a context whose value is called with how many more
# are done.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]


@contextmanager
def show_progress(is_hidden: bool, unit: str, total: int) -> Iterator[Callable[[int], object]]:
    """A bar of `total` units, as slices, on standard error, where that is a terminal and there is
    one at all; its value is called with the number of them that are newly done.
    """
    if is_hidden or not total or sys.stderr is None or not sys.stderr.isatty():
        yield ignore
        return
    from tqdm import tqdm  # takes as long to load as ten slices

    # No thread of its own: where the memory is exhausted, Python waits for ever for one that died.
    tqdm.monitor_interval = 0
    with tqdm(total=total, unit=unit, leave=False) as bar:
        yield bar.update


def ignore(_told: object) -> None:
    """In place of what nobody sees."""


HIDDEN: Progress = partial(show_progress, True)
