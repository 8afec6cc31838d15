"""Threads whose end is noticed: where the memory is exhausted, a thread may die without a word."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Thread, current_thread
from typing import ParamSpec, TypeVar

from lgg_runtime.errors import ResourceError, UsageError
from lgg_runtime.exhausted import SMALLER_INPUT

CHECK_S = 2.0
_THREAD_BYTES = 16 << 20  # its stack of 8 MiB, and what Python needs to begin
_NO_THREAD = f"the memory does not suffice for a thread; free some, or {SMALLER_INPUT}"
_ENDING = "Python is ending; join the threads that segment before the main thread ends"

P = ParamSpec("P")
T = TypeVar("T")


class Workers(ThreadPoolExecutor):
    """A pool that raises ResourceError where its threads cannot begin or have died, and whose end
    waits for every thread: of one whose start a signal interrupted, the pool itself knows nothing.
    """

    def __init__(self, threads: int, name: str = ""):
        begun = self._begun = list[Thread]()
        super().__init__(threads, name, lambda: begun.append(current_thread()))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            for thread in self._begun:
                thread.join()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if len(self._threads) < self._max_workers:
            _require_room()
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError as error:
            if "interpreter shutdown" in str(error):
                raise UsageError(_ENDING) from error
            if "start new thread" not in str(error):
                raise
            raise ResourceError(_NO_THREAD) from error

    def has_failed(self, future: Future[T]) -> bool:
        """Waits for a task; whether it was cancelled, failed, or lies with threads that died."""
        return not self._ends(future) or future.cancelled() or future.exception() is not None

    def wait_for(self, future: Future[T]) -> T:
        """The future's result; of a task that no living thread can finish, ResourceError."""
        if not self._ends(future):
            raise ResourceError(_NO_THREAD)
        return future.result()

    def wait_for_all(self, futures: Sequence[Future[T]]) -> None:
        """Waits until every task has ended, then raises the first failure of them."""
        failed = [future for future in futures if self.has_failed(future)]
        if failed:
            self.wait_for(failed[0])

    @property
    def lives(self) -> bool:
        """Whether any of its threads is left."""
        return any(thread.is_alive() for thread in self._threads)

    def _ends(self, future: Future[T]) -> bool:
        """Waits for a task; False for one that lies with threads that died."""
        while not future.done():
            wait((future,), CHECK_S)
            if not self.lives:
                return future.done()  # the last thread may have ended it just now
        return True


def _require_room() -> None:
    """Python waits for ever for a thread that dies as it begins, so its memory is tried first."""
    try:
        mmap.mmap(-1, _THREAD_BYTES).close()
    except (OSError, MemoryError) as error:
        raise ResourceError(_NO_THREAD) from error
