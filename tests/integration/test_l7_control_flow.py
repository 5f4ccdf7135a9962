"""L7: what catches every Exception sees neither an eviction nor a cancel, and what runs in `finally` counts no more."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support import lawful
from tests.support.cluster import LEASE, Cluster, until

from zart_core import ExecutionCancelled, RunState
from zart_scheduler import Client, Handle, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

EVICTS = WorkerConfig(lease=LEASE, poll_interval="100ms", max_parked=0)


async def is_waiting(handle: Handle[Any]) -> bool:
    return await handle.status() is RunState.WAITING


async def test_a_body_that_is_evicted_at_every_wait_sees_nothing_of_it(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, lawful, config=EVICTS):
        handle = await client.start(lawful.stubborn_body)
        for word in ("one", "two", "three"):
            await until(lambda: is_waiting(handle))
            await handle.send_event("said", word)
        assert await handle.result(10) == ["one", "two", "three", "finally"]
    assert cluster.effects() == ["work"]


async def test_a_body_that_is_cancelled_records_nothing_more_whatever_it_catches(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, lawful, config=EVICTS):
        handle = await client.start(lawful.stubborn_body)
        await handle.send_event("said", "one")
        await until(lambda: is_waiting(handle))
        await handle.cancel()
        with pytest.raises(ExecutionCancelled):
            await handle.result(10)
    assert cluster.effects() == []
