"""The client's own connections: a small pool, one retry after a lost connection, and a consistent snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from zart_core import ConfigurationError, StoreUnavailable, UsageError
from zart_scheduler.database import conninfo, resolve_url, store_errors
from zart_scheduler.store.statement import Statement, run

T = TypeVar("T")
Pool: TypeAlias = AsyncConnectionPool[Any]
Work: TypeAlias = Callable[[AsyncConnection[Any]], Awaitable[T]]

_MAX_SIZE = 10
_PATIENCE = 5.0
"""Seconds that a call whose turn it is waits for a working connection."""

_NOT_LIBPQ = frozenset({"autocommit", "context", "cursor_factory", "prepare_threshold", "row_factory"})
"""What a pool's `kwargs` may hold beside libpq's own settings."""


class Connections:
    """Runs statements, each in a transaction of its own."""

    def __init__(self, database_url: str | None, pool: Pool | None) -> None:
        self._given = self._pool = pool
        self._turns = asyncio.Semaphore(_MAX_SIZE)
        self.conninfo = (
            _conninfo_of(pool)
            if pool is not None and database_url is None
            else conninfo(resolve_url(database_url))
        )

    async def open(self) -> None:
        """Connect.

        Raises:
            StoreUnavailable: The database cannot be reached; the text says why.
            ConfigurationError: The pool that was given is not open.
        """
        # Calls queue up here, not in the pool: there they would time out although the database only is busy.
        self._turns = asyncio.Semaphore(_MAX_SIZE if self._given is None else self._given.max_size)
        if self._given is not None:
            if self._given.closed:
                raise ConfigurationError(
                    "the pool given to the client is not open: `await pool.open()` first"
                )
            return
        with store_errors():
            # A pool tells only that it timed out; a connection tells why.
            await (await AsyncConnection.connect(self.conninfo)).close()
            self._pool = AsyncConnectionPool(
                self.conninfo,
                kwargs={"autocommit": True, "prepare_threshold": None},
                min_size=1,
                max_size=_MAX_SIZE,
                timeout=_PATIENCE,
                open=False,
                name="zart-client",
            )
            await self._pool.open()

    async def close(self) -> None:
        """Close what `open` opened. A pool that was given stays open."""
        if self._given is None and self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    @property
    def pool(self) -> Pool:
        """The open pool."""
        if self._pool is None:
            raise not_open()
        return self._pool

    async def run(self, statement: Statement[T], *, repeatable: bool = True) -> T:
        """Run `statement` and return what it gives.

        Args:
            statement: What to run.
            repeatable: Whether running it twice does no harm: then a lost connection is tried once more.

        Raises:
            StoreUnavailable: The database cannot be reached. What is not repeatable may have taken effect.
            SchemaOutOfDate: The database has no schema, or an older one.
        """
        return await self._with_connection(
            lambda connection: run(connection, statement), repeatable=repeatable
        )

    async def read_together(self, work: Work[T]) -> T:
        """Do `work`, which only reads, on a connection on which all statements see the same moment."""

        async def in_snapshot(connection: AsyncConnection[Any]) -> T:
            async with connection.transaction():
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return await work(connection)

        return await self._with_connection(in_snapshot, repeatable=True)

    async def _with_connection(self, work: Work[T], *, repeatable: bool) -> T:
        try:
            return await self._once(work)
        except StoreUnavailable as error:
            if not repeatable or isinstance(error.__cause__, PoolTimeout):
                raise
        with store_errors():
            await self.pool.check()  # others in the pool may have broken together with the one that was lost
        return await self._once(work)

    async def _once(self, work: Work[T]) -> T:
        pool = self.pool
        async with self._turns:
            with store_errors():
                async with pool.connection() as connection:
                    return await work(connection)


def not_open() -> UsageError:
    """Return the error of a client that is used before it was opened, or after it was closed."""
    return UsageError("the client is not open: use it in `async with Client(...) as client:`")


def _conninfo_of(pool: Pool) -> str:
    """Return what connects to where the pool's connections are.

    Raises:
        ConfigurationError: The pool computes it anew for each connection.
    """
    if not isinstance(pool.conninfo, str) or callable(pool.kwargs):
        raise ConfigurationError(
            "the pool computes its connection settings: give the client a database_url beside it"
        )
    return make_conninfo(
        pool.conninfo, **{key: value for key, value in (pool.kwargs or {}).items() if key not in _NOT_LIBPQ}
    )
