"""What makes a worker look before its next poll. It only saves waiting: polling is the truth.

Hints of other processes come by LISTEN and NOTIFY; of the runs that a worker parked itself it knows when they are due.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from zart_scheduler.store.executions import DONE_CHANNEL, READY_CHANNEL, hint
from zart_scheduler.store.statement import run

log = logging.getLogger("zart")

READY = READY_CHANNEL
DONE = DONE_CHANNEL

NOTIFY_PAUSE = 0.05
"""Least seconds between two notifications of one channel by one process."""

MAX_PAUSE = 30.0
"""Longest pause in seconds between two tries to listen."""


MAX_TIMERS = 10_000
"""Most timers of parked runs that are kept in memory."""


class Timers:
    """When parked runs are due, by the host loop's clock."""

    def __init__(self) -> None:
        self._due: list[float] = []

    def add(self, when: float) -> None:
        """Note a moment, unless there are too many."""
        if len(self._due) < MAX_TIMERS:
            heapq.heappush(self._due, when)

    def next(self) -> float:
        """Return the earliest moment; infinity if there is none."""
        return self._due[0] if self._due else math.inf

    def pop_past(self, now: float) -> bool:
        """Forget what is past; return whether anything was."""
        is_due = False
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
            is_due = True
        return is_due


async def listen(conninfo: str, channel: str, on_hint: Callable[[], None]) -> None:
    """Call `on_hint` for every notification, until cancelled. Without a connection that can listen nothing comes."""
    pause = 0.5
    while True:
        try:
            async with await AsyncConnection.connect(
                conninfo, autocommit=True, prepare_threshold=None, application_name="zart-listen"
            ) as connection:
                await connection.execute(f"LISTEN {channel}".encode())
                on_hint()  # something may have happened while nobody listened
                pause = 0.5
                async for _ in connection.notifies():
                    on_hint()
        except psycopg.Error as error:
            log.debug("not listening on %s: %s", channel, error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, MAX_PAUSE)


class Notifier:
    """Sends hints, each channel at most once per NOTIFY_PAUSE, in statements of their own: never in a flush."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._due: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def notify(self, channel: str) -> None:
        """Send a hint soon. It may be lost."""
        self._due.add(channel)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send(), name="zart-notify")

    async def _send(self) -> None:
        while self._due:
            channels, self._due = self._due, set()
            with contextlib.suppress(psycopg.Error, TimeoutError):
                async with self._pool.connection() as connection:
                    for channel in channels:
                        await run(connection, hint(channel))
            await asyncio.sleep(NOTIFY_PAUSE)

    async def close(self) -> None:
        """Send what is due, and no more."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._task, 1)
