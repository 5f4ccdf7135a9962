"""The checkpoint writer: group commit of everything that a worker's runs have to record.

One writer and one connection for each worker row. A flush takes all that is queued; the next starts when its answer is
in. So there is no delay at low load, and the batches grow with it. Nothing reaches a body before its commit is known.
On a lost connection the same message is sent again, and every item is recognised; only when the lease is over are the
runs dropped, all at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, errors

from zart_core.spi import (
    BlockItem,
    ChildItem,
    ContinueItem,
    DelayItem,
    EndItem,
    FinishItem,
    Held,
    Item,
    LockedItem,
    ParkItem,
    RecordItem,
    ReleaseItem,
    reach,
)
from zart_scheduler.flush import LEAVES, TURNED, Message, by_run, compose, enter, is_busy
from zart_scheduler.store.statement import Statement
from zart_scheduler.store.statement import run as execute
from zart_scheduler.store.steps import FlushRow, flush

log = logging.getLogger("zart")
T = TypeVar("T")

RETRYABLE = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
"""The transaction did not happen and may be tried again."""

CONNECTION_LOST = (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction)
"""The connection is not to be used any more; what was sent last may have happened."""

ANSWER = 30.0
"""Seconds that the server gets for one answer; then the connection is given up, as if it had been lost."""

NEWS = frozenset({"news", "leaves"})
"""Answers for no item: other runs have become ready, or are to be cancelled."""
LEAVING = ParkItem | ReleaseItem | DelayItem | FinishItem | EndItem | ContinueItem | BlockItem
"""After these a task is not this worker's any more."""

LAST_WORDS = ReleaseItem | BlockItem | FinishItem
"""What is written also of a task that was dropped from memory."""

BUSY_PAUSE = (0.002, 0.008)
"""Seconds, at random between the two, before a busy item is tried again."""


class Fenced(Exception):
    """The worker's right to write is over."""


