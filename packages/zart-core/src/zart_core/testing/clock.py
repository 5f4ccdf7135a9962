"""A clock that stands still until it is moved, over the event loop of the test.

The engine sees an event loop: its time and its timers are the clock's, everything else is the running loop's. So what
really takes time (a step's own I/O, a thread) takes it, and no time passes on the clock.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, cast


class Clock:
    """Virtual time in seconds since the test began, and the timers on it. `loop` is how the engine sees it."""

    def __init__(self, real: AbstractEventLoop, start: datetime) -> None:
        self.real, self.start = real, start
        self.moves = 0
        """Grows whenever the engine asks for something to be done, now or later."""
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._soon: set[asyncio.Handle] = set()

    @property
    def loop(self) -> AbstractEventLoop:
        """The clock as an event loop."""
        return cast("AbstractEventLoop", self)

    @property
    def is_busy(self) -> bool:
        """Whether callbacks wait to be run by the loop's next turn."""
        return any(not handle.cancelled() for handle in self._soon)

    def now(self) -> datetime:
        """Return the clock's time, aware and in UTC."""
        return self.moment(self._now)

    def moment(self, seconds: float) -> datetime:
        """Return a time of the clock as people write it."""
        return self.start + timedelta(seconds=seconds)

    def seconds(self, moment: datetime) -> float:
        """Return the time of the clock at that moment."""
        return (moment.astimezone(UTC) - self.start).total_seconds()

    def next(self) -> float | None:
        """Return when the next timer is due; None if there is none."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def move(self, when: float) -> None:
        """Let it be `when`, unless that is past, and fire what is due by then."""
        self._now = max(when, self._now)
        self._fire()

    def _fire(self) -> None:
        while (when := self.next()) is not None and when <= self._now:
            handle = heapq.heappop(self._timers)[2]
            handle._run()  # noqa: SLF001 - as an event loop does

    # -- what the engine uses of an event loop

    def time(self) -> float:
        """Return the clock's time."""
        return self._now

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback` when the clock is moved to `when` or past it."""
        self.moves += 1
        handle = asyncio.TimerHandle(when, callback, args, self.loop, context)
        heapq.heappush(self._timers, (when, self.moves, handle))
        if when <= self._now:
            self.call_soon(self._fire)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback` when the clock is moved by `delay` seconds or more."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run `callback` in the next turn of the real loop."""

        def run() -> None:
            self._soon.discard(handle)
            callback(*args)

        self.moves += 1
        handle = self.real.call_soon(run, context=context)
        self._soon.add(handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is dropped when it is due."""

    def __getattr__(self, name: str) -> Any:
        """All else is the real loop's."""
        return getattr(self.real, name)
