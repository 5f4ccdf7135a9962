"""One life of a worker: a worker row, its lease, and the runs that it owns under it.

It ends when the lease is lost; the worker then begins another, with a new id and empty hands (L4).
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
import random
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from zart_core import Registry, WorkflowNotFound
from zart_core.spi import (
    ActiveRun,
    DeadlinePassed,
    Item,
    Left,
    RunCancelled,
    reach,
)
from zart_scheduler import claim, sweeper
from zart_scheduler.checkpoint import CONNECTION_LOST, RETRYABLE, CheckpointWriter, Fenced
from zart_scheduler.config import WorkerConfig
from zart_scheduler.lease import Lease
from zart_scheduler.store import tasks, workers
from zart_scheduler.store.statement import Statement
from zart_scheduler.store.statement import run as execute
from zart_scheduler.wake import DONE, READY, Notifier

log = logging.getLogger("zart")

JITTER = 0.2
"""A poll comes up to this part of its interval earlier or later."""


class Incarnation:
    """Claims runs, keeps them going, and gives them back."""

    def __init__(
        self,
        conninfo: str,
        pool: AsyncConnectionPool[AsyncConnection[Any]],
        registry: Registry,
        config: WorkerConfig,
    ) -> None:
        self.id = uuid4()
        self.loop = asyncio.get_running_loop()
        self.threads = ThreadPoolExecutor(config.threads, thread_name_prefix="zart-step")
        self.max_payload = config.max_payload_bytes
        self._conninfo, self._pool, self._registry, self._config = conninfo, pool, registry, config
        self._handlers = claim.handlers(registry)
        self._active: dict[str, ActiveRun] = {}
        self._loading = 0
        self._parked: OrderedDict[str, ActiveRun] = OrderedDict()
        self._due: list[float] = []
        self._wake = asyncio.Event()
        self._more = False
        self._look_asked = False
        self._draining = False
        self._emptied = asyncio.Event()
        self._lost: str | None = None
        self._notifier = Notifier(pool)
        self._lease = Lease(conninfo, self.id, config.lease_seconds, self._lease_lost)
        self._looked = False
        self.on_ready: Callable[[], None] = lambda: None
        """Called when it has looked for work once."""
        self._writer = CheckpointWriter(
            self._connect,
            self.id,
            is_valid=lambda: self._lease.is_valid,
            on_due=self._expect,
            on_ended=lambda: self._notifier.notify(DONE),
        )

    # -- what its runs need (zart_core.host.Host)

    def put(self, item: Item) -> None:
        """Write `item` with the next flush."""
        self._writer.put(item)

    def left(self, run: ActiveRun, why: Left) -> None:
        """Free the run's slot; keep a parked body as a cache."""
        if self._active.get(run.id) is run:
            del self._active[run.id]
        if why is Left.PARKED and self._config.max_parked and not self._draining:
            self._parked[run.id] = run
            while len(self._parked) > self._config.max_parked:
                self._parked.popitem(last=False)[1].evict()
        elif why is Left.PARKED:
            self.loop.call_soon(run.evict)
        else:
            self._parked.pop(run.id, None)
        if why is Left.RELEASED:
            self.loop.call_soon(run.evict)
            self._notifier.notify(READY)
        if self._more:
            self._wake.set()
        if not self._active:
            self._emptied.set()

    def look(self) -> None:
        """Look soon whether a run is to be stopped, or something has come for it."""
        self._look_asked = True
        self._wake.set()

    async def now(self) -> datetime:
        """Return the database's time."""
        moment: datetime = await self._query(
            Statement("SELECT clock_timestamp()", {}, lambda rows: rows[0][0])
        )
        return moment.astimezone(UTC)

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return random.random()

    # -- life

    async def run(self) -> None:
        """Work until cancelled or drained.

        Raises:
            Fenced: The lease is lost; everything in memory was dropped.
        """
        registered_at = time.monotonic()
        await self._register()
        self._lease.start(registered_at)
        jobs = [
            asyncio.create_task(self._writer.run(), name="zart-writer"),
            asyncio.create_task(self._poll(), name="zart-poll"),
            asyncio.create_task(self._sweep(), name="zart-sweep"),
            asyncio.create_task(self._drained(), name="zart-drain"),
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            await self._close()

    async def _close(self) -> None:
        self._lease.stop()
        self._writer.drop_all()
        for run in [*self._active.values(), *self._parked.values()]:
            run.lost()
        if self._lease.is_valid:
            try:
                await self._query(workers.retire(self.id))
            except psycopg.Error as error:
                log.debug("the worker row stays until its lease is over: %s", error)
        await self._notifier.close()
        self.threads.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Look for work now: somebody has hinted that there is some."""
        self._more = self._look_asked = True
        self._wake.set()

    def drain(self) -> None:
        """Claim nothing more; finish the steps that run, and hand everything back."""
        if not self._draining:
            self._draining = True
            for run in list(self._active.values()):
                run.drain()
            self._wake.set()
            self._emptied.set()

    async def _drained(self) -> None:
        while not self._draining:
            await self._emptied.wait()
            self._emptied.clear()
        try:
            async with asyncio.timeout(self._config.drain_seconds):
                await self._until_empty()
        except TimeoutError:
            log.warning(
                "%d runs had steps running after the drain timeout; they are handed back", len(self._active)
            )
            for run in list(self._active.values()):
                run.abort_steps()
            try:
                async with asyncio.timeout(self._config.lease_seconds):
                    await self._until_empty()
            except TimeoutError:
                log.warning(
                    "%d runs could not be handed back; another worker takes them over", len(self._active)
                )

    async def _until_empty(self) -> None:
        while self._active or self._loading:
            self._emptied.clear()
            await self._emptied.wait()

    def _lease_lost(self, reason: str) -> None:
        """Called by the lease's thread."""
        self.loop.call_soon_threadsafe(self._lose, reason)

    def _lose(self, reason: str) -> None:
        self._lost = reason
        self._wake.set()

    # -- claiming

    async def _poll(self) -> None:
        while True:
            timeout = self._until_next_poll()
            try:
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
                due = False
            except TimeoutError:
                due = True
            self._wake.clear()
            if self._lost is not None:
                raise Fenced(self._lost)
            try:
                await self._look_for_work(due=due)
            except (*CONNECTION_LOST, *RETRYABLE, TimeoutError) as error:
                log.warning(
                    "looking for work failed and is tried again: %s", str(error).strip().partition("\n")[0]
                )
            if not self._looked:
                self._looked = True
                self.on_ready()

    def _until_next_poll(self) -> float:
        if not self._looked:
            return 0
        interval = self._config.poll_seconds * random.uniform(1 - JITTER, 1 + JITTER)
        if self._due:
            interval = min(interval, self._due[0] - self.loop.time())
        return max(interval, 0)

    async def _look_for_work(self, *, due: bool) -> None:
        now = self.loop.time()
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
        if due:
            async with self._pool.connection() as connection:
                await sweeper.fire_due(connection)
        if self._active and (due or self._look_asked):
            self._look_asked = False
            await self._look_at_active()
        if due or self._more:
            await self._claim()

    async def _look_at_active(self) -> None:
        for found in await self._query(tasks.look(self.id)):
            run = self._active.get(str(found.run_id))
            if run is None or run.epoch != found.epoch:
                continue
            if found.cancel:
                run.stop(RunCancelled, found.cancel_reason)
            elif found.overdue:
                run.stop(DeadlinePassed)
            elif found.news:
                run.collect()

    async def _claim(self) -> None:
        """Claim while there are free slots and more to claim."""
        self._more = True
        while self._more and not self._draining and self._lease.renewed:
            free = self._config.concurrency - len(self._active) - self._loading
            if free <= 0:
                return
            reach("before-claim")
            statement = tasks.claim(
                self.id, uuid4(), queues=self._config.queues, handlers=self._handlers, limit=free
            )
            claimed = await self._writer.between_flushes(statement)
            if claimed is None:
                raise Fenced("another worker has taken its runs over")
            self._more = len(claimed) == free
            if claimed:
                reach("after-claim")
                await self._take(claimed)

    async def _take(self, claimed: list[tasks.Claimed]) -> None:
        self._loading += len(claimed)
        try:
            cached = {
                str(task.run_id): task.epoch
                for task in claimed
                if (run := self._parked.get(str(task.run_id))) is not None and run.epoch + 1 == task.epoch
            }
            async with self._pool.connection() as connection:
                loaded = await claim.load(connection, claimed, cached, self.loop.time())
        finally:
            self._loading -= len(claimed)
            self._emptied.set()
        for run_id, found in loaded.items():
            parked = self._parked.pop(run_id, None)
            if parked is not None and run_id in cached:
                self._active[run_id] = parked
                parked.resume(found.epoch, found.records)
                continue
            if parked is not None:
                parked.evict()
            self._begin(found)

    def _begin(self, found: Any) -> None:
        try:
            workflow = self._registry.get(found.workflow, found.version)
        except WorkflowNotFound:
            log.exception("run %s was claimed for a workflow that is not registered here", found.run_id)
            return
        run = ActiveRun(found, workflow, self)
        self._active[run.id] = run
        run.begin()
        if self._draining:
            run.drain()

    def _expect(self, seconds: float) -> None:
        """A run of this worker is due in `seconds`: look then, and not only at the next poll."""
        heapq.heappush(self._due, self.loop.time() + max(seconds, 0) + 0.001)
        self._wake_at_due()

    def _wake_at_due(self) -> None:
        if self._due[0] - self.loop.time() < self._config.poll_seconds:
            self._wake.set()

    # -- sweeping, hints, connections

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._config.poll_seconds * random.uniform(0.5, 1.5))
            try:
                async with self._pool.connection() as connection:
                    if await sweeper.sweep(connection, self._config.lease_seconds):
                        self.wake()
            except (*CONNECTION_LOST, *RETRYABLE, TimeoutError) as error:
                log.debug("a sweep failed: %s", error)

    async def _register(self) -> None:
        host = socket.gethostname()
        await self._query(
            workers.register(
                self.id,
                lease=self._config.lease_seconds,
                name=self._config.name or f"{host}:{os.getpid()}",
                host=host,
                pid=os.getpid(),
                queues=self._config.queues,
                workflows=sorted({w.name for w in self._registry}),
                version=version("zart-scheduler"),
            )
        )

    async def _query(self, statement: Statement[Any]) -> Any:
        async with self._pool.connection() as connection:
            return await execute(connection, statement)

    async def _connect(self) -> AsyncConnection[Any]:
        return await AsyncConnection.connect(
            self._conninfo, autocommit=True, prepare_threshold=None, application_name="zart-writer"
        )
