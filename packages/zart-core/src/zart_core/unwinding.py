"""Stop a body from outside, whatever its code does with exceptions (L7)."""

from __future__ import annotations

import asyncio
import ctypes
import logging
from asyncio import Task
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from zart_core.bodyloop import BodyLoop
from zart_core.control import Signal, Suspend
from zart_core.records import DivergenceDetails

log = logging.getLogger("zart")

GRACE = 1.0
"""Seconds that a body's own clean-up may take when it is stopped."""

MAX_UNFINISHED = 20
"""How often, in one go, a body that never waits is interrupted by force, so that it does not hold up the worker."""

MAX_ROUNDS = 3
"""How often what is left is ended: closing a branch may drop a generator, and that begins another task."""

MAX_CLOSES = 20
"""How often a branch is closed that waits again and again in its clean-up."""


class Unwinding:
    """The end of one body that is not its own: the signal that its calls raise, and what is done about its tasks."""

    def __init__(self, loop: BodyLoop, advance: Callable[[], None]) -> None:
        self._loop, self._advance = loop, advance
        self.signal: type[Signal] | None = None
        self.reason: str | DivergenceDetails | None = None
        self.is_over = False
        """Whether nothing of the body is left."""
        self._grace: asyncio.TimerHandle | None = None
        self._signalled: set[Task[Any] | None] = set()

    def seal(self, signal: type[Signal], reason: str | DivergenceDetails | None = None) -> None:
        """Let nothing of the body count any more; its calls raise `signal`. The first seal stands."""
        if self.signal is None:
            self.signal, self.reason = signal, reason

    async def refuse(self) -> NoReturn:
        """Raise the signal once in each task; after that never return."""
        task = asyncio.current_task()
        if task in self._signalled:
            await self._loop.create_future()
        self._signalled.add(task)
        assert self.signal is not None  # noqa: S101 - only called when sealed
        raise self.signal

    def proceed(self) -> None:
        """Raise the signal into every wait, or let go on what the body does about it; that gets a grace."""
        if self.is_over or self.signal is None:
            return
        if self._grace is None:
            interrupt(self._loop, self.signal)
        else:
            self._loop.pump()
        if self._loop.is_quiescent or not self._loop.live_tasks():
            self._drop()
            return
        if self._grace is None:
            self._grace = self._loop.host.call_later(GRACE, self._expire)
        if self._loop.ready:
            self._loop.host.call_soon(self._advance)

    def close_branches(self) -> None:
        """The body has ended by itself: end the branches that outlive it. What they do counts no more."""
        for task in self._loop.branches:
            if task.done() and task._log_traceback:  # noqa: SLF001 - nobody asked for it
                task._log_traceback = False  # noqa: SLF001 - asyncio would, but too late
                log.error(
                    "a task in %r failed and nobody awaited it", self._loop.body, exc_info=task.exception()
                )
        self.signal = Suspend
        interrupt(self._loop, Suspend)
        self._drop()
        self.signal = None

    def _expire(self) -> None:
        if not self.is_over:
            self._drop()
            self._advance()

    def _drop(self) -> None:
        self.is_over = True
        if self._grace is not None:
            self._grace.cancel()
        abandon(self._loop)


def interrupt(loop: BodyLoop, signal: type[Signal]) -> None:
    """Raise `signal` where each task of the body waits.

    The root goes first: raised in a branch first, it would become data for a `gather(return_exceptions=True)` above.
    """
    loop.is_unwinding = True
    unfinished = _settle(loop)
    for task in loop.live_tasks():
        future = _innermost(task)
        if future is not None and not future.done():
            future.set_exception(signal())
            if unfinished < MAX_UNFINISHED:
                unfinished += _settle(loop)


def abandon(loop: BodyLoop) -> None:
    """End what is left: cancel it, then close its coroutines, each in its own context.

    Left to the garbage collector, a `finally` block would run in the context of whoever triggers the collection.
    """
    loop.is_unwinding = True
    for _ in range(MAX_ROUNDS):
        if not (left := loop.live_tasks()):
            break
        for task in left:
            task.cancel()
        _settle(loop)
        for task in loop.live_tasks():
            loop.run_inside(task, partial(_close, task))
            loop.branches.pop(task)
    for handle in list(loop.timers):
        handle.cancel()
    loop.ready.clear()


def _close(task: Task[Any]) -> None:
    """Close a branch from the inside out: closed as a whole, what it awaits would be left to the collector."""
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - it is dropped on purpose
    awaited: Any = task.get_coro()
    chain = []
    while hasattr(awaited, "close"):
        chain.append(awaited)
        awaited = getattr(awaited, "cr_await", None)
    for coroutine in reversed(chain):
        _close_one(coroutine)


def _close_one(coroutine: Any) -> None:
    """Close a coroutine, over and over if its clean-up waits for something: nothing will come any more."""
    for _ in range(MAX_CLOSES):
        try:
            coroutine.close()
            return
        except (
            BaseException
        ) as error:  # it waits again ("ignored GeneratorExit"), or whatever clean-up raises
            reason = error
    log.warning(
        "a branch of a body cannot be closed and stays in memory: %s: %s", type(reason).__name__, reason
    )
    # The collector would close it once more, outside any body: its calls would run for good, or it would never return.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(coroutine))


def _innermost(task: Task[Any]) -> asyncio.Future[Any] | None:
    """Return the future at the end of the chain of tasks that `task` waits for."""
    future = task._fut_waiter  # type: ignore[attr-defined] # noqa: SLF001 - asyncio has no public way to it
    while isinstance(future, Task) and not future.done():
        future = future._fut_waiter  # type: ignore[attr-defined] # noqa: SLF001 - as above
    return future if isinstance(future, asyncio.Future) else None


def _settle(loop: BodyLoop) -> int:
    """Let the body run until it waits; return how many slices it was cut off in, at most MAX_UNFINISHED."""
    for unfinished in range(MAX_UNFINISHED):
        if loop.pump():
            return unfinished
    return MAX_UNFINISHED
