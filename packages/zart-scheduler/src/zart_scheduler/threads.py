"""The threads in which sync steps run: as many as are needed up to a limit, and none of them keeps a process alive.

The executor of the standard library joins its threads when the interpreter exits: a step that never returns would
hold up a worker that has stopped, has handed its runs back and has nothing left to do.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class StepThreads(Executor):
    """At most `limit` daemon threads. What waits for one is bounded by the worker's own limit of active runs."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._condition = threading.Condition()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads = self._idle = 0
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn` in a thread, as soon as one is free."""
        future: Future[T] = Future()
        with self._condition:
            if self._closed:
                raise RuntimeError("the worker has stopped: no thread runs steps any more")
            self._waiting.append((future, partial(fn, *args, **kwargs)))
            if self._idle >= len(self._waiting):
                self._condition.notify()
            elif self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=f"zart-step-{self._threads}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as inherited
        """Take nothing more. Threads end after what they do; nobody waits for them."""
        with self._condition:
            self._closed = True
            if cancel_futures:
                for future, _ in self._waiting:
                    future.cancel()
            self._condition.notify_all()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            future, fn = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = fn()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del task, future, fn

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._condition:
            self._idle += 1
            while not self._waiting and not self._closed:
                self._condition.wait()
            self._idle -= 1
            return self._waiting.popleft() if self._waiting else None
