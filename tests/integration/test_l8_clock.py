"""L8: time is the database's. A worker whose clock is an hour off changes nothing; deadlines hold whoever obeys."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from tests.support import workflows
from tests.support.cluster import LEASE, Cluster, until

from zart_core import ExecutionFailed, RunState
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease=LEASE, poll_interval="100ms")
LONG = WorkerConfig(lease="60s", poll_interval="100ms")
"""Nothing is taken away from its owner within a test: it obeys."""


@pytest.mark.parametrize("skew", [-3600, 3600])
async def test_a_worker_whose_clock_is_an_hour_off_changes_nothing(cluster: Cluster, skew: float) -> None:
    async with Client(cluster.url) as client:
        worker = await cluster.worker(skew=skew)
        handles: list[Any] = [
            await client.start(workflows.clock, 0.5),
            await client.start(workflows.retrying),
            await client.start(
                workflows.order, workflows.Order(order_id="o", amount=1), execution_id="order"
            ),
            await client.start(workflows.impatient, 0.5),
            await client.start(workflows.timed_step, 0.5),
        ]
        await client.send_event("order", "shipped", workflows.Shipment(tracking="T"))
        slept, tries, order, event, step = await asyncio.gather(*(handle.result(20) for handle in handles))
        assert 0.5 <= slept < 5
        assert tries == 3
        assert order.tracking == "T"
        assert event == "EventTimeout"
        assert step == "StepTimeout"
        late = await client.start(workflows.limited, 30.0)
        with pytest.raises(ExecutionFailed, match="within its timeout"):
            await late.result(10)
    first, second, third = (entry["at"] for entry in cluster.entries() if entry["step"] == "flaky")
    assert second - first >= 0.3
    assert third - second >= 0.3
    assert worker.log.count("lease") == 0


async def test_a_skewed_worker_takes_nothing_over_that_lives(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.counting, 10, 0.1)
        await cluster.worker(skew=3600)
        await cluster.worker(skew=-3600)
        assert await handle.result(20) == list(range(10))
        epochs = await cluster.value("SELECT final_epoch FROM zart_execution_runs")
    assert epochs == 1


@pytest.mark.parametrize("workflow", [workflows.limited, workflows.limited_in_thread])
async def test_a_running_run_ends_at_its_deadline_and_its_late_result_is_dropped(
    cluster: Cluster, workflow: Any
) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=LONG):
        handle = await client.start(workflow, 2.5)
        began = time.monotonic()
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result(10)
        assert failed.value.failure.kind == "DeadlineExceeded"
        await until(lambda: time.monotonic() - began > 3)  # the step is over by now
    assert await cluster.value("SELECT count(*) FROM zart_steps WHERE outcome = 'o'") == 0
    assert await cluster.value("SELECT state FROM zart_execution_runs") == "failed"


async def test_a_parked_run_is_ended_at_its_deadline_by_a_worker_that_does_not_know_it(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client:
        async with Worker(client, workflows, config=CONFIG):
            handle = await client.start(workflows.limited_wait)
            await until(lambda: _is_state(handle, RunState.WAITING))
        async with Worker(client, workflows.counting, config=CONFIG):
            with pytest.raises(ExecutionFailed) as failed:
                await handle.result(10)
        assert failed.value.failure.kind == "DeadlineExceeded"
    assert await cluster.value("SELECT count(*) FROM zart_waits") == 0


async def test_a_run_whose_owner_ignores_the_deadline_is_taken_away_after_one_lease(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        stubborn = await cluster.worker()
        handle = await client.start(workflows.limited_obstinate, 6.0)
        await until(lambda: "stubborn" in cluster.effects())
        began = time.monotonic()
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result(1 + LEASE + 4)
        assert failed.value.failure.kind == "DeadlineExceeded"
        ended = await cluster.rows("SELECT * FROM zart_execution_runs")
        await until(lambda: time.monotonic() - began > 6.5)  # the step has returned
        assert await cluster.rows("SELECT * FROM zart_execution_runs") == ended
        assert await cluster.value("SELECT count(*) FROM zart_steps WHERE outcome = 'o'") == 0
        assert stubborn.exit_status is None


async def test_a_deadline_passes_although_the_body_swallows_everything(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=LONG):
        handle = await client.start(workflows.swallowing)
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result(1 + LEASE + 4)
        assert failed.value.failure.kind == "DeadlineExceeded"


async def _is_state(handle: Any, state: RunState) -> bool:
    return bool(await handle.status() is state)
