"""Stop a body from outside, whatever its code does with exceptions (L7)."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Task
from collections.abc import Callable
from typing import Any, NoReturn

from zart_core.bodyloop import BodyLoop
from zart_core.control import Signal, Suspend

log = logging.getLogger("zart")

GRACE = 1.0
"""Seconds that a body's own clean-up may take when it is stopped."""

MAX_UNFINISHED = 20
"""How often, in one go, a body that never waits is interrupted by force, so that it does not hold up the worker."""


class Unwinding:
    """The end of one body that is not its own: the signal that its calls raise, and what is done about its tasks."""

    def __init__(self, loop: BodyLoop, advance: Callable[[], None]) -> None:
        self._loop, self._advance = loop, advance
        self.signal: type[Signal] | None = None
        self.reason: str | None = None
        self.is_over = False
        """Whether nothing of the body is left."""
        self._grace: asyncio.TimerHandle | None = None
        self._signalled: set[Task[Any] | None] = set()

    def seal(self, signal: type[Signal], reason: str | None = None) -> None:
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
    for task in (left := loop.live_tasks()):
        task.cancel()
    if left:
        _settle(loop)
    for task in loop.live_tasks():
        loop.run_inside(loop.branches[task].context, lambda task=task: _close(task))  # type: ignore[misc] # a default binds the loop variable
    for handle in list(loop.timers):
        handle.cancel()
    loop.ready.clear()


def _close(task: Task[Any]) -> None:
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - it is dropped on purpose
    coroutine = task.get_coro()
    try:
        if coroutine is not None:
            coroutine.close()
    except BaseException as error:  # whatever users' clean-up raises
        log.warning("a branch of a body could not be closed: %s: %s", type(error).__name__, error)


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
