"""One attempt of a step: a task or a thread, with a time limit.

A step may swallow its cancellation, block the loop past its deadline, or raise what would stop a worker. None of
that is trusted: late is late by the monotonic clock, and whatever a step raises is its own failure.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context, copy_context
from dataclasses import dataclass
from inspect import iscoroutine
from typing import Any

from zart_core.pulse import Pulse


@dataclass(frozen=True, slots=True)
class Returned:
    """The step returned `value`."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """The step raised `error`."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The step did not end before its deadline; what it did later does not count."""


@dataclass(frozen=True, slots=True)
class Silent:
    """The step sent no sign of life for too long; what it did later does not count."""


Attempted = Returned | Raised | TimedOut | Silent


async def attempt(
    run: Callable[[], Any],
    *,
    is_async: bool,
    deadline: float | None,
    threads: Executor,
    pulse: Pulse,
    clock: asyncio.AbstractEventLoop | None = None,
) -> Attempted:
    """Run one attempt and tell how it ended. Raises only `CancelledError`, and only if somebody cancelled it.

    Args:
        run: Calls the step's function; gives a coroutine if `is_async`.
        is_async: Whether to await it here; else it runs in a thread of `threads`.
        deadline: Time of `clock` after which the attempt counts as timed out; None for never.
        threads: Where sync steps run.
        pulse: Tells when the attempt has been silent for too long.
        clock: The loop whose time counts, if that is not the running loop's.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    clock = clock or loop
    timer, silence = None, _Silence(clock, pulse)
    try:
        async with asyncio.timeout(None) as limit:
            if deadline is not None:
                timer = clock.call_at(deadline, limit.reschedule, loop.time())
            silence.watch(limit)
            if is_async:
                pulse.begin()
                result: Attempted = Returned(await run())
            else:
                result = await loop.run_in_executor(threads, _in_thread, copy_context(), run, pulse)
                if isinstance(result, Returned) and iscoroutine(result.value):
                    result = Returned(await result.value)  # a lambda around an async function, for one
    except asyncio.CancelledError as error:
        if task is not None and task.cancelling():
            raise  # L6: somebody outside wants this task to end
        result = Raised(error)
    except TimeoutError as error:
        result = TimedOut() if limit.expired() else Raised(error)
    except BaseException as error:
        result = Raised(error)
    finally:
        silence.stop()
        if timer is not None:
            timer.cancel()
    if deadline is not None and clock.time() >= deadline:
        return TimedOut()
    if silence.has_come:
        return Silent()
    return Raised(_presentable(result.error)) if isinstance(result, Raised) else result


class _Silence:
    """Ends an attempt by its time limit as soon as it has been silent for too long."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pulse: Pulse) -> None:
        self._loop, self._pulse = loop, pulse
        self._timer: asyncio.TimerHandle | None = None
        self.has_come = False

    def watch(self, limit: asyncio.Timeout) -> None:
        """Begin."""
        if (at := self._pulse.silent_at) < math.inf:
            self._timer = self._loop.call_at(at, self._look, limit)

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, limit: asyncio.Timeout) -> None:
        now = self._loop.time()
        if self._pulse.silent_at > now:
            self.watch(limit)
        elif not limit.expired():
            self.has_come = True
            limit.reschedule(asyncio.get_running_loop().time())


def _in_thread(context: Context, run: Callable[[], Any], pulse: Pulse) -> Attempted:
    """Run a sync step. Whatever it raises is returned: a future that is given StopIteration never resolves."""
    pulse.begin()
    try:
        return Returned(context.run(run))
    except BaseException as error:
        return Raised(error)


def _presentable(error: BaseException) -> BaseException:
    """Return `error`, or in place of StopIteration, which would read as a return value, an error that tells it."""
    if isinstance(error, StopIteration | StopAsyncIteration):
        replacement = RuntimeError(f"the step raised {type(error).__name__}({error})")
        replacement.__cause__ = error
        return replacement
    return error
