"""A graceful stop: running steps finish and are recorded, everything else is handed back at once, exit status 0."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pytest
from tests.support import workflows
from tests.support.cluster import Cluster, until
from tests.support.proxy import Proxy

from zart_core import RunState
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

LONG = WorkerConfig(lease="60s", poll_interval="10s")
"""What goes on within a test is neither a takeover nor found by polling."""

HANDOVER = 1.0
"""Seconds within which another worker goes on with what was handed back."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workflow", [workflows.three_steps, workflows.three_steps_in_threads])
async def test_running_steps_finish_and_another_worker_goes_on(
    cluster: Cluster, number: signal.Signals, workflow: Any
) -> None:
    async with Client(cluster.url) as client:
        first = await cluster.worker(lease="60s", poll_interval="10s")
        handles = [await client.start(workflow, 1.0, execution_id=f"run-{n}") for n in range(3)]
        await until(lambda: sum(step.startswith("count") for step in cluster.effects()) == 3)
        async with Worker(client, workflows, config=LONG):
            first.signal(number)
            assert await first.ended() == 0
            ended_at = time.monotonic()
            assert await asyncio.gather(*(handle.result(20) for handle in handles)) == [1, 1, 1]
    for handle in handles:
        entries = cluster.entries(handle.execution_id)
        assert [entry["step"].removesuffix("-in-thread") for entry in entries] == [
            "finish",
            "count",
            "finish",
        ]
        assert [entry["pid"] for entry in entries] == [first.pid, first.pid, os.getpid()]
        assert entries[-1]["at"] - ended_at < HANDOVER
    assert set(await _values(cluster, "SELECT crash_count FROM zart_tasks")) <= {0}
    assert set(await _values(cluster, "SELECT final_epoch FROM zart_execution_runs")) == {2}


