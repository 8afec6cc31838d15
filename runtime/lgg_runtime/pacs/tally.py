"""How often each kind of event happened since the start, for the metrics."""

from __future__ import annotations

import threading
from collections import Counter


class Tally:
    """Counts by name and labels, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, name: str, *labels: str) -> None:
        with self._lock:
            self._counts[name, *labels] += 1

    def read(self) -> dict[tuple[str, ...], int]:
        with self._lock:
            return dict(self._counts)
