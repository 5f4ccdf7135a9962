from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from zart_scheduler.threads import StepThreads


def test_no_more_threads_run_than_the_limit_and_nothing_is_lost() -> None:
    threads = StepThreads(3)
    gate, lock = threading.Event(), threading.Lock()
    running: list[int] = []
    most = 0

    def work(n: int) -> int:
        nonlocal most
        with lock:
            running.append(n)
            most = max(most, len(running))
        gate.wait(10)
        with lock:
            running.remove(n)
        return n

    futures = [threads.submit(work, n) for n in range(20)]
    gate.set()
    assert [future.result(10) for future in futures] == list(range(20))
    assert 1 <= most <= 3
    assert [threads.submit(work, n).result(10) for n in range(5)] == list(
        range(5)
    )  # idle threads are used again
    threads.shutdown()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_what_a_function_raises_is_its_results_and_the_thread_goes_on(error: BaseException) -> None:
    threads = StepThreads(1)

    def fail() -> None:
        raise error

    assert threads.submit(fail).exception(10) is error
    assert threads.submit(lambda: 42).result(10) == 42
    threads.shutdown()


def test_after_the_end_nothing_new_runs_and_what_waited_is_cancelled() -> None:
    threads = StepThreads(1)
    gate, began = threading.Event(), threading.Event()

    def work() -> bool:
        began.set()
        return gate.wait(10)

    first, second = threads.submit(work), threads.submit(work)
    assert began.wait(10)
    threads.shutdown(cancel_futures=True)
    with pytest.raises(RuntimeError, match="stopped"):
        threads.submit(print)
    gate.set()
    assert first.result(10)
    with pytest.raises(CancelledError):
        second.result(10)


def test_a_function_that_never_returns_does_not_keep_the_process_alive() -> None:
    program = """
import threading
from zart_scheduler.threads import StepThreads
StepThreads(1).submit(threading.Event().wait)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
