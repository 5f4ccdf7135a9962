"""One life of a worker: a worker row, its lease, and the runs that it owns under it.

It ends when the lease is lost; the worker then begins another, with a new id and empty hands (L4).
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from zart_core import Registry
from zart_core.spi import ActiveRun, DeadlinePassed, Held, Item, Left, RunCancelled, SpawnedStep
from zart_scheduler import sweeper
from zart_scheduler.bodies import Bodies
from zart_scheduler.checkpoint import CONNECTION_LOST, RETRYABLE, CheckpointWriter, Fenced
from zart_scheduler.claim import Claimer
from zart_scheduler.config import WorkerConfig
from zart_scheduler.lease import Lease, connect
from zart_scheduler.ownership import find_ghosts, find_strays, hand_back
from zart_scheduler.steptransactions import StepTransactions
from zart_scheduler.store import tasks, workers
from zart_scheduler.store.statement import Statement
from zart_scheduler.store.statement import run as execute
from zart_scheduler.store.tasks import Owned
from zart_scheduler.suspects import Suspects
from zart_scheduler.threads import StepThreads
from zart_scheduler.wake import DONE, READY, Notifier, Timers

log = logging.getLogger("zart")

JITTER = 0.2
"""A poll comes up to this part of its interval earlier or later."""

UNWINDING = 2.0
"""Seconds that cancelled steps get to end before their runs are handed back in spite of them."""

AGAIN = 0.2
"""Seconds before a question that a lost connection left unanswered is asked again."""

HINTED = 1.0
"""Least seconds between two comparisons of what is owned with what is known that hints bring about."""

FAILURES = (*CONNECTION_LOST, *RETRYABLE, TimeoutError)
"""What is the database's or the network's fault: it is tried again (L6)."""


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
        self.threads = StepThreads(config.threads)
        self.max_payload = config.max_payload_bytes
        self._pool, self._registry, self._config = pool, registry, config
        self._bodies = Bodies(config.max_parked)
        self._timers = Timers()
        self._suspects = Suspects()
        self._wake = asyncio.Event()
        self._more = False
        self._look_asked = self._left_children = False
        self._compared_at = self.loop.time()
        self._compare_at = self._compared_at + config.lease_seconds
        self._ghosts: dict[str, int] = {}
        self._draining = self._hurried = False
        self._changed = asyncio.Event()
        self._lost: asyncio.Future[str] = self.loop.create_future()
        self._notifier = Notifier(pool)
        self._lease = Lease(conninfo, self.id, config.lease_seconds, self._lease_lost)
        self._looked = False
        self.on_ready: Callable[[], None] = lambda: None
        """Called when it has looked for work once."""
        self._writer = CheckpointWriter(
            partial(connect, conninfo, "zart-writer", config.lease_seconds),
            self.id,
            is_valid=lambda: self._lease.is_valid,
            on_due=self._expect,
            on_ended=lambda: self._notifier.notify(DONE),
            on_news=self._news,
        )
        self._transactions = StepTransactions(
            conninfo,
            self.id,
            self._writer,
            limit=config.step_connections,
            lease=config.lease_seconds,
            is_valid=lambda: self._lease.is_valid,
            query=self._query,
        )
        self.begin_transaction = self._transactions.begin
        self._claimer = Claimer(
            self,
            self.id,
            registry=registry,
            queues=config.queues,
            pool=pool,
            writer=self._writer,
            bodies=self._bodies,
            hand_back=self._hand_back,
        )

    # -- what its runs need (zart_core.host.Host)

    def put(self, item: Item) -> None:
        """Write `item` with the next flush."""
        self._writer.put(item)

    def left(self, run: Held, why: Left) -> None:
        """Free the task's slot; keep a parked body as a cache."""
        self._bodies.leave(run)
        if why is Left.PARKED and not self._draining and isinstance(run, ActiveRun):
            self._bodies.park(run)
        elif why in (Left.PARKED, Left.RELEASED):
            self.loop.call_soon(run.evict)
        elif isinstance(run, SpawnedStep) and not self._bodies.collect(run.run_id):
            self._news("news")
        if why in (Left.RELEASED, Left.CONTINUED):
            self._notifier.notify(READY)
        if why is Left.CONTINUED:
            self._more = True
        if self._more:
            self._wake.set()
        if self._draining:
            self._changed.set()

    def look(self) -> None:
        """Look soon whether a run is to be stopped, or something has come for it."""
        self._look_asked = True
        self._wake.set()

    def _news(self, verdict: str) -> None:
        """Other runs have become ready, or (`leaves`) are to be cancelled: look, here and elsewhere."""
        self._left_children |= verdict == "leaves"
        self._notifier.notify(READY)
        self.wake()

    async def now(self) -> datetime:
        """Return the database's time, however long it takes to reach it: a body must not see an outage (L6)."""
        question = Statement("SELECT clock_timestamp()", {}, lambda rows: rows[0][0])
        while True:
            with suppress(*FAILURES):
                moment: datetime = await self._query(question)
                return moment.astimezone(UTC)
            await asyncio.sleep(AGAIN)

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
            asyncio.create_task(self._lease_over(), name="zart-lease-over"),
            asyncio.create_task(self._transactions.run(), name="zart-transactions"),
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                if not job.cancelled():  # a poll whose claim was with the writer when that ended
                    job.result()
        finally:
            await self._close(jobs)

    async def _close(self, jobs: Sequence[asyncio.Task[None]]) -> None:
        """Stop everything: the bodies first, since a job may wait for a server that does not answer (L4)."""
        self._writer.drop_all()
        self._bodies.drop_all()
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await asyncio.to_thread(self._lease.stop)
        is_decided = await self._transactions.close()
        if self._lease.is_valid:
            try:
                await self._retire(hand_over=is_decided)
            except psycopg.Error as error:
                log.debug("the worker row stays until its lease is over: %s", error)
        await self._notifier.close()
        self.threads.shutdown(cancel_futures=True)

    async def _retire(self, *, hand_over: bool) -> None:
        """Hand back what the database says is this worker's still, known or not, and end the worker row.

        Without `hand_over` a sweeper does the former: the end of the row waits for a commit that is still under way.
        """
        if hand_over and (owned := await self._query(tasks.list_owned(self.id))):
            await self._query(hand_back(self.id, owned))
            self._notifier.notify(READY)
        await self._query(workers.retire(self.id))

    def wake(self) -> None:
        """Look for work now: somebody has hinted that there is some, or has taken a run away."""
        self._more = self._look_asked = True
        self._compare_at = min(self._compare_at, self._compared_at + HINTED)
        self._wake.set()

    async def _lease_over(self) -> None:
        """Raise as soon as the lease is lost, or may be: its own thread may hang on a connection."""
        while (left := self._lease.seconds_left) > 0:
            await asyncio.wait([self._lost], timeout=left)
        raise Fenced(self._lost.result() if self._lost.done() else "it was not renewed in time")

    def _lease_lost(self, reason: str) -> None:
        """Called by the lease's thread, which may outlive the loop."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._note_lost, reason)

    def _note_lost(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    # -- stopping

    def drain(self) -> None:
        """Claim nothing more; finish the steps that run, and hand everything back."""
        if not self._draining:
            self._draining = True
            log.info("stopping: %d runs are active", len(self._bodies.active))
            for run in list(self._bodies.active.values()):
                run.drain()
            self._wake.set()
            self._changed.set()

    def hurry(self) -> None:
        """Drain, and give running steps no more time."""
        self._hurried = True
        self._changed.set()
        self.drain()

    async def _drained(self) -> None:
        await self._until(lambda: self._draining)
        active = self._bodies.active
        await self._until(lambda: not active or self._hurried, self._config.drain_seconds)
        if not active:
            return
        running = list(active.values())
        log.warning("%d runs still have steps running; they are cancelled and handed back", len(running))
        for run in running:
            run.abort_steps()
        await self._until(lambda: not active, UNWINDING)

    async def _until(self, condition: Callable[[], bool], seconds: float | None = None) -> None:
        """Wait until `condition` holds, at most `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()

    # -- looking for work

    async def _poll(self) -> None:
        failed = False
        while True:
            due = failed
            try:
                async with asyncio.timeout(AGAIN if failed else self._until_next_poll()):
                    await self._wake.wait()
            except TimeoutError:
                due = True
            self._wake.clear()
            try:
                await self._look_for_work(due=due)
                failed = False
            except FAILURES as error:
                failed = True
                reason = str(error).strip().partition("\n")[0]
                log.warning("looking for work failed and is tried again: %s", reason)
            if not self._looked:
                self._looked = True
                self.on_ready()

    def _until_next_poll(self) -> float:
        if not self._looked:
            return 0
        interval = self._config.poll_seconds * random.uniform(1 - JITTER, 1 + JITTER)
        first = min(self._compare_at, self._timers.next())
        return max(min(interval, first - self.loop.time()), 0)

    async def _look_for_work(self, *, due: bool) -> None:
        due = self._timers.pop_past(self.loop.time()) or due
        if self._compare_at <= self.loop.time():
            await self._compare()
        if due or self._left_children:
            self._left_children = False
            async with self._pool.connection() as connection:
                await sweeper.fire_due(connection, self.id)
                await sweeper.cancel_children(lambda statement: execute(connection, statement))
        if self._bodies.active and (due or self._look_asked):
            self._look_asked = False
            await self._look_at_active()
        if due:
            self._suspects.look()
        if due or self._more:
            await self._claim()

    async def _look_at_active(self) -> None:
        for found in await self._query(tasks.look(self.id)):
            run = self._bodies.active.get(str(found.task_id))
            if run is None or run.epoch != found.epoch:
                continue
            if found.cancel:
                run.stop(RunCancelled, found.cancel_reason)
            elif found.overdue:
                run.stop(DeadlinePassed)
            elif found.news:
                self._bodies.collect(run.id)

    async def _compare(self) -> None:
        """Hand back what the database says is this worker's and memory does not know; drop the opposite.

        A ghost must be one twice: a run that is just leaving looks like one.
        """
        known, is_done = self._bodies.epochs, True
        owned = await self._query(tasks.list_owned(self.id))
        if strays := find_strays(owned, known):
            log.warning("%d runs were claimed and never begun: an answer was lost; they go back", len(strays))
            is_done = await self._hand_back(strays)
        before, self._ghosts = self._ghosts, find_ghosts(owned, known)
        self._compared_at = self.loop.time()
        is_done = is_done and not self._ghosts
        self._compare_at = self._compared_at + (self._config.lease_seconds if is_done else AGAIN)
        for run_id, epoch in self._ghosts.items() & before.items():
            run = self._bodies.active.get(run_id)
            if run is not None and run.epoch == epoch:
                log.warning("%r is not this worker's any more and is dropped", run)
                run.lost()

    async def _hand_back(self, owned: Sequence[Owned]) -> bool:
        """Make runs ready that are not in memory; return False if a row was held, so that its run has to wait."""
        answers = await self._writer.between_flushes(hand_back(self.id, owned))
        if answers[0].verdict == "fenced":
            raise Fenced("another worker has taken its runs over")
        self._news("news")
        return all(answer.verdict != "busy" for answer in answers)

    async def _claim(self) -> None:
        """Claim while there are free slots and more to claim."""
        self._more = True
        while self._more and not self._draining and self._lease.renewed:
            free = self._config.concurrency - len(self._bodies.active)
            if free <= 0 or await self._is_on_trial():
                return
            self._more = False  # a hint that comes from here on asks for one more claim
            try:
                if self._suspects.is_wanted and await self._claim_suspect():
                    self._more = True
                    return
                if len(await self._claimer.claim(free, is_draining=lambda: self._draining)) == free:
                    self._more = True
            except FAILURES:
                self._more, self._compare_at = True, 0.0  # what was claimed may be lost on the way
                raise

    async def _claim_suspect(self) -> bool:
        """Claim a run that may kill this worker, if there is one."""
        claimed = await self._claimer.claim(1, is_draining=lambda: self._draining, suspects=True)
        run = self._bodies.active.get(str(claimed[0].task_id)) if claimed else None
        self._suspects.begin(run, self.loop.time())
        if run is not None:
            log.warning("%r has taken %d workers down; it is tried alone", run, claimed[0].crash_count)
        return bool(claimed)

    async def _is_on_trial(self) -> bool:
        """Return whether nothing may be claimed, for the sake of a suspect."""
        run = self._suspects.release(self.loop.time())
        if run is not None:
            trust = tasks.trust(self.id, UUID(run.id), run.epoch)
            if not await self._writer.between_flushes(trust):
                raise Fenced("another worker has taken its runs over")
        return self._suspects.run is not None

    def _expect(self, seconds: float) -> None:
        """A run of this worker is due in `seconds`: look then, and not only at the next poll."""
        self._timers.add(self.loop.time() + max(seconds, 0) + 0.001)
        if seconds < self._config.poll_seconds:
            self._wake.set()

    # -- sweeping, hints, connections

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._config.poll_seconds * random.uniform(0.5, 1.5))
            try:
                async with self._pool.connection() as connection:
                    if await sweeper.sweep(connection, self.id, self._config.lease_seconds):
                        self.wake()
            except FAILURES as error:
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
