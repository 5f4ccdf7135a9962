"""Stop a body from outside, whatever its code does with exceptions (L7)."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Task
from typing import Any

from zart_core.bodyloop import BodyLoop
from zart_core.control import Signal

log = logging.getLogger("zart")

PUMPS = 100
"""Most slices that a body gets to unwind before it is left alone."""


def interrupt(loop: BodyLoop, signal: type[Signal]) -> None:
    """Raise `signal` where each task of the body waits.

    The root goes first: raised in a branch first, it would become data for a `gather(return_exceptions=True)` above.
    """
    _pump(loop)
    for task in loop.live_tasks():
        future = _innermost(task)
        if future is not None and not future.done():
            future.set_exception(signal())
            _pump(loop)


def abandon(loop: BodyLoop) -> None:
    """End what is left: cancel it, then close its coroutines, each in its own context.

    Left to the garbage collector, a `finally` block would run in the context of whoever triggers the collection.
    """
    for task in (left := loop.live_tasks()):
        task.cancel()
    if left:
        _pump(loop)
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
    except RuntimeError as error:
        log.warning("a branch of a body could not be closed: %s", error)


def _innermost(task: Task[Any]) -> asyncio.Future[Any] | None:
    """Return the future at the end of the chain of tasks that `task` waits for."""
    future = task._fut_waiter  # type: ignore[attr-defined] # noqa: SLF001 - asyncio has no public way to it
    while isinstance(future, Task) and not future.done():
        future = future._fut_waiter  # type: ignore[attr-defined] # noqa: SLF001 - as above
    return future if isinstance(future, asyncio.Future) else None


def _pump(loop: BodyLoop) -> None:
    for _ in range(PUMPS):
        if loop.pump():
            return
