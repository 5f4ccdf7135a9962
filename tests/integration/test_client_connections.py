"""The client's own connections: clear errors, one retry, hints of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from tests.support.histories import end, execute

from zart_core import (
    ConfigurationError,
    RunState,
    SchemaOutOfDate,
    StoreUnavailable,
    UsageError,
    WaitTimeout,
)
from zart_decorators import durable
from zart_scheduler import Client

pytestmark = pytest.mark.anyio

LOSE_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@durable
async def ship(order_id: str) -> str:
    return order_id


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with Client(database_url) as client:
        yield client


async def test_without_a_url_all_three_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZART_DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match=r"argument.*ZART_DATABASE_URL or DATABASE_URL"):
        Client()


async def test_the_environment_names_the_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/none")
    monkeypatch.setenv("ZART_DATABASE_URL", database_url)
    async with Client() as client:
        assert (await client.list_runs()).items == []
        with psycopg.connect(client.conninfo) as connection:
            assert connection.info.dbname in database_url


async def test_an_unreachable_database_is_told_at_once_without_the_password() -> None:
    client = Client("postgresql://nobody:s3cret@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        await client.open()
    assert "s3cret" not in str(caught.value)
    await client.close()


async def test_a_database_without_schema_names_the_command(empty_database_url: str) -> None:
    async with Client(empty_database_url) as client:
        for asked in (client.start(ship, "7"), client.list_runs(), client.handle("x").result()):
            with pytest.raises(SchemaOutOfDate, match="run `zart migrate`"):
                await asked


async def test_a_client_that_is_not_open_says_so(database_url: str) -> None:
    client = Client(database_url)
    with pytest.raises(UsageError, match="async with Client"):
        await client.start(ship, "7")


async def test_a_client_can_be_opened_again_but_not_twice_at_once(database_url: str) -> None:
    client = Client(database_url)
    for number in range(2):
        async with client:
            with pytest.raises(WaitTimeout):
                await (await client.start(ship, "7", execution_id=str(number))).result("10ms")
            with pytest.raises(UsageError, match="open already"):
                await client.open()


async def test_a_pool_of_the_callers_is_used_and_left_open(database_url: str) -> None:
    settings: dict[str, Any] = {"row_factory": psycopg.rows.dict_row}
    async with AsyncConnectionPool(database_url, min_size=1, max_size=2, kwargs=settings, open=False) as pool:
        async with Client(pool=pool) as client:
            handle = await client.start(ship, "7", execution_id="x")
            assert (await handle.describe()).state is RunState.SCHEDULED
            wait = asyncio.create_task(handle.result())
            end(database_url, "x", "completed", "7")
            assert await asyncio.wait_for(wait, 10) == "7"
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")


async def test_a_pool_that_is_not_open_is_refused(database_url: str) -> None:
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(database_url, open=False)
    with pytest.raises(ConfigurationError, match=r"await pool\.open"):
        await Client(pool=pool).open()
    computed: AsyncConnectionPool[Any] = AsyncConnectionPool(lambda: database_url, open=False)
    with pytest.raises(ConfigurationError, match="database_url beside it"):
        Client(pool=computed)


async def test_lost_connections_do_not_reach_the_caller(client: Client, database_url: str) -> None:
    await asyncio.gather(*(client.start(ship, str(n), execution_id=str(n)) for n in range(20)))
    execute(database_url, LOSE_ALL)
    handles = await asyncio.gather(*(client.start(ship, str(n), execution_id=str(n)) for n in range(20)))
    assert all(handle.existing for handle in handles)
    execute(database_url, LOSE_ALL)
    assert await handles[0].status() is RunState.SCHEDULED
    execute(database_url, LOSE_ALL)
    assert (await handles[0].describe()).state is RunState.SCHEDULED
    execute(database_url, LOSE_ALL)
    assert (await handles[0].send_event("paid", idempotency_key="k")).duplicate is False
    execute(database_url, LOSE_ALL)
    assert await handles[0].cancel() is RunState.CANCELLED


async def test_an_event_without_a_key_is_not_sent_twice(client: Client, database_url: str) -> None:
    handle = await client.start(ship, "7")
    execute(database_url, LOSE_ALL)
    with pytest.raises(StoreUnavailable):
        await handle.send_event("paid")
    await handle.send_event("paid")
    assert len((await handle.describe()).events) == 1


async def test_a_start_whose_answer_was_lost_is_not_existing(client: Client, database_url: str) -> None:
    """The connection dies after the commit and before the answer: the retry finds its own run."""
    connections = client._access.connections
    original = connections._once
    lost: list[bool] = []

    async def loses_the_first_answer(work: Any) -> Any:
        answer = await original(work)
        if not lost:
            lost.append(True)
            raise StoreUnavailable("the connection was lost")
        return answer

    connections._once = loses_the_first_answer  # type: ignore[method-assign] # to lose an answer
    handle = await client.start(ship, "7", execution_id="x", on_conflict="reject")
    assert (lost, handle.existing) == ([True], False)
    assert len(await handle.runs()) == 1


async def test_workers_are_told_of_starts_events_and_cancels_but_seldom(
    client: Client, database_url: str
) -> None:
    async with await AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute("LISTEN zart_ready")
        handles = await asyncio.gather(*(client.start(ship, str(n)) for n in range(200)))
        hints = [hint async for hint in listener.notifies(timeout=0.2)]
        assert 1 <= len(hints) <= 10
        await handles[0].send_event("paid")
        assert [hint async for hint in listener.notifies(timeout=5, stop_after=1)]
        await handles[1].cancel()
        assert [hint async for hint in listener.notifies(timeout=5, stop_after=1)]


async def test_a_start_in_a_transaction_hints_nobody(client: Client, database_url: str) -> None:
    async with (
        await AsyncConnection.connect(database_url, autocommit=True) as listener,
        await AsyncConnection.connect(database_url) as conn,
    ):
        await listener.execute("LISTEN zart_ready")
        await client.start(ship, "7", conn=conn)
        await conn.commit()
        assert [hint async for hint in listener.notifies(timeout=0.1)] == []


async def test_what_is_due_when_the_client_closes_is_still_told(database_url: str) -> None:
    async with await AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute("LISTEN zart_ready")
        async with Client(database_url) as client:
            await client.start(ship, "1")
        assert [hint async for hint in listener.notifies(timeout=5, stop_after=1)]


async def test_reads_cost_no_more_than_a_few_connections(client: Client, database_url: str) -> None:
    handle = await client.start(ship, "7")
    waits = [asyncio.create_task(handle.result("300ms")) for _ in range(500)]
    await asyncio.gather(*(handle.status() for _ in range(200)))
    ((count,),) = execute(
        database_url,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    assert count <= 11
    for outcome in await asyncio.gather(*waits, return_exceptions=True):
        assert isinstance(outcome, WaitTimeout)
