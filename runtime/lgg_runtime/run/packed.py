"""Many small values of one kind, kept compressed: what a run records of each of its slices."""

from __future__ import annotations

import marshal
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_TOGETHER = 256


class Packed(Generic[T]):
    """Dataclasses in the order in which they came; iteration gives equal ones, not the same.

    build: makes a value from its fields, in which nested dataclasses are tuples.
    A signal that ends a call anywhere leaves the values complete, each once.
    """

    def __init__(self, build: Callable[..., T]) -> None:
        self._build = build
        self._held: tuple[list[bytes], list[T]] = ([], [])

    @property
    def last(self) -> T | None:
        """The very value that came last."""
        latest = self._held[1]
        return latest[-1] if latest else None

    def append(self, value: T) -> None:
        packed, latest = self._held
        latest.append(value)
        if len(latest) > _TOGETHER:
            older: list[Any] = latest[:_TOGETHER]
            data = zlib.compress(marshal.dumps([astuple(value) for value in older]), 1)
            self._held = ([*packed, data], latest[_TOGETHER:])

    def __iadd__(self, values: Iterable[T]) -> Packed[T]:
        for value in values:
            self.append(value)
        return self

    def __iter__(self) -> Iterator[T]:
        packed, latest = self._held
        for data in packed:
            yield from (self._build(*fields) for fields in marshal.loads(zlib.decompress(data)))
        yield from latest

    def __len__(self) -> int:
        packed, latest = self._held
        return len(packed) * _TOGETHER + len(latest)
