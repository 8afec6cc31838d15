"""Make the items of an iterator ahead of time, in one thread, a bounded number early."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")


class _End:
    def __init__(self, error: BaseException | None = None):
        self.error = error


def prefetch(items: Iterable[T], ahead: int) -> Generator[T, None, None]:
    """Yield the items in order, up to `ahead` of them made before they are asked for.

    An exception of the iterator is raised here, in its place. Closing the generator ends the
    thread after the item at hand.
    """
    ready: queue.Queue[T | _End] = queue.Queue(ahead)
    stop = threading.Event()

    def put(item: T | _End) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.2)
            except queue.Full:
                continue

    def fill() -> None:
        end = _End()
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
        except BaseException as error:  # noqa: BLE001  handed over and raised by the consumer
            end = _End(error)
        put(end)

    thread = threading.Thread(target=fill, name="prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()
