"""All that clients and handles need of the database, behind one door."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, TypeVar

from psycopg import AsyncConnection

from zart_core import ExecutionDetails, ExecutionNotFound, StoreUnavailable, UsageError
from zart_core.spi import Ending, ExecutionRows, execution_details
from zart_scheduler import sweeper
from zart_scheduler.callers import Callers
from zart_scheduler.connections import Connections, Pool, not_open
from zart_scheduler.results import ResultWaiter
from zart_scheduler.store import reads
from zart_scheduler.store.statement import Statement, run
from zart_scheduler.wake import READY, Notifier

T = TypeVar("T")


class Access:
    """Reads, changes and waits."""

    def __init__(self, database_url: str | None, pool: Pool | None) -> None:
        self.connections = Connections(database_url, pool)
        self.callers = Callers(self.connections)
        self._waiter: ResultWaiter | None = None
        self._notifier: Notifier | None = None

    async def open(self) -> None:
        """Connect."""
        if self._waiter is not None:
            raise UsageError("the client is open already; two tasks may share it, and one of them opens it")
        await self.connections.open()
        self._waiter, self._notifier = ResultWaiter(self.connections), Notifier(self.connections.pool)

    async def close(self) -> None:
        """End all waits and close all connections. May be opened again."""
        waiter, notifier = self._waiter, self._notifier
        self._waiter = self._notifier = None
        try:
            if waiter is not None:
                await waiter.close()
            if notifier is not None:
                await notifier.close()
        finally:
            await self.connections.close()

    async def read(self, statement: Statement[T]) -> T:
        """Return what a query gives."""
        return await self.connections.run(statement)

    async def change(self, statement: Statement[T], conn: object = None, *, repeatable: bool = True) -> T:
        """Return what a writing statement gives; with `conn`, as a part of the caller's own transaction there."""
        if conn is not None:
            return await self.callers.run(conn, statement)
        answer = await self.connections.run(statement, repeatable=repeatable)
        if self._notifier is not None:
            self._notifier.notify(READY)
        return answer

    async def cancel_children(self) -> None:
        """Cancel what parents have left behind, level by level. Workers do it too, so an outage does no harm."""
        with contextlib.suppress(StoreUnavailable):
            await sweeper.cancel_children(self.connections.run)

    async def ending(self, execution_id: str, limit: float | None) -> Ending | None:
        """Return how an execution ended once it has; None if that takes longer than `limit` seconds."""
        if limit is not None and limit <= 0:
            endings = await self.read(reads.find_endings([execution_id]))
            return endings[0] if endings else None
        if self._waiter is None:
            raise not_open()
        try:
            async with asyncio.timeout(limit):
                return await self._waiter.wait(execution_id)
        except TimeoutError:
            return None

    async def details(self, execution_id: str) -> ExecutionDetails:
        """Return all that is known of an execution, as of one moment.

        Raises:
            ExecutionNotFound: There is none.
        """

        async def fetch(connection: AsyncConnection[Any]) -> ExecutionRows | None:
            current = await run(connection, reads.get_execution(execution_id))
            if current is None:
                return None
            run_id = current.summary.run_id
            return ExecutionRows(
                run=current,
                runs=await run(connection, reads.list_runs_of_execution(execution_id)),
                steps=await run(connection, reads.list_steps(run_id)),
                attempts=await run(connection, reads.list_attempts(run_id)),
                waits=await run(connection, reads.list_waits(run_id)),
                open_children=await run(connection, reads.list_open_children(run_id)),
                children=await run(connection, reads.list_children(execution_id)),
                spawned=await run(connection, reads.list_spawned(run_id)),
                events=await run(connection, reads.list_events(execution_id)),
            )

        rows = await self.connections.read_together(fetch)
        if rows is None:
            raise ExecutionNotFound(execution_id)
        return execution_details(rows)
