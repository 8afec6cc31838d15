"""A pool of threads that says where one cannot begin, or has died over its task."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest

from lgg_runtime import workers
from lgg_runtime.errors import ResourceError
from lgg_runtime.workers import Workers


def test_results_and_errors_of_the_tasks_come_back() -> None:
    def fail() -> None:
        raise TimeoutError("the task's own")

    with Workers(1) as pool:
        assert pool.wait_for(pool.submit(divmod, 7, 2)) == (3, 1)
        with pytest.raises(TimeoutError, match="the task's own"):
            pool.wait_for(pool.submit(fail))
        assert pool.has_failed(pool.submit(fail))
        assert not pool.has_failed(pool.submit(int))


def test_a_task_that_the_last_thread_ends_as_it_is_looked_for_gives_its_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class EndsLate(Workers):
        @property
        def lives(self) -> bool:
            future.set_result(3)
            return False

    monkeypatch.setattr(workers, "CHECK_S", 0)
    with EndsLate(1) as pool:
        future = Future[int]()
        assert pool.wait_for(future) == 3
        future = Future[int]()
        assert not pool.has_failed(future)


def test_the_end_waits_for_a_thread_whose_start_a_signal_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, begun, go_on, ended = threading.Thread.start, threading.Event(), threading.Event(), []

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        assert begun.wait(10)
        raise KeyboardInterrupt

    def run() -> None:
        begun.set()
        ended.append(go_on.wait(10))

    pool = Workers(1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", interrupted)
        pool.submit(run)
    threading.Timer(0.05, go_on.set).start()
    pool.shutdown(cancel_futures=True)
    assert ended == [True]


def test_all_tasks_have_ended_when_the_first_failure_is_raised() -> None:
    ended: list[int] = []

    def run(number: int) -> None:
        if number == 1:
            raise ValueError("the second")
        ended.append(number)

    with Workers(2) as pool:
        pool.wait_for_all([])
        with pytest.raises(ValueError, match="the second"):
            pool.wait_for_all([pool.submit(run, number) for number in range(5)])
        assert sorted(ended) == [0, 2, 3, 4]


def test_a_task_is_waited_for_as_long_as_its_thread_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CHECK_S", 0.001)
    go_on = threading.Event()
    with Workers(1) as pool:
        future = pool.submit(go_on.wait)
        threading.Timer(0.05, go_on.set).start()
        assert pool.wait_for(future) is True


def test_a_task_whose_thread_is_gone_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CHECK_S", 0.001)
    with Workers(1) as pool:
        monkeypatch.setattr(pool, "_adjust_thread_count", lambda: None)  # no thread ever takes it
        with pytest.raises(ResourceError, match="does not suffice for a thread"):
            pool.wait_for(pool.submit(int))
        assert pool.has_failed(pool.submit(int))


def test_a_thread_that_cannot_begin_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    told = "the memory does not suffice for a thread; free some, or give fewer or smaller slices"
    with Workers(1) as pool, pytest.raises(ResourceError, match=told):
        pool.submit(int)


STARVED = """
import resource, threading
from lgg_runtime.errors import ResourceError
from lgg_runtime.workers import Workers

ended = threading.Thread(target=int)  # its stack is kept, so that the next thread does begin
ended.start()
ended.join()
with open("/proc/self/statm") as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken, taken))
try:
    Workers(1).submit(int)
except ResourceError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
def test_a_thread_without_memory_to_begin_is_an_error_and_no_hang() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARVED], capture_output=True, text=True, check=True, timeout=60
    )
    assert "does not suffice for a thread" in done.stdout


LATE = """
import threading
from lgg_runtime.errors import UsageError
from lgg_runtime.workers import Workers

def work():
    threading.main_thread().join()
    try:
        Workers(1).submit(int)
    except UsageError as error:
        print(error, flush=True)

threading.Thread(target=work).start()
"""


def test_work_that_begins_when_the_main_thread_has_ended_is_told_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"{workers._ENDING}\n"
