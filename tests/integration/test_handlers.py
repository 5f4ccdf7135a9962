"""Semantics 5: handlers of a failure or a cancel, on real workers. Semantics 2: runs that kill their workers."""

from __future__ import annotations

import asyncio

import pytest
from tests.support import workflows
from tests.support.cluster import LEASE, Cluster, until

from zart_core import ExecutionCancelled, ExecutionFailed, RunState
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease=LEASE, poll_interval="100ms")


@pytest.mark.parametrize(
    "point", ["before-commit:refund", "after-commit:refund", "before-complete", "after-complete"]
)
async def test_a_failure_handler_survives_a_kill_and_the_body_does_not_run_again(
    cluster: Cluster, point: str
) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.handled, "no funds", execution_id="run")
        victim = await cluster.worker(crash_at=point)
        await victim.died()
        async with Worker(client, workflows, config=CONFIG):
            assert await handle.result(LEASE + 10) == "refunded: ValueError: no funds"
    effects = cluster.effects()
    assert effects.count("fail") == 1
    assert effects.count("refund") == (2 if point == "before-commit:refund" else 1)
    steps = await cluster.rows("SELECT ident FROM zart_steps ORDER BY turn")
    assert [step["ident"] for step in steps] == [":fail#0", "!:refund#0"]


async def test_a_cancel_handler_runs_while_the_run_is_running_and_then_it_is_cancelled(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.handled, "", execution_id="run")
        await until(lambda: _is(handle, RunState.WAITING))
        await handle.cancel("enough")
        with pytest.raises(ExecutionCancelled, match="enough"):
            await handle.result(10)
        assert cluster.effects() == ["clean-up"]
        await handle.cancel()  # of a cancelled run: nothing happens


async def test_a_deadline_that_any_workers_sweeper_keeps_is_handled_by_one_that_knows_the_workflow(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.handled_late, execution_id="run")
        async with Worker(client, workflows, config=CONFIG):
            await until(lambda: _is(handle, RunState.WAITING))
        elsewhere = WorkerConfig(queues=("other",), lease=LEASE, poll_interval="100ms")
        async with Worker(client, workflows, config=elsewhere):
            await until(lambda: cluster.value("SELECT 1 FROM zart_tasks WHERE phase = 'f'"))
            assert await handle.status() is RunState.SCHEDULED
        async with Worker(client, workflows, config=CONFIG):
            assert await handle.result(10) == "DeadlineExceeded"


async def test_a_run_that_kills_its_workers_fails_and_its_neighbours_finish(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        poison = await client.start(workflows.poison, execution_id="poison")
        neighbours = [
            await client.start(workflows.counting, 3, 0.05, execution_id=f"n{n}") for n in range(10)
        ]

        async def keep_alive() -> None:
            while True:
                worker = await cluster.worker(wait=False)
                await worker.ended(60)

        keeper = asyncio.create_task(keep_alive())
        try:
            assert await asyncio.gather(*(handle.result(60) for handle in neighbours)) == [[0, 1, 2]] * 10
            with pytest.raises(ExecutionFailed, match="WorkerCrashed") as failed:
                await poison.result(60)
        finally:
            keeper.cancel()
        assert failed.value.failure.kind == "WorkerCrashed"
        assert "3 workers in a row died" in failed.value.failure.message
        assert cluster.effects("poison") == ["die"] * 3
        assert await cluster.value("SELECT count(*) FROM zart_tasks") == 0


async def _is(handle: object, state: RunState) -> bool:
    return bool(await handle.status() is state)  # type: ignore[attr-defined] # a handle of any result
