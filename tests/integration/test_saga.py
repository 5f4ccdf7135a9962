"""Semantics 5: a run that is stopped from outside is rolled back, durably and once, before it ends."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support import workflows
from tests.support.cluster import LEASE, Cluster, until

from zart_core import ExecutionCancelled, RunState
from zart_scheduler import Client, Handle, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease=LEASE, poll_interval="100ms")
BOOKED = [("book", "seat"), ("book", "room")]
UNBOOKED = [("unbook", "room"), ("unbook", "seat")]


def effects(cluster: Cluster) -> list[tuple[str, str]]:
    return [(entry["step"], entry["what"]) for entry in cluster.entries()]


async def waits(handle: Handle[Any]) -> None:
    async def is_waiting() -> bool:
        return await handle.status() is RunState.WAITING

    await until(is_waiting)


@pytest.mark.parametrize("max_parked", [0, 1000])
async def test_a_cancelled_run_with_an_open_saga_is_rolled_back_before_it_is_cancelled(
    cluster: Cluster, max_parked: int
) -> None:
    config = WorkerConfig(lease=LEASE, poll_interval="100ms", max_parked=max_parked)
    async with Client(cluster.url) as client, Worker(client, workflows, config=config):
        handle = await client.start(workflows.trip, execution_id="run")
        await waits(handle)
        await handle.cancel("enough")
        with pytest.raises(ExecutionCancelled, match="enough"):
            await handle.result(10)
    assert effects(cluster) == BOOKED + UNBOOKED


@pytest.mark.parametrize(
    "point", ["before-commit:unbook", "after-commit:unbook", "after-commit:unbook#2", "before-complete"]
)
async def test_a_kill_during_the_rollback_repeats_no_recorded_one(cluster: Cluster, point: str) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.trip, execution_id="run")
        async with Worker(client, workflows, config=CONFIG):
            await waits(handle)
        await handle.cancel()
        victim = await cluster.worker(crash_at=point)
        await victim.died()
        async with Worker(client, workflows, config=CONFIG):
            with pytest.raises(ExecutionCancelled):
                await handle.result(LEASE + 10)
    again = [("unbook", "room")] if point == "before-commit:unbook" else []
    assert effects(cluster) == BOOKED + again + UNBOOKED
    assert await cluster.value("SELECT count(*) FROM zart_tasks") == 0


async def test_a_deadline_kept_by_a_sweeper_is_rolled_back_and_then_handled(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.late_trip, execution_id="run")
        async with Worker(client, workflows, config=CONFIG):
            assert await handle.result(15) == "DeadlineExceeded"
    assert effects(cluster) == BOOKED + UNBOOKED
