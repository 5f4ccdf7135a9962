"""`conn=` with SQLAlchemy: what is started or sent is part of the connection's or session's own transaction."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import orm

from zart_core import ConfigurationError, ExecutionConflict, ExecutionNotFound, RunState, StoreConflict
from zart_decorators import durable
from zart_scheduler import Client, SyncClient

pytestmark = pytest.mark.anyio
with_greenlet = pytest.mark.skipif(
    importlib.util.find_spec("greenlet") is None,
    reason="SQLAlchemy's async parts need greenlet, which is not here",
)


@durable
async def ship(order_id: str) -> str:
    return order_id


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with Client(database_url) as client:
        yield client


def _url(database_url: str) -> sqlalchemy.URL:
    params = conninfo_to_dict(database_url)
    return sqlalchemy.URL.create(
        "postgresql+psycopg",
        username=str(params["user"]),
        password=str(params.get("password") or ""),
        database=str(params["dbname"]),
        query={"host": str(params["host"]), "port": str(params.get("port") or 5432)},
    )


@pytest.fixture
def engine(database_url: str) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(_url(database_url))
    with engine.begin() as conn:
        conn.execute(sqlalchemy.text("CREATE TABLE orders (order_id text PRIMARY KEY)"))
    yield engine
    engine.dispose()


INSERT = sqlalchemy.text("INSERT INTO orders VALUES ('7')")


@pytest.mark.parametrize("first", ["insert", "start"])
@pytest.mark.parametrize("kind", [sqlalchemy.Connection, orm.Session])
async def test_a_start_exists_when_the_transaction_commits(
    client: Client, engine: sqlalchemy.Engine, kind: type[Any], first: str
) -> None:
    for end in ("rollback", "commit"):
        with engine.connect() if kind is sqlalchemy.Connection else orm.Session(engine) as conn:
            if first == "insert":
                conn.execute(INSERT)
            handle = await client.start(ship, "7", execution_id="ship-7", conn=conn)
            assert (await client.send_event("ship-7", "paid", 1, conn=conn)).duplicate is False
            if first == "start":
                conn.execute(INSERT)
            with pytest.raises(ExecutionNotFound):
                await handle.status()
            getattr(conn, end)()
        if end == "rollback":
            with pytest.raises(ExecutionNotFound):
                await handle.status()
    assert await handle.status() is RunState.SCHEDULED
    assert [event.payload for event in (await handle.describe()).events] == [1]


def test_the_blocking_client_takes_them_too(database_url: str, engine: sqlalchemy.Engine) -> None:
    with SyncClient(database_url) as client:
        with engine.begin() as conn:
            handle = client.start(ship, "7", execution_id="ship-7", conn=conn)
            with pytest.raises(ExecutionNotFound):
                handle.status()
        with orm.Session(engine) as session, session.begin():
            handle.send_event("paid", 1, conn=session)
            assert handle.describe().events == []
        assert [event.payload for event in handle.describe().events] == [1]


async def test_a_conflict_leaves_the_transaction_usable(client: Client, engine: sqlalchemy.Engine) -> None:
    await client.start(ship, "7", execution_id="ship-7")
    with engine.begin() as conn:
        with pytest.raises(ExecutionConflict):
            await client.start(ship, "8", execution_id="ship-7", conn=conn)
        await client.send_event("ship-7", "paid", 1, idempotency_key="k", conn=conn)
        with pytest.raises(StoreConflict):
            await client.send_event("ship-7", "paid", 2, idempotency_key="k", conn=conn)
        conn.execute(INSERT)
    with engine.connect() as conn:
        assert conn.execute(sqlalchemy.text("SELECT count(*) FROM orders")).scalar() == 1


async def test_another_database_is_refused(client: Client, new_database: Any) -> None:
    engine = sqlalchemy.create_engine(_url(new_database()))
    with engine.begin() as conn, pytest.raises(ConfigurationError, match="another database"):
        await client.start(ship, "7", conn=conn)
    engine.dispose()


@pytest.mark.parametrize("kind", ["autocommit", "closed", "failed", "another driver", "engine"])
async def test_what_is_no_transaction_is_refused(
    client: Client, engine: sqlalchemy.Engine, kind: str
) -> None:
    given: Any = engine.connect()
    match kind:
        case "autocommit":
            given.execution_options(isolation_level="AUTOCOMMIT")
        case "closed":
            given.close()
        case "failed":
            with pytest.raises(sqlalchemy.exc.DataError):
                given.execute(sqlalchemy.text("SELECT 1 / 0"))
        case "another driver":
            given.close()
            given = sqlalchemy.create_engine("sqlite://").connect()
        case "engine":
            given.close()
            given = engine
    with pytest.raises(
        ConfigurationError, match=r"psycopg AsyncConnection or Connection|postgresql\+psycopg"
    ):
        await client.start(ship, "7", conn=given)
    if kind != "engine":
        given.close()
    assert (await client.list_runs()).items == []


@with_greenlet
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("kind", ["AsyncConnection", "AsyncSession"])
async def test_an_async_connection_or_session_takes_part(
    client: Client, database_url: str, kind: str
) -> None:
    aio = importlib.import_module("sqlalchemy.ext.asyncio")
    own = aio.create_async_engine(_url(database_url))
    for end in ("rollback", "commit"):
        async with own.connect() if kind == "AsyncConnection" else aio.AsyncSession(own) as conn:
            handle = await client.start(ship, "7", execution_id="ship-7", conn=conn)
            await conn.execute(INSERT)
            with pytest.raises(ExecutionNotFound):
                await handle.status()
            await getattr(conn, end)()
    assert await handle.status() is RunState.SCHEDULED
    await own.dispose()


def test_a_client_does_not_import_sqlalchemy() -> None:
    code = "import sys, zart_scheduler; zart_scheduler.Client; sys.exit('sqlalchemy.orm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
