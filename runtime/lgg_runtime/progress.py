"""How far a run is, for who waits at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def show_progress(is_hidden: bool, total: int) -> Iterator[Callable[[int], object]]:
    """A bar of `total` slices on standard error, where that is a terminal; its value is called with
    the number of slices that are newly done.
    """
    if is_hidden or sys.stderr is None or not sys.stderr.isatty():
        yield ignore
        return
    from tqdm import tqdm  # takes as long to load as ten slices

    # No thread of its own: where the memory is exhausted, Python waits for ever for one that died.
    tqdm.monitor_interval = 0
    with tqdm(total=total, unit="slice", leave=False) as bar:
        yield bar.update


def ignore(_told: object) -> None:
    """In place of what nobody sees."""
