"""`conn=`: a start or an event exists if and only if the caller's own transaction commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, Connection, sql
from tests.support.histories import execute

from zart_core import (
    ConfigurationError,
    ExecutionConflict,
    ExecutionNotFound,
    RunState,
    SchemaOutOfDate,
    StoreConflict,
)
from zart_decorators import durable
from zart_scheduler import Client, SyncClient, migrate

pytestmark = pytest.mark.anyio


@durable
async def ship(order_id: str) -> str:
    return order_id


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with Client(database_url) as client:
        yield client


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[AsyncConnection[Any]]:
    async with await AsyncConnection.connect(database_url) as connection:
        await connection.execute("CREATE TABLE orders (order_id text PRIMARY KEY)")
        await connection.commit()
        yield connection


async def test_a_start_exists_when_the_transaction_commits(
    client: Client, conn: AsyncConnection[Any]
) -> None:
    async with conn.transaction():
        await conn.execute("INSERT INTO orders VALUES ('7')")
        handle = await client.start(ship, "7", execution_id="ship-7", conn=conn)
        assert handle.existing is False
        with pytest.raises(ExecutionNotFound):
            await handle.status()
        with pytest.raises(ExecutionNotFound):
            await handle.result(timeout=5)
    assert await handle.status() is RunState.SCHEDULED


async def test_a_rolled_back_start_never_was(client: Client, conn: AsyncConnection[Any]) -> None:
    async with conn.transaction(force_rollback=True):
        await client.start(ship, "7", execution_id="ship-7", conn=conn)
    with pytest.raises(ExecutionNotFound):
        await client.handle("ship-7").status()
    assert (await client.start(ship, "8", execution_id="ship-7")).existing is False


async def test_an_idle_connection_without_autocommit_counts(
    client: Client, conn: AsyncConnection[Any]
) -> None:
    await client.start(ship, "7", execution_id="ship-7", conn=conn)
    await conn.rollback()
    with pytest.raises(ExecutionNotFound):
        await client.handle("ship-7").status()
    await client.start(ship, "7", execution_id="ship-7", conn=conn)
    await conn.commit()
    assert await client.handle("ship-7").status() is RunState.SCHEDULED


async def test_a_conflict_leaves_the_transaction_usable(client: Client, conn: AsyncConnection[Any]) -> None:
    await client.start(ship, "7", execution_id="ship-7")
    async with conn.transaction():
        with pytest.raises(ExecutionConflict):
            await client.start(ship, "8", execution_id="ship-7", conn=conn)
        with pytest.raises(ExecutionConflict):
            await client.start(ship, "7", execution_id="ship-7", on_conflict="reject", conn=conn)
        assert (await client.start(ship, "7", execution_id="ship-7", conn=conn)).existing is True
        await conn.execute("INSERT INTO orders VALUES ('7')")
    found = await (await conn.execute("SELECT count(*) FROM orders")).fetchone()
    assert found == (1,)


async def test_two_transactions_that_start_one_id_agree_on_one_execution(
    client: Client, conn: AsyncConnection[Any]
) -> None:
    await client.start(ship, "7", execution_id="ship-7", conn=conn)
    other = asyncio.create_task(client.start(ship, "7", execution_id="ship-7"))
    await _blocked_by(conn)
    await conn.commit()
    assert (await other).existing is True


async def test_a_start_waits_out_another_that_rolls_back(client: Client, conn: AsyncConnection[Any]) -> None:
    await client.start(ship, "7", execution_id="ship-7", conn=conn)
    other = asyncio.create_task(client.start(ship, "8", execution_id="ship-7"))
    await _blocked_by(conn)
    await conn.rollback()
    assert (await other).existing is False


async def test_an_event_is_sent_when_the_transaction_commits(
    client: Client, conn: AsyncConnection[Any]
) -> None:
    handle = await client.start(ship, "7")
    async with conn.transaction(force_rollback=True):
        await handle.send_event("paid", 1, conn=conn)
    async with conn.transaction():
        await client.send_event(handle.execution_id, "paid", 2, idempotency_key="k", conn=conn)
        with pytest.raises(StoreConflict):
            await handle.send_event("paid", 3, idempotency_key="k", conn=conn)
    assert [event.payload for event in (await handle.describe()).events] == [2]


async def test_an_execution_can_be_started_and_told_in_one_transaction(
    client: Client, conn: AsyncConnection[Any]
) -> None:
    async with conn.transaction():
        handle = await client.start(ship, "7", conn=conn)
        await handle.send_event("paid", conn=conn)
    assert [event.name for event in (await handle.describe()).events] == ["paid"]


async def test_a_blocking_connection_is_taken_too(client: Client, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        await client.start(ship, "7", execution_id="ship-7", conn=conn)
        with pytest.raises(ExecutionNotFound):
            await client.handle("ship-7").status()
    assert await client.handle("ship-7").status() is RunState.SCHEDULED


async def test_a_row_factory_of_the_caller_does_not_matter(client: Client, database_url: str) -> None:
    async with await AsyncConnection.connect(database_url, row_factory=psycopg.rows.dict_row) as conn:
        assert (await client.start(ship, "7", conn=conn)).existing is False


async def test_autocommit_without_a_transaction_is_refused(client: Client, database_url: str) -> None:
    async with await AsyncConnection.connect(database_url, autocommit=True) as conn:
        with pytest.raises(ConfigurationError, match="autocommit mode"):
            await client.start(ship, "7", conn=conn)
        with pytest.raises(ConfigurationError, match="autocommit mode"):
            await client.send_event("x", "paid", conn=conn)
        async with conn.transaction():
            await client.start(ship, "7", conn=conn)
    assert len((await client.list_runs()).items) == 1


@pytest.mark.parametrize("kind", ["a text", "closed", "failed", "busy"])
async def test_what_is_no_transaction_is_refused(
    client: Client, conn: AsyncConnection[Any], kind: str
) -> None:
    given: Any = conn
    if kind == "a text":
        given = "postgresql://"
    elif kind == "closed":
        await conn.close()
    elif kind == "failed":
        with pytest.raises(psycopg.Error):
            await conn.execute("SELECT 1 / 0")
    else:
        conn.pgconn.send_query(b"SELECT 1")
    with pytest.raises(ConfigurationError, match="psycopg AsyncConnection or Connection"):
        await client.start(ship, "7", conn=given)
    await conn.close()


async def test_another_database_is_refused(client: Client, new_database: Callable[[], str]) -> None:
    async with await AsyncConnection.connect(new_database()) as conn:
        with pytest.raises(ConfigurationError, match="another database"):
            await client.start(ship, "7", conn=conn)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_server_restarted_since_is_the_same_database(
    client: Client, conn: AsyncConnection[Any], database_url: str, kind: str
) -> None:
    home = await client._access.callers.home()
    client._access.callers._home = replace(home, database="before the restart")
    if kind == "async":
        assert (await client.start(ship, "7", conn=conn)).existing is False
    else:
        with psycopg.connect(database_url) as blocking:
            assert (await client.start(ship, "7", conn=blocking)).existing is False


async def test_a_schema_outside_the_callers_search_path_is_found(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_SCHEMA", "my zart")
    execute(empty_database_url, 'CREATE SCHEMA "my zart"')
    migrate(empty_database_url)
    async with (
        Client(empty_database_url) as client,
        await AsyncConnection.connect(empty_database_url) as conn,
    ):
        for number in range(2):
            async with conn.transaction():
                await client.start(ship, str(number), execution_id=str(number), conn=conn)
                path = await (await conn.execute("SHOW search_path")).fetchone()
                assert path == ('"$user", public',)
        assert len((await client.list_runs()).items) == 2


async def test_a_database_without_schema_says_so(empty_database_url: str) -> None:
    async with (
        Client(empty_database_url) as client,
        await AsyncConnection.connect(empty_database_url) as conn,
    ):
        with pytest.raises(SchemaOutOfDate, match="zart migrate"):
            await client.start(ship, "7", conn=conn)


def test_a_blocking_client_works_in_the_callers_thread(database_url: str) -> None:
    with SyncClient(database_url) as client, psycopg.connect(database_url) as conn:
        handle = client.start(ship, "7", execution_id="ship-7", conn=conn)
        handle.send_event("paid", 1, conn=conn)
        client.send_event("ship-7", "paid", 2, conn=conn)
        with pytest.raises(ExecutionNotFound):
            handle.status()
        with pytest.raises(ExecutionConflict):
            client.start(ship, "8", execution_id="ship-7", conn=conn)
        conn.commit()
        assert [event.payload for event in handle.describe().events] == [1, 2]
        with pytest.raises(ConfigurationError, match="`conn` takes a psycopg"):
            client.start(ship, "7", conn="x")  # type: ignore[call-overload] # that is what is refused


def test_a_transaction_at_a_higher_isolation_level_is_refused_for_events(database_url: str) -> None:
    with SyncClient(database_url) as client, psycopg.connect(database_url) as conn:
        handle = client.start(ship, "7")
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        with pytest.raises(ConfigurationError, match="READ COMMITTED"):
            handle.send_event("paid", conn=conn)


async def _blocked_by(conn: AsyncConnection[Any] | Connection[Any]) -> None:
    """Wait until some back end waits for the transaction of `conn`."""
    async with asyncio.timeout(10):
        async with await AsyncConnection.connect(conn.info.dsn, autocommit=True) as watcher:
            while True:
                cursor = await watcher.execute(
                    sql.SQL("SELECT 1 FROM pg_stat_activity WHERE {} = ANY (pg_blocking_pids(pid))").format(
                        conn.info.backend_pid
                    )
                )
                if await cursor.fetchone():
                    return
                await asyncio.sleep(0.01)
