"""How many patients are done, for who waits at a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def watch_patients(patients: Iterable[T], words: str, progress: bool) -> Iterable[T]:
    """Each of them; `progress` shows a bar meanwhile where standard error is a terminal. words:
    what is done with them.
    """
    hidden = None if progress else True  # None: where standard error is no terminal
    watched: Iterable[T] = tqdm(patients, words, unit="patient", disable=hidden, leave=False)
    return watched
