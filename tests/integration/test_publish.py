"""`publish`: named state of a run that anyone can read while it runs and after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.cluster import Cluster, until

from zart_core import (
    ExecutionNotFound,
    NotInRun,
    PayloadInvalid,
    PayloadTooLarge,
    UsageError,
    publish,
    sleep,
    wait_for_event,
)
from zart_decorators import durable, step
from zart_scheduler import Client, SyncClient, Worker, WorkerConfig

pytestmark = pytest.mark.anyio


@dataclass
class Progress:
    done: int
    of: int


@step
async def work(n: int) -> int:
    return n


@durable
async def progressing(items: int) -> int:
    total = 0
    for n in range(items):
        total += await work(n)
        await publish("progress", Progress(n + 1, items))
    await wait_for_event("go")
    await publish("total", total)
    return total


@durable
async def branching() -> None:
    async def branch(n: int) -> None:
        await publish("latest", n)
        await sleep("nap", 0.01 * n)
        await publish(f"branch {n}", n)

    await asyncio.gather(*(branch(n) for n in range(5)))


@durable
async def hopeless() -> list[str]:
    found = []
    for value in (object(), "x" * 5000, None):
        try:
            await publish("value", value)
        except (PayloadInvalid, PayloadTooLarge) as error:
            found.append(type(error).__name__)
    await sleep("nap", 0.01)
    return found


@pytest.fixture(params=[1000, 0], ids=["cached", "evicted"])
async def client(cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    config = WorkerConfig(
        lease="60s", poll_interval="100ms", max_parked=request.param, max_payload="4KiB", concurrency=5
    )
    sources = (progressing, branching, hopeless)
    async with Client(cluster.url) as client, Worker(client, *sources, config=config):
        yield client


async def test_the_latest_value_is_read_while_the_run_runs_and_after_it(
    client: Client, cluster: Cluster
) -> None:
    handle = await client.start(progressing, 3)
    await until(lambda: _is(client, handle.execution_id, "progress", {"done": 3, "of": 3}))
    assert await handle.state("total") is None
    writes = "SELECT xmin::text || ' ' || ctid::text FROM zart_state WHERE key = 'progress'"
    before = await cluster.value(writes)

    await handle.send_event("go")
    assert await handle.result(20) == 3

    assert await handle.state("total") == 3
    assert await cluster.value(writes) == before  # a replay writes nothing again
    recorded = [s for s in (await handle.describe()).steps if s.kind == "state"]
    assert [s.name for s in recorded] == ["progress"] * 3 + ["total"]
    found = await handle.published("total")
    assert found is not None
    assert (found.key, found.value, found.updated_at.tzinfo is not None) == ("total", 3, True)


async def test_branches_publish_at_once_and_the_last_recorded_value_stands(client: Client) -> None:
    handle = await client.start(branching)
    await handle.result(20)
    assert [await handle.state(f"branch {n}") for n in range(5)] == [0, 1, 2, 3, 4]
    assert await handle.state("latest") == 4


async def test_a_value_that_cannot_be_stored_is_an_error_the_same_on_replay(client: Client) -> None:
    handle = await client.start(hopeless)
    assert await handle.result(20) == ["PayloadInvalid", "PayloadTooLarge"]
    found = await handle.published("value")
    assert found is not None
    assert found.value is None
    states = [str(s.state) for s in (await handle.describe()).steps if s.kind == "state"]
    assert states == ["failed", "failed", "completed"]


async def test_what_was_never_published_is_none_and_nobody_is_not_found(client: Client) -> None:
    handle = await client.start(branching)
    assert await handle.state("nothing") is None
    with pytest.raises(ExecutionNotFound):
        await client.handle("nobody").state("latest")
    with pytest.raises(UsageError):
        await handle.state("")


async def test_the_blocking_client_reads_it_too(client: Client, cluster: Cluster) -> None:
    handle = await client.start(branching)
    await handle.result(20)

    def read() -> Any:
        with SyncClient(cluster.url) as sync:
            return sync.handle(handle.execution_id).state("latest")

    assert await asyncio.to_thread(read) == 4


async def test_publish_belongs_in_a_body() -> None:
    with pytest.raises(NotInRun, match="publish"):
        publish("a", 1)


async def _is(client: Client, execution_id: str, key: str, value: object) -> bool:
    return bool(await client.handle(execution_id).state(key) == value)
