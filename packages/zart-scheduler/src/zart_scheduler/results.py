"""One waiter for all results that a client waits for: it polls by id in batches and is woken early by NOTIFY.

A waiter costs a future, not a connection or a query of its own. Polling is the truth; a listener that cannot connect,
or a pooler that swallows notifications, only makes it slower.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from zart_core import StoreUnavailable, UsageError
from zart_core.spi import Ending
from zart_scheduler.connections import Connections
from zart_scheduler.store.executions import DONE_CHANNEL
from zart_scheduler.store.reads import find_endings
from zart_scheduler.wake import listen

BATCH = 1000
"""Most ids of one query."""

_SHORTEST, _LONGEST = 0.02, 1.0
"""Seconds between two looks at one execution; they double from the first to the second."""

_OUTAGE = 30.0
"""Seconds without a database after which waiters are told."""

_AGAIN = 0.1
"""Seconds before what does not end is cancelled once more."""

_SHARE = 3
"""After a look the loop rests at least this many times as long as the look took, however many hints come."""


@dataclass(slots=True)
class _Watch:
    """An execution that somebody waits for."""

    due: float
    pause: float = _SHORTEST
    futures: set[asyncio.Future[Ending]] = field(default_factory=set)


class ResultWaiter:
    """Waits for the ends of executions, for any number of callers."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._watches: dict[str, _Watch] = {}
        self._news = asyncio.Event()
        self._hinted = False
        self._failing_since: float | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def wait(self, execution_id: str) -> Ending:
        """Return how the execution's current run ended, when it has. May be cancelled at any time.

        Raises:
            StoreUnavailable: The database was out of reach for 30 seconds.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Ending] = loop.create_future()
        watch = self._watches.setdefault(execution_id, _Watch(loop.time()))
        watch.futures.add(future)
        watch.due = min(watch.due, loop.time())
        self._news.set()
        self._keep_running()
        try:
            return await future
        finally:
            watch.futures.discard(future)
            if not watch.futures and self._watches.get(execution_id) is watch:
                del self._watches[execution_id]

    async def close(self) -> None:
        """End all waits."""
        tasks = set(self._tasks)
        while tasks:
            for task in tasks:
                task.cancel()
            # Once is not enough: before Python 3.12 `wait_for`, which psycopg uses, may lose a cancel.
            _, tasks = await asyncio.wait(tasks, timeout=_AGAIN)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail_all(UsageError("the client was closed while it waited for a result"))

    def _keep_running(self) -> None:
        if not self._tasks:
            listening = listen(self._connections.conninfo, DONE_CHANNEL, self._hint)
            self._tasks.append(asyncio.create_task(listening, name="zart-results-listen"))
            self._tasks.append(asyncio.create_task(self._poll(), name="zart-results-poll"))

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            began = loop.time()
            everything, self._hinted = self._hinted, False
            ids = [key for key, watch in self._watches.items() if everything or watch.due <= began]
            for start in range(0, len(ids), BATCH):
                await self._look(ids[start : start + BATCH])
            await asyncio.sleep((loop.time() - began) * _SHARE if ids else 0)
            await self._rest()

    async def _rest(self) -> None:
        """Wait until something is due, or news come."""
        due = min((watch.due for watch in self._watches.values()), default=None)
        now = asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(due - now, 0.0)):
                await self._news.wait()

    async def _look(self, ids: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            endings = await self._connections.run(find_endings(ids))
            self._failing_since = None
        except StoreUnavailable as error:
            self._failing_since = self._failing_since or loop.time()
            endings = ()
            if loop.time() - self._failing_since >= _OUTAGE:
                self._fail_all(error)
        except Exception as error:
            endings = ()
            self._fail_all(error)
        for ending in endings:
            if watch := self._watches.pop(ending.execution_id, None):
                for future in watch.futures:
                    if not future.done():
                        future.set_result(ending)
        for key in ids:
            watch = self._watches.get(key)
            if (
                watch is not None and watch.due <= began
            ):  # else somebody came meanwhile and wants another look
                watch.due = loop.time() + watch.pause * random.uniform(0.75, 1.25)
                watch.pause = min(watch.pause * 2, _LONGEST)

    def _fail_all(self, error: Exception) -> None:
        watches, self._watches = self._watches, {}
        self._failing_since = None
        for watch in watches.values():
            for future in watch.futures:
                if not future.done():
                    future.set_exception(copy.copy(error))  # a shared one would collect everybody's traceback

    def _hint(self) -> None:
        self._hinted = True
        self._news.set()