class CheckpointWriter:
    """Writes for one incarnation of a worker."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncConnection[Any]]],
        worker_id: Any,
        *,
        is_valid: Callable[[], bool],
        on_due: Callable[[float], None],
        on_ended: Callable[[], None],
        on_news: Callable[[str], None],
    ) -> None:
        self._connect, self._worker_id, self._is_valid = connect, worker_id, is_valid
        self._on_due, self._on_ended, self._on_news = on_due, on_ended, on_news
        self._connection: AsyncConnection[Any] | None = None
        self._items: list[Item] = []
        self._jobs: list[tuple[Statement[Any], asyncio.Future[Any]]] = []
        self._deferred: defaultdict[Held, list[Item]] = defaultdict(list)
        self._work = asyncio.Event()
        self.is_idle = True
        """Whether nothing is queued or under way."""

    def put(self, item: Item) -> None:
        """Write `item` with the next flush, unless an earlier item of its run waits for the same lock."""
        if isinstance(item, LockedItem) and item.run in self._deferred:
            self._deferred[item.run].append(item)
            return
        self._items.append(item)
        self._work.set()

    async def between_flushes(self, job: Statement[T]) -> T:
        """Run `job` on the writer's connection, when no flush is under way: a second one would cost MultiXacts."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.append((job, future))
        self._work.set()
        return await future

    async def run(self) -> None:
        """Write until cancelled.

        Raises:
            Fenced: The worker row is dead or its lease is over.
        """
        try:
            while True:
                if not self._items and not self._jobs:
                    self.is_idle = True
                    self._work.clear()
                    await self._work.wait()
                    self.is_idle = False
                if self._items:
                    batch, self._items = self._items, []
                    await self._flush(batch)
                if self._jobs:
                    await self._run_job()
        finally:
            for _, future in self._jobs:
                future.cancel()
            if self._connection is not None:
                await self._connection.close()

    async def _run_job(self) -> None:
        job, future = self._jobs.pop(0)
        if future.done():
            return
        try:
            async with asyncio.timeout(ANSWER):
                result = await execute(await self._connected(), job)
        except (*RETRYABLE, *CONNECTION_LOST, TimeoutError) as error:
            await self._disconnect(error)
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)

    # -- one flush

    async def _flush(self, batch: list[Item]) -> None:
        batch = [item for item in batch if item.run.gone is None or isinstance(item, LAST_WORDS)]
        if not batch:
            return
        for item in batch:
            _reach("before", item)
        message = compose(batch)
        try:
            rows = await self._send(message)
        except (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded) as error:
            await self._save_what_can_be_saved(batch, error)
            return
        if rows and rows[0].verdict == "fenced":
            raise Fenced("another worker has taken its runs over")
        for item in batch:
            _reach("after", item)
        self._enter_answers(batch, by_run(rows))
        for verdict in NEWS.intersection(row.verdict for row in rows):
            self._on_news(verdict)

    async def _send(self, message: Message) -> list[FlushRow]:
        """Send until there is an answer.

        Raises:
            Fenced: The lease was over before there was one.
            psycopg.Error: The database refuses the message itself.
        """
        resend, pause = False, 0.02
        while True:
            if not self._is_valid():
                raise Fenced("its lease is over")
            statement = flush(self._worker_id, message.steps, message.rest, resend=resend)
            try:
                async with asyncio.timeout(ANSWER):
                    return await execute(await self._connected(), statement)
            except RETRYABLE:
                log.debug("a flush is tried again", exc_info=True)
            except (*CONNECTION_LOST, TimeoutError) as error:
                resend = True
                await self._disconnect(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _save_what_can_be_saved(self, batch: list[Item], error: psycopg.Error) -> None:
        """One bad item must not spoil a batch: write them one by one, and block the run of the one that fails."""
        for item in batch:
            if isinstance(item, TURNED):
                item.run.release_turn(item.turn)
        if len(batch) > 1:
            for item in batch:
                await self._flush([item])
            return
        reason = str(error).strip().partition("\n")[0]
        log.error("the database refuses what run %s has to record: %s", batch[0].run.id, reason)
        self._discard(batch[0].run, f"the database refuses what it has to record: {reason}")

    def _enter_answers(self, batch: list[Item], answers: dict[str, list[FlushRow]]) -> None:
        """Enter all answers of the flush first; only then let the bodies go on, each once."""
        touched: dict[Held, None] = {}
        for item in batch:
            run, rows = item.run, answers.get(item.run.id, [])
            if run.gone is not None:
                continue
            touched[run] = None
            if any(row.verdict == "lost" for row in rows):
                run.lost()
            elif any(row.verdict == "stored" for row in rows):
                log.error("run %s met a record of its own that it did not write; it starts over", run.id)
                run.lost()
                self.put(ReleaseItem(run))
            elif isinstance(item, LockedItem) and is_busy(item, rows):
                self._defer(item)
            else:
                self._enter(item, rows)
        for run in touched:
            if run.gone is None:
                with self.blocking_on_bugs(run):
                    run.advance()

    def _enter(self, item: Item, rows: list[FlushRow]) -> None:
        run = item.run
        run.answered(item)
        if not isinstance(item, LEAVING):
            enter(item, rows)
            return
        for row in rows:
            if row.verdict == "unparked" and isinstance(item, ParkItem):
                item.run.unparked()
            elif row.verdict in LEAVES:
                if row.verdict == "parked" and row.secs is not None:
                    self._on_due(row.secs)
                run.gone_as(LEAVES[row.verdict])
                if isinstance(item, EndItem):
                    self._on_ended()

    @contextmanager
    def blocking_on_bugs(self, run: Held) -> Iterator[None]:
        """Block the run, and only it, if the engine itself fails while it runs; a spawned step fails."""
        try:
            yield
        except Exception:
            log.exception("%r cannot go on: this is a bug of Zart", run)
            self._discard(run, "the engine failed while running it; see the worker's log")

    def _discard(self, run: Held, reason: str) -> None:
        """Drop the task from memory, and record that: a run is blocked, so that a person looks."""
        run.lost()
        self.put(run.refused(reason))

    def _defer(self, item: LockedItem) -> None:
        """Try again soon; later locked items of the run queue up behind it, none overtakes."""
        if isinstance(item, TURNED):
            item.run.release_turn(item.turn)
        waiting = self._deferred.get(item.run)
        if waiting is not None:
            waiting.append(item)
            return
        self._deferred[item.run].append(item)
        pause = random.uniform(*BUSY_PAUSE)
        asyncio.get_running_loop().call_later(pause, self._retry, item.run)

    def _retry(self, run: Held) -> None:
        for item in self._deferred.pop(run, ()):
            self.put(item)

    # -- the connection

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
        return self._connection

    async def _disconnect(self, error: BaseException) -> None:
        log.warning(
            "the connection that records is lost: %s", str(error).strip().partition("\n")[0] or "no answer"
        )
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def drop_all(self) -> None:
        """Forget what is queued; nothing of it will be written."""
        self._items.clear()
        self._deferred.clear()


def _reach(when: str, item: Item) -> None:
    match item:
        case RecordItem():
            reach(f"{when}-commit", item.name)
        case ChildItem():
            reach(f"{when}-child", item.workflow.name)
        case FinishItem():
            reach(f"{when}-commit", item.run.name)
        case ParkItem() | DelayItem():
            reach(f"{when}-park")
        case EndItem() | ContinueItem():
            reach(f"{when}-complete")
