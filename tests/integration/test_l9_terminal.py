"""L9: terminal is terminal. A cancel stops a run once, wherever it is, and nothing moves one that has ended."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.support import workflows
from tests.support.cluster import LEASE, Cluster, until

from zart_core import ExecutionCancelled, ExecutionFailed, IllegalTransition, RunFinished, RunState
from zart_scheduler import Client, Handle, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease=LEASE, poll_interval="100ms")
LONG = WorkerConfig(lease="60s", poll_interval="100ms")
"""Nothing is taken away from its owner within a test: it obeys."""


async def test_a_completed_or_failed_run_cannot_be_cancelled_and_a_cancelled_one_again(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        completed = await client.start(workflows.counting, 1)
        failed = await client.start(workflows.failing)
        cancelled = await client.start(workflows.listening)
        await completed.result(10)
        with pytest.raises(ExecutionFailed):
            await failed.result(10)
        await cancelled.cancel("first")
        with pytest.raises(ExecutionCancelled, match="first"):
            await cancelled.result(10)
        ended = await cluster.rows("SELECT * FROM zart_execution_runs ORDER BY run_id")
        for handle in (completed, failed):
            with pytest.raises(IllegalTransition):
                await handle.cancel()
        assert await cancelled.cancel("second") is RunState.CANCELLED
        for each in (completed, failed, cancelled):
            with pytest.raises(RunFinished):
                await each.send_event("said", "hello")
        assert await cluster.rows("SELECT * FROM zart_execution_runs ORDER BY run_id") == ended


@pytest.mark.parametrize("state", ["never claimed", "parked"])
async def test_a_run_without_an_owner_is_cancelled_at_once(cluster: Cluster, state: str) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.listening)
        if state == "parked":
            async with Worker(client, workflows, config=CONFIG):
                await until(lambda: _is_state(handle, RunState.WAITING))
        assert await handle.cancel() is RunState.CANCELLED
        assert await handle.status() is RunState.CANCELLED
        before = cluster.effects()
        async with Worker(client, workflows, config=CONFIG):
            other = await client.start(workflows.counting, 1, execution_id="other")
            await other.result(10)
        assert cluster.effects(handle.execution_id) == before
    assert await cluster.value("SELECT count(*) FROM zart_tasks") == 0
    assert await cluster.value("SELECT count(*) FROM zart_waits") == 0


async def test_a_cancel_stops_an_async_step_and_begins_no_other(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=LONG):
        handle = await client.start(workflows.hanging)
        await until(lambda: cluster.effects() == ["hang"])
        assert await handle.cancel("enough") is RunState.RUNNING
        with pytest.raises(ExecutionCancelled, match="enough"):
            await handle.result(5)
    assert [entry.get("over", False) for entry in cluster.entries()] == [False, True]
    assert await cluster.value("SELECT count(*) FROM zart_steps") == 0


async def test_a_cancel_drops_the_late_result_of_a_thread(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=LONG):
        handle = await client.start(workflows.three_steps_in_threads, 1.5)
        await until(lambda: "count-in-thread" in cluster.effects())
        began = time.monotonic()
        await handle.cancel()
        with pytest.raises(ExecutionCancelled):
            await handle.result(5)
        assert time.monotonic() - began < 1.5
        await until(lambda: time.monotonic() - began > 2)  # the thread has returned
    assert cluster.effects() == ["finish", "count-in-thread"]
    assert await cluster.value("SELECT count(*) FROM zart_steps") == 1


async def test_a_cancel_ends_a_body_that_swallows_everything(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=LONG):
        handle = await client.start(workflows.unstoppable)
        await until(lambda: cluster.effects() == ["count"])
        await handle.cancel()
        with pytest.raises(ExecutionCancelled):
            await handle.result(5)
    assert cluster.effects() == ["count"]


async def test_a_run_whose_owner_does_not_obey_a_cancel_is_taken_away_after_one_lease(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client:
        await cluster.worker()
        handle = await client.start(workflows.obstinate, 5.0)
        await until(lambda: "stubborn" in cluster.effects())
        began = time.monotonic()
        await handle.cancel("obey")
        with pytest.raises(ExecutionCancelled, match="obey"):
            await handle.result(LEASE + 3)
        assert time.monotonic() - began >= LEASE
        ended = await cluster.rows("SELECT * FROM zart_execution_runs")
        await until(lambda: time.monotonic() - began > 5.5)  # the step has returned
        assert await cluster.rows("SELECT * FROM zart_execution_runs") == ended
    assert await cluster.value("SELECT count(*) FROM zart_steps") == 0


async def test_a_cancel_of_a_run_whose_worker_died_is_not_forgotten(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        victim = await cluster.worker()
        handle = await client.start(workflows.hanging)
        await until(lambda: cluster.effects() == ["hang"])
        victim.stop()
        await handle.cancel()
        victim.kill()
        async with Worker(client, workflows, config=CONFIG):
            with pytest.raises(ExecutionCancelled):
                await handle.result(LEASE + 5)
    assert cluster.effects() == ["hang"]


async def _is_state(handle: Handle[Any], state: RunState) -> bool:
    return bool(await handle.status() is state)
