"""The mailbox belongs to the execution: what no body has seen of it is there for the next run, and only that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from tests.support.cluster import Cluster, until

from zart_core import RunState, wait_for_event
from zart_decorators import durable, step
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio


@step
async def forever() -> None:
    await asyncio.Event().wait()


@durable
async def first_of_two() -> str:
    waits = {asyncio.ensure_future(wait_for_event(name, str)) for name in ("a", "b")}
    done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    return ", ".join(task.result() for task in done)


@durable
async def seen_then_busy() -> None:
    await wait_for_event("a", str)
    await forever()


@pytest.fixture(params=[1000, 0], ids=["cached", "evicted"])
async def client(cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    config = WorkerConfig(lease="5s", poll_interval="100ms", max_parked=request.param)
    async with Client(cluster.url) as client, Worker(client, first_of_two, seen_then_busy, config=config):
        yield client


async def test_an_event_with_a_turn_that_never_reached_the_body_is_in_the_mailbox_after_the_end(
    client: Client, cluster: Cluster
) -> None:
    handle = await client.start(first_of_two)
    await until(lambda: _is(client, handle.execution_id, RunState.WAITING))
    async with await psycopg.AsyncConnection.connect(cluster.url) as conn:  # both get the turn of one claim
        await handle.send_event("b", "B", conn=conn)
        await handle.send_event("a", "A", conn=conn)
        await conn.commit()

    assert await handle.result(20) == "A"

    events = {event.name: event.state for event in (await handle.describe()).events}
    assert events == {"a": "consumed", "b": "pending"}
    assert await cluster.value("SELECT count(*) FROM zart_steps WHERE kind = 'w'") == 1


async def test_an_event_that_the_body_has_seen_stays_consumed_when_the_run_is_cancelled(
    client: Client, cluster: Cluster
) -> None:
    handle = await client.start(seen_then_busy)
    await until(lambda: _is(client, handle.execution_id, RunState.WAITING))
    await handle.send_event("a", "A")
    await handle.send_event("a", "more")
    await until(lambda: _is(client, handle.execution_id, RunState.RUNNING))
    await handle.cancel()
    await until(lambda: _is(client, handle.execution_id, RunState.CANCELLED))

    events = {event.payload: event.state for event in (await handle.describe()).events}
    assert events == {"A": "consumed", "more": "pending"}


async def _is(client: Client, execution_id: str, state: RunState) -> bool:
    return await client.handle(execution_id).status() is state
