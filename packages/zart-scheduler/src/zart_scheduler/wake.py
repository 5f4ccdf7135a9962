"""Hints between processes by LISTEN and NOTIFY. They only save waiting: polling is the truth."""

from __future__ import annotations

import asyncio
import contextlib
import logging
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
