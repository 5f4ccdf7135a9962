"""What callers may give as `conn=`, and the psycopg connection that is behind it.

SQLAlchemy is looked at only if the caller has imported it; its async parts want greenlet, and are not needed here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg import AsyncConnection, Connection

from zart_core import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import engine, orm
    from sqlalchemy.ext import asyncio as aio

    SyncConn: TypeAlias = Connection[Any] | engine.Connection | orm.Session
    Conn: TypeAlias = SyncConn | AsyncConnection[Any] | aio.AsyncConnection | aio.AsyncSession
else:
    SyncConn = Conn = Any

ACCEPTED = (
    "`conn` takes a psycopg AsyncConnection or Connection, or a connection or session of SQLAlchemy over psycopg, that "
    "is in a transaction, or idle without autocommit, on the client's own database"
)


async def lend(conn: Any) -> object:
    """Return the psycopg connection behind `conn`; whatever is not SQLAlchemy's is returned as it is.

    Raises:
        ConfigurationError: It is SQLAlchemy's and has no psycopg connection, or is not usable now.
    """
    aio: Any = sys.modules.get("sqlalchemy.ext.asyncio")
    if aio is None or not isinstance(conn, aio.AsyncConnection | aio.AsyncSession):
        return lend_sync(conn)
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - the caller has imported it before

    try:
        connection: Any = await conn.connection() if isinstance(conn, aio.AsyncSession) else conn
        if not connection.in_transaction():
            await connection.begin()  # else SQLAlchemy would not know that there is something to commit
        return _driver_connection(await connection.get_raw_connection())
    except SQLAlchemyError as error:
        raise _unusable(error) from error


def lend_sync(conn: object) -> object:
    """Return the psycopg connection behind a blocking `conn`; otherwise as `lend`."""
    if "sqlalchemy" not in sys.modules or isinstance(conn, AsyncConnection | Connection):
        return conn
    from sqlalchemy import engine, orm  # noqa: PLC0415 - the caller has imported it before
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - as above

    if not isinstance(conn, engine.Connection | orm.Session):
        return conn
    try:
        connection = conn.connection() if isinstance(conn, orm.Session) else conn
        if not connection.in_transaction():
            connection.begin()  # as above
        return _driver_connection(connection.connection)
    except SQLAlchemyError as error:
        raise _unusable(error) from error


def _driver_connection(raw: Any) -> object:
    driver: object = raw.driver_connection
    if not isinstance(driver, AsyncConnection | Connection):
        raise ConfigurationError(
            f"the SQLAlchemy engine behind `conn` uses {type(driver).__module__}: make it with a URL that begins with "
            f"postgresql+psycopg://"
        )
    return driver


def _unusable(error: Exception) -> ConfigurationError:
    return ConfigurationError(f"{ACCEPTED}; SQLAlchemy says: {str(error).partition(chr(10))[0]}")
