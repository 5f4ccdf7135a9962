"""Statements inside a caller's own transaction, on the caller's own connection: `conn=`.

Nothing here begins, commits or rolls back: what is written exists if and only if the caller commits.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar
from weakref import WeakSet

from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus

from zart_core import ConfigurationError
from zart_scheduler.connections import Connections
from zart_scheduler.database import store_errors
from zart_scheduler.store.reads import Place, find_place, set_search_path
from zart_scheduler.store.statement import Statement, run, run_sync

T = TypeVar("T")

_ACCEPTED = (
    "`conn` takes a psycopg AsyncConnection or Connection that is in a transaction, or idle without autocommit, "
    "on the client's own database"
)


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
        check_transaction(conn)
        home = await self.home()
        if isinstance(conn, AsyncConnection):
            return await self._run(conn, statement, home)
        assert isinstance(conn, Connection)  # noqa: S101 - check_transaction lets no other pass
        return await asyncio.to_thread(self.run_sync, conn, statement, home)

    async def home(self) -> Place:
        """Return where the client's own connections are."""
        if self._home is None:
            self._home = await self._connections.run(find_place())
        return self._home

    async def _run(self, conn: AsyncConnection[Any], statement: Statement[T], home: Place) -> T:
        with store_errors():
            path = (
                None if conn in self._at_home else self._path_for(conn, await run(conn, find_place()), home)
            )
            if path is None:
                return await run(conn, statement)
            there = await run(conn, find_place())
            await run(conn, set_search_path(path))
            result = await run(conn, statement)
            await run(conn, set_search_path(there.search_path))
            return result

    def run_sync(self, conn: Connection[Any], statement: Statement[T], home: Place) -> T:
        """Run `statement` in the transaction of a sync connection, in this thread. `home` is what `home()` gives."""
        check_transaction(conn)
        with store_errors():
            path = None if conn in self._at_home else self._path_for(conn, run_sync(conn, find_place()), home)
            if path is None:
                return run_sync(conn, statement)
            there = run_sync(conn, find_place())
            run_sync(conn, set_search_path(path))
            result = run_sync(conn, statement)
            run_sync(conn, set_search_path(there.search_path))
            return result

    def _path_for(self, conn: object, there: Place, home: Place) -> str | None:
        """Return the search path that `conn` needs for the time of a statement; None if its own is right.

        Raises:
            ConfigurationError: It is a connection to another database.
        """
        if there.database != home.database:
            self._home = None  # the server may have been restarted since: ask again next time
            raise ConfigurationError(f"the connection given as `conn` is to another database; {_ACCEPTED}")
        if there.schema == home.schema:
            self._at_home.add(conn)
            return None
        return f"{home.schema}, {there.search_path}" if there.search_path else home.schema


def check_transaction(conn: object) -> None:
    """Refuse what a start or an event cannot be part of.

    Raises:
        ConfigurationError: It is no open psycopg connection, or in no transaction that could still commit.
    """
    if not isinstance(conn, AsyncConnection | Connection):
        raise ConfigurationError(f"{_ACCEPTED}, not {type(conn).__module__}.{type(conn).__qualname__}")
    if conn.closed:
        raise ConfigurationError(f"the connection given as `conn` is closed; {_ACCEPTED}")
    match conn.info.transaction_status:
        case TransactionStatus.IDLE if conn.autocommit:
            raise ConfigurationError(
                f"the connection given as `conn` is in autocommit mode and in no transaction, so there is nothing to "
                f"be part of: write `async with conn.transaction():` around it, or leave `conn` out; {_ACCEPTED}"
            )
        case TransactionStatus.IDLE | TransactionStatus.INTRANS:
            return
        case TransactionStatus.INERROR:
            raise ConfigurationError(
                f"the transaction of `conn` has failed and can only be rolled back; {_ACCEPTED}"
            )
        case _:
            raise ConfigurationError(
                f"the connection given as `conn` is busy with another statement; {_ACCEPTED}"
            )
