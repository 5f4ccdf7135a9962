"""Statements inside a caller's own transaction, on the caller's own connection: `conn=`.

Nothing here begins, commits or rolls back: what is written exists if and only if the caller commits.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus

from zart_core import ConfigurationError
from zart_scheduler.borrowed import ACCEPTED, lend, lend_sync
from zart_scheduler.connections import Connections
from zart_scheduler.database import store_errors
from zart_scheduler.store.reads import Place, find_place, set_search_path
from zart_scheduler.store.statement import Statement, run, run_sync

T = TypeVar("T")


class Home(Protocol):
    """Tells where the client's own connections are, from a thread that may wait."""

    def __call__(self, *, fresh: bool) -> Place:
        """Return the place; ask again if `fresh`."""
        ...


class Callers:
    """Runs statements on connections that belong to callers."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._home: Place | None = None
        self._at_home: WeakSet[Any] = WeakSet()

    async def run(self, conn: object, statement: Statement[T]) -> T:
        """Run `statement` in the transaction of `conn`, of either kind; a sync one is used from a thread.

        Raises:
            ConfigurationError: `conn` is something else, not in a transaction, or of another database.
        """
        conn = await lend(conn)
        check_transaction(conn)
        if isinstance(conn, AsyncConnection):
            return await self._run(conn, statement)
        assert isinstance(conn, Connection)  # noqa: S101 - check_transaction lets no other pass
        loop = asyncio.get_running_loop()

        def home(*, fresh: bool) -> Place:
            return asyncio.run_coroutine_threadsafe(self.home(fresh=fresh), loop).result()

        return await asyncio.to_thread(self.run_sync, conn, statement, home)

    async def home(self, *, fresh: bool = False) -> Place:
        """Return where the client's own connections are; asks again if `fresh`."""
        if self._home is None or fresh:
            self._home = await self._connections.run(find_place())
        return self._home

    def run_sync(self, conn: object, statement: Statement[T], home: Home) -> T:
        """Run `statement` in the transaction of a blocking `conn`, in this thread; `home` calls `Callers.home`."""
        conn = lend_sync(conn)
        check_transaction(conn)
        if not isinstance(conn, Connection):
            raise ConfigurationError(
                f"a SyncClient takes what blocks as `conn`, not an AsyncConnection; {ACCEPTED}"
            )
        with store_errors():
            if conn in self._at_home:
                return run_sync(conn, statement)
            there = run_sync(conn, find_place())
            path = self._path(conn, there, home(fresh=False))
            if path is None and (path := self._path(conn, there, home(fresh=True))) is None:
                raise _elsewhere()
            if path == there.search_path:
                return run_sync(conn, statement)
            run_sync(conn, set_search_path(path))
            result = run_sync(conn, statement)
            run_sync(conn, set_search_path(there.search_path))
            return result

    async def _run(self, conn: AsyncConnection[Any], statement: Statement[T]) -> T:
        with store_errors():
            if conn in self._at_home:
                return await run(conn, statement)
            there = await run(conn, find_place())
            path = self._path(conn, there, await self.home())
            if path is None and (path := self._path(conn, there, await self.home(fresh=True))) is None:
                raise _elsewhere()
            if path == there.search_path:
                return await run(conn, statement)
            await run(conn, set_search_path(path))
            result = await run(conn, statement)
            await run(conn, set_search_path(there.search_path))
            return result

    def _path(self, conn: object, there: Place, home: Place) -> str | None:
        """Return the search path with which `conn` finds Zart's tables; None if it is in another database."""
        if there.database != home.database:
            return None
        if there.schema == home.schema:
            self._at_home.add(conn)
            return there.search_path
        return f"{home.schema}, {there.search_path}" if there.search_path else home.schema


def _elsewhere() -> ConfigurationError:
    return ConfigurationError(f"the connection given as `conn` is to another database; {ACCEPTED}")


def check_transaction(conn: object) -> None:
    """Refuse what a start or an event cannot be part of.

    Raises:
        ConfigurationError: It is no open psycopg connection, or in no transaction that could still commit.
    """
    if not isinstance(conn, AsyncConnection | Connection):
        raise ConfigurationError(f"{ACCEPTED}, not {type(conn).__module__}.{type(conn).__qualname__}")
    if conn.closed:
        raise ConfigurationError(f"the connection given as `conn` is closed; {ACCEPTED}")
    match conn.info.transaction_status:
        case TransactionStatus.IDLE if conn.autocommit:
            raise ConfigurationError(
                f"the connection given as `conn` is in autocommit mode and in no transaction, so there is nothing to "
                f"be part of: write `async with conn.transaction():` around it, or leave `conn` out; {ACCEPTED}"
            )
        case TransactionStatus.IDLE | TransactionStatus.INTRANS:
            return
        case TransactionStatus.INERROR:
            raise ConfigurationError(
                f"the transaction of `conn` has failed and can only be rolled back; {ACCEPTED}"
            )
        case _:
            raise ConfigurationError(
                f"the connection given as `conn` is busy with another statement; {ACCEPTED}"
            )
