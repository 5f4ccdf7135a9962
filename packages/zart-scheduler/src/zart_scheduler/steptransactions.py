"""The transactions of an incarnation's steps, on a bounded number of connections of their own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from zart_core.spi import FinishItem, OutcomeItem, ReleaseItem
from zart_scheduler.checkpoint import CONNECTION_LOST, RETRYABLE, CheckpointWriter, Fenced
from zart_scheduler.lease import connect
from zart_scheduler.steptransaction import Answer, Transaction, Verdict
from zart_scheduler.store import transactions
from zart_scheduler.store.statement import Statement

log = logging.getLogger("zart")

AGAIN = 0.2
"""Seconds before a connection is tried again."""

PATIENCE = 2.0
"""Seconds that commits under way get when the worker stops."""

PARTS = 3
"""The commits of an incarnation hold up whoever takes its runs over for this part of a lease at most."""


class StepTransactions:
    """Begins transactions for steps; see `steptransaction` for their ends."""

    def __init__(
        self,
        conninfo: str,
        worker_id: UUID,
        writer: CheckpointWriter,
        *,
        limit: int,
        lease: float,
        is_valid: Callable[[], bool],
        query: Callable[[Statement[Any]], Awaitable[Any]],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.worker_id, self.is_valid, self.query = worker_id, is_valid, query
        self.patience = lease / PARTS
        self.open: set[Transaction] = set()
        """Those that a step may still use."""
        self._conninfo, self._writer, self._lease = conninfo, writer, lease
        # By this name the transactions of a dead worker are found: zart_end_transactions_of_v1.
        self._name = f"zart-step-{worker_id}"
        self._free = asyncio.Semaphore(limit)
        self._idle: list[AsyncConnection[Any]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._fenced = asyncio.Event()
        self._is_closing = False

    async def begin(self, *, is_async: bool) -> Transaction:
        """Begin a transaction, as soon as a connection is free and the database can be reached."""
        await self._free.acquire()
        try:
            owner, xact = await self._begin()
        except BaseException:
            self._free.release()
            raise
        transaction = Transaction(self, owner, xact, is_async=is_async)
        self.open.add(transaction)
        return transaction

    async def _begin(self) -> tuple[AsyncConnection[Any], str]:
        while True:
            owner = self._idle.pop() if self._idle else None
            try:
                owner = owner or await connect(self._conninfo, self._name, self._lease)
                return owner, await transactions.begin(owner)
            except (*CONNECTION_LOST, *RETRYABLE) as error:
                log.warning("no transaction for a step yet: %s", str(error).strip().partition("\n")[0])
                if owner is not None:
                    await owner.close()
            except BaseException:
                if owner is not None:
                    await owner.close()
                raise
            await asyncio.sleep(AGAIN)

    # -- ends

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` in the background."""
        task = self.loop.create_task(work, name="zart-transaction")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def put_back(self, owner: AsyncConnection[Any]) -> None:
        """Make a connection free for another step: nothing of this one's session is left, nor of its transaction."""
        is_clean = False
        try:
            if not self._is_closing:
                await owner.rollback()
                await owner.execute("DISCARD ALL")
                is_clean = True
        except psycopg.Error as error:
            log.debug("a connection that a step has used is closed: %s", error)
        finally:
            if is_clean:
                self._idle.append(owner)
            else:
                await owner.close()
            self._free.release()

    async def drop(self, owner: AsyncConnection[Any]) -> None:
        """Close a connection; its transaction ends with it, unless it was just committing."""
        await owner.close()
        self._free.release()

    def release(self) -> None:
        """A connection is lost to a thread; another may take its place."""
        self._free.release()

    async def answer(self, item: OutcomeItem, commit: Coroutine[Any, Any, Answer]) -> None:
        """Do `commit`, and tell the run."""
        run = item.run
        with self._writer.blocking_on_bugs(run):
            answer = await commit
            if run.gone is not None:
                return
            match answer:
                case Verdict.FENCED:
                    self._fenced.set()
                case Verdict.LOST:
                    run.lost()
                    if isinstance(item, FinishItem):  # perhaps still this worker's, and wanted by nobody
                        self._writer.put(FinishItem(item.run, None))
                case Verdict.STORED:
                    log.error("run %s met a record of its own that it did not write; it starts over", run.id)
                    run.lost()
                    self._writer.put(ReleaseItem(run))
                case Verdict.COMMITTED:
                    run.answered(item)
                    _recorded(item)
                case Verdict.ROLLED_BACK:
                    log.warning(
                        "the transaction of step %r was rolled back, and the step runs again", item.name
                    )
                    run.answered(item)
                    run.attempts.rolled_back(item)
                case error:
                    run.answered(item)
                    run.attempts.refused(item, error)
            run.advance()

    # -- life

    async def run(self) -> None:
        """Wait until a commit is fenced.

        Raises:
            Fenced: It was.
        """
        await self._fenced.wait()
        raise Fenced("another worker has taken its runs over")

    async def close(self) -> bool:
        """End everything; return False if what became of some commit is not known."""
        self._is_closing = True
        for transaction in list(self.open):
            transaction.roll_back()
        pending = set(self._tasks)
        if pending:
            _, pending = await asyncio.wait(pending, timeout=PATIENCE)
        for task in pending:
            task.cancel()
        with suppress(psycopg.Error):
            for owner in self._idle:
                await owner.close()
        return not pending


def _recorded(item: OutcomeItem) -> None:
    if isinstance(item, FinishItem):
        item.run.recorded(item)
    else:
        item.run.recorded(item)
