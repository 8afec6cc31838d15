"""Items made ahead: their order, an error in its place, the bound, and the end of the thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from lgg_train.prefetch import prefetch

DEADLINE_S = 30


class Source:
    """Counts what was asked of it, and tells when the `target`th item is being made."""

    def __init__(self, items: int, target: int = 0):
        self.items, self.target = items, target
        self.made = 0
        self.reached = threading.Event()

    def __iter__(self) -> Iterator[int]:
        for item in range(self.items):
            self.made += 1
            if self.made == self.target:
                self.reached.set()
            yield item


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.mark.parametrize("items", [0, 1, 2, 50])
def test_items_arrive_in_order_and_the_thread_ends(items: int) -> None:
    assert list(prefetch(range(items), 3)) == list(range(items))
    assert running() == []


def test_an_error_is_raised_in_its_place() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("third")

    received = []
    with pytest.raises(LookupError, match="third"):
        for item in prefetch(source(), 4):
            received.append(item)
    assert received == [1, 2]
    assert running() == []


def test_items_are_made_in_another_thread_before_they_are_asked_for() -> None:
    source = Source(10, target=3)
    items = prefetch(source, 2)
    assert source.made == 0
    assert next(items) == 0
    assert source.reached.wait(DEADLINE_S)  # the third, while the first is in use
    items.close()


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_than_the_bound_is_made_ahead(ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    full = threading.Event()

    class WatchedQueue(queue.Queue[object]):
        def put(self, *args: object, **kwargs: object) -> None:
            try:
                super().put(*args, **kwargs)  # type: ignore[arg-type]
            except queue.Full:
                full.set()
                raise

    monkeypatch.setattr(queue, "Queue", WatchedQueue)
    source = Source(1000)
    items = prefetch(source, ahead)
    for taken in (1, 2, 3):
        next(items)
        full.clear()
        assert full.wait(DEADLINE_S)
        # Those in use, those in the queue, and the one that waits for a place in it.
        assert source.made == taken + ahead + 1
    items.close()
    assert source.made == 3 + ahead + 1


def test_closing_ends_the_thread_and_asks_for_nothing_more() -> None:
    source = Source(1000, target=4)
    items = prefetch(source, 2)
    next(items)
    assert source.reached.wait(DEADLINE_S)  # two in the queue, one that waits
    items.close()
    assert running() == []
    assert source.made == 4


def test_an_error_of_the_consumer_ends_the_thread() -> None:
    with pytest.raises(KeyError):
        consume_until_error()
    assert running() == []


def consume_until_error() -> None:
    items = prefetch(range(1000), 2)
    try:
        for item in items:
            raise KeyError(item)
    finally:
        items.close()


def test_closing_before_the_first_item_starts_nothing() -> None:
    source = Source(3)
    prefetch(source, 2).close()
    assert source.made == 0
