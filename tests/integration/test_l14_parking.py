"""L14: parked runs cost rows: no slot, no owner, no connection, and no more bodies in memory than `max_parked`."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from tests.support import workflows
from tests.support.cluster import Cluster, until

from zart_core import RunState, executor
from zart_core.spi import ActiveRun
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease="60s", poll_interval="100ms", concurrency=2)


async def test_parked_runs_hold_no_slot_no_owner_and_no_connection(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        waiting = [await client.start(workflows.listening) for _ in range(20)]
        sleeping = [await client.start(workflows.napping, 0) for _ in range(20)]
        await until(lambda: _parked(cluster, 40))
        assert {await handle.status() for handle in waiting} == {RunState.WAITING}
        assert {await handle.status() for handle in sleeping} == {RunState.SLEEPING}
        assert await cluster.value("SELECT count(*) FROM zart_tasks WHERE worker_id IS NOT NULL") == 0
        connections = """SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND application_name LIKE 'zart-%%'"""
        assert await cluster.value(connections) < 15
        busy = await client.start(workflows.counting, 3)
        assert await busy.result(10) == [0, 1, 2]
        for handle in waiting:
            await handle.send_event("said", "hello")
        assert await asyncio.gather(*(handle.result(20) for handle in waiting)) == ["hello"] * 20


@pytest.mark.parametrize("max_parked", [0, 3])
async def test_at_most_max_parked_bodies_stay_in_memory(cluster: Cluster, max_parked: int) -> None:
    config = WorkerConfig(lease="60s", poll_interval="100ms", max_parked=max_parked)
    async with Client(cluster.url) as client, Worker(client, workflows, config=config):
        handles = [await client.start(workflows.listening) for _ in range(10)]
        await until(lambda: _parked(cluster, 10))
        await until(lambda: _bodies() <= max_parked, what="bodies to be evicted")
        for handle in handles:
            await handle.send_event("said", "hello")
        assert await asyncio.gather(*(handle.result(20) for handle in handles)) == ["hello"] * 10
    assert cluster.effects() == ["finish"] * 20


async def test_a_body_that_waits_in_memory_only_stays_active_and_is_warned_about(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(executor, "IDLE_WARNING", 0.2)
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        with caplog.at_level(logging.WARNING, "zart"):
            handle = await client.start(workflows.dozing, 1.0)
            await until(lambda: "cannot park" in caplog.text)
        assert await handle.status() is RunState.RUNNING
        assert await handle.result(10) == "awake"
    assert await cluster.value("SELECT final_epoch FROM zart_execution_runs") == 1


async def test_a_long_retry_delay_parks_the_run(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.retrying)
        await until(lambda: _parked(cluster, 1))
        assert await handle.result(10) == 3
    assert await cluster.value("SELECT final_epoch FROM zart_execution_runs") == 3


async def _parked(cluster: Cluster, runs: int) -> bool:
    return bool(await cluster.value("SELECT count(*) FROM zart_tasks WHERE state = 'w'") == runs)


def _bodies() -> int:
    """Return how many bodies are alive that are not over."""
    gc.collect()
    runs = [found for found in gc.get_objects() if isinstance(found, ActiveRun)]
    return sum(bool(run.loop.live_tasks()) for run in runs)