async def test_a_stopping_worker_claims_nothing(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        worker = await cluster.worker(lease="60s", poll_interval="50ms")
        first = await client.start(workflows.three_steps, 1.0, execution_id="first")
        await until(lambda: "count" in cluster.effects())
        worker.terminate()
        await until(lambda: "stopping" in worker.log)
        second = await client.start(workflows.counting, 1, execution_id="second")
        assert await worker.ended() == 0
        assert await first.status() is RunState.SCHEDULED
        assert await second.status() is RunState.SCHEDULED
    assert cluster.effects("second") == []
    assert await _values(cluster, "SELECT state FROM zart_workers") == ["dead"]


async def test_parked_runs_do_not_hold_up_a_stop(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        worker = await cluster.worker(lease="60s")
        handle = await client.start(workflows.listening)
        await until(lambda: _is_state(handle, RunState.WAITING))
        worker.terminate()
        assert await worker.ended(within=HANDOVER + 1) == 0
        assert await handle.status() is RunState.WAITING


@pytest.mark.parametrize("workflow", [workflows.three_steps, workflows.three_steps_in_threads])
async def test_steps_that_outlast_the_drain_timeout_are_handed_back_and_hold_up_nothing(
    cluster: Cluster, workflow: Any
) -> None:
    async with Client(cluster.url) as client:
        worker = await cluster.worker(lease="60s", drain_timeout="300ms")
        handle = await client.start(workflow, 30.0)
        await until(lambda: len(cluster.effects()) == 2)
        worker.terminate()
        assert await worker.ended(within=3) == 0
        assert await handle.status() is RunState.SCHEDULED
    assert await _values(cluster, "SELECT count(*) FROM zart_steps") == [1]
    assert await _values(cluster, "SELECT crash_count FROM zart_tasks") == [0]


async def test_a_step_that_swallows_its_cancellation_is_handed_back_in_spite_of_it(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        worker = await cluster.worker(lease="60s", drain_timeout="100ms")
        handle = await client.start(workflows.obstinate, 8.0)
        await until(lambda: cluster.effects() == ["stubborn"])
        worker.terminate()
        await until(lambda: _is_state(handle, RunState.SCHEDULED), within=4)
        assert await _values(cluster, "SELECT crash_count FROM zart_tasks") == [0]


async def test_a_second_signal_gives_steps_no_more_time(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        worker = await cluster.worker(lease="60s", drain_timeout="60s")
        handle = await client.start(workflows.three_steps, 60.0)
        await until(lambda: "count" in cluster.effects())
        worker.terminate()
        await until(lambda: "stopping" in worker.log)
        worker.signal(signal.SIGINT)
        assert await worker.ended(within=3) == 0
        assert await handle.status() is RunState.SCHEDULED


async def test_a_run_claimed_while_the_worker_stops_is_handed_back_unbegun(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Proxy(cluster.url).running() as proxy:
        async with Client(proxy.url) as behind, Worker(behind, workflows, config=LONG) as worker:
            claim = proxy.catch("zart_claim_v1")
            handle = await client.start(workflows.counting, 1)
            await until(claim.held.is_set)
            worker.stop()
            claim.deliver()
        assert await handle.status() is RunState.SCHEDULED
    assert cluster.effects() == []
    assert await _values(cluster, "SELECT crash_count FROM zart_tasks") == [0]


async def test_a_parked_run_that_is_woken_while_the_worker_stops_is_handed_back(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Proxy(cluster.url).running() as proxy:
        async with Client(proxy.url) as behind, Worker(behind, workflows, config=LONG) as worker:
            handle = await client.start(workflows.listening)
            await until(lambda: _is_state(handle, RunState.WAITING))
            load = proxy.catch("x.tags, r.created_at")
            await handle.send_event("said", "hello")
            await until(load.held.is_set)
            worker.stop()
            load.deliver()
        assert await handle.status() is RunState.SCHEDULED
        assert cluster.effects() == ["finish"]
        async with Worker(client, workflows, config=LONG):
            assert await handle.result(10) == "hello"
    assert cluster.effects() == ["finish", "finish"]


async def test_a_run_that_is_cancelled_while_the_worker_stops_ends_cancelled(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=LONG) as worker:
        handle = await client.start(workflows.hanging)
        await until(lambda: cluster.effects() == ["hang"])
        worker.stop()
        await handle.cancel("no longer wanted")
        await until(lambda: _is_state(handle, RunState.CANCELLED), within=5)


async def test_an_embedded_worker_drains_when_its_block_is_left(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        async with Worker(client, workflows, config=LONG) as worker:
            handle = await client.start(workflows.three_steps, 0.5)
            await until(lambda: "count" in cluster.effects())
        assert await handle.status() is RunState.SCHEDULED
        worker.stop()  # again, and after the end
    assert cluster.effects() == ["finish", "count"]
    assert await _values(cluster, "SELECT count(*) FROM zart_steps") == [2]


async def test_a_cancelled_worker_hands_its_runs_back(cluster: Cluster) -> None:
    """A host that cancels the worker's task gives its steps no time, and loses nothing for it."""
    async with Client(cluster.url) as client:
        worker = Worker(client, workflows, config=LONG)
        task = asyncio.create_task(worker.run())
        handle = await client.start(workflows.three_steps, 30.0)
        await until(lambda: cluster.effects() == ["finish", "count"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await handle.status() is RunState.SCHEDULED
    assert await _values(cluster, "SELECT crash_count FROM zart_tasks") == [0]
    assert await _values(cluster, "SELECT state FROM zart_workers") == ["dead"]


async def test_a_worker_may_be_stopped_before_it_runs_and_after_its_loop_is_closed(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        worker = Worker(client, workflows)
        worker.stop()
        await asyncio.wait_for(worker.run(), 10)
    kept: list[Worker] = []

    def elsewhere() -> None:
        async def brief() -> None:
            async with Client(cluster.url) as client, Worker(client, workflows) as worker:
                kept.append(worker)

        asyncio.run(brief())

    await asyncio.to_thread(elsewhere)
    kept[0].stop()


async def _is_state(handle: Any, state: RunState) -> bool:
    return bool(await handle.status() is state)


async def _values(cluster: Cluster, query: str) -> list[Any]:
    return [next(iter(row.values())) for row in await cluster.rows(query)]
