"""Heartbeats of steps on real workers: what they write, who reads it, and what it does for a run whose workers die."""

from __future__ import annotations

import pytest
from tests.support import beating
from tests.support.cluster import LEASE, Cluster, until

from zart_core import StepState
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

LONG = WorkerConfig(lease="60s", poll_interval="100ms")
IDLE = WorkerConfig(queues=("other",), poll_interval="100ms")


async def test_details_are_shown_while_the_step_runs_and_afterwards(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, beating, config=LONG):
        handle = await client.start(beating.paging, 4, 0.5)
        await until(lambda: cluster.value("SELECT count(*) FROM zart_step_attempts"))
        (step,) = (await handle.describe()).steps
        assert step.state is StepState.RUNNING
        assert [(each.number, each.heartbeat) for each in step.attempts] == [(1, 1)]
        assert await handle.result(20) == [0, 1, 2, 3]
        (step,) = (await handle.describe()).steps
    assert step.state is StepState.COMPLETED
    (attempt,) = step.attempts
    assert attempt.heartbeat in (2, 3, 4)
    assert attempt.failure is None


async def test_a_dead_workers_details_are_known_to_the_next_attempt(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(beating.paging, 1000, 0.2)
        victim = await cluster.worker()
        await until(lambda: cluster.value("SELECT count(*) FROM zart_step_attempts"))
        victim.kill()
        await cluster.rows("UPDATE zart_workers SET lease_expires_at = now()")
        pages = len(cluster.effects())
        async with Worker(client, beating, config=LONG):
            await until(lambda: len(cluster.effects()) > pages)
        assert await handle.status()
    known = {entry["page"]: entry["attempt"] for entry in cluster.entries()[pages:]}
    assert min(known) > 0, "it goes on, and does not begin anew"
    assert set(known.values()) == {1}, "a death spends no attempt"


async def test_a_heartbeat_with_details_sets_the_crash_count_back(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        await client.start(beating.paging, 1000, 0.05, execution_id="run")
        counts = []
        for beats in (False, True):
            victim = await cluster.worker(
                crash_at=None if beats else "before-step:page-through", wait=False, lease=LEASE
            )
            if beats:
                await until(lambda: cluster.value("SELECT count(*) FROM zart_step_attempts"))
                victim.kill()
            await victim.ended()
            async with Worker(client, beating, config=IDLE):
                await until(
                    lambda: cluster.value("SELECT count(*) FROM zart_tasks WHERE state = 'r' AND epoch > 0")
                )
            counts.append(await cluster.value("SELECT crash_count FROM zart_tasks"))
    assert counts == [1, 0]


async def test_a_silent_thread_is_timed_out_and_tried_again(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, beating, config=LONG):
        alive = await client.start(beating.beating, 8, 0)
        silent = await client.start(beating.beating, 2, 3)
        assert await alive.result(20) == "in time"
        assert await silent.result(20) == {"beat": 1}
        (step,) = (await silent.describe()).steps
    assert [(each.number, each.failure and each.failure.kind) for each in step.attempts] == [
        (1, "StepTimeout"),
        (2, None),
    ]
    assert step.attempts[0].heartbeat == {"beat": 1}
