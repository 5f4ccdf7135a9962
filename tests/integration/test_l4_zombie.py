"""L4: a worker whose lease was taken over is not heard any more, and goes on as a new one."""

from __future__ import annotations

import os

import pytest
from tests.support import workflows
from tests.support.cluster import LEASE, Cluster, until
from tests.support.proxy import Proxy

from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease=LEASE, poll_interval="100ms")


async def test_a_zombie_is_not_heard_and_comes_back_as_a_new_worker(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.frozen, execution_id="first")
        zombie = await cluster.worker(wait=False)
        await zombie.stopped()  # after the charge, before its record
        async with Worker(client, workflows, config=CONFIG):
            assert await handle.result(LEASE + 5) == "shipped after charge 2"
            journal = await cluster.rows("SELECT * FROM zart_steps ORDER BY ident")
            runs = await cluster.rows("SELECT * FROM zart_execution_runs")
            zombie.cont()
            await until(lambda: "it starts again with empty hands" in zombie.log, what="the zombie to learn")
            again = "SELECT count(*) FROM zart_worker_info WHERE pid = %(pid)s"
            await until(lambda: _is(cluster, again, 2, pid=zombie.pid), what="its next incarnation")
        assert await cluster.rows("SELECT * FROM zart_steps ORDER BY ident") == journal
        assert await cluster.rows("SELECT * FROM zart_execution_runs") == runs
        assert cluster.effects() == ["charge", "charge", "ship"]
        assert [entry["pid"] for entry in cluster.entries()] == [zombie.pid, os.getpid(), os.getpid()]
        second = await client.start(workflows.counting, 3, execution_id="second")
        assert await second.result(10) == [0, 1, 2]
        assert {entry["pid"] for entry in cluster.entries("second")} == {zombie.pid}


async def test_a_worker_declared_dead_is_not_heard_though_it_believes_in_its_lease(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=WorkerConfig(lease="60s")):
        handle = await client.start(workflows.counting, 2, 0.5)
        await until(lambda: len(cluster.effects()) == 1)
        dead = await cluster.value("UPDATE zart_workers SET state = 'dead' RETURNING worker_id")
        assert await handle.result(20) == [0, 1]
        writers = {row["worker_id"] for row in await cluster.rows("SELECT worker_id FROM zart_steps")}
    assert dead not in writers
    assert [entry["n"] for entry in cluster.entries()] == [0, 0, 1]


async def test_a_blocked_event_loop_does_not_cost_the_lease(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        blocked = await cluster.worker(name="blocked")
        handle = await client.start(workflows.blocking, 3 * LEASE)
        await until(lambda: cluster.effects() == ["block-loop"])
        async with Worker(client, workflows, config=CONFIG):
            assert await handle.result(20) == blocked.pid
        assert cluster.effects() == ["block-loop"]
        assert await cluster.value("SELECT final_epoch FROM zart_execution_runs") == 1
        assert "lease" not in blocked.log


async def test_steps_stop_at_the_end_of_the_lease_though_the_database_is_silent(cluster: Cluster) -> None:
    """The worker cannot know whether it was taken over; its own clock tells it when it may have been."""
    async with (
        Client(cluster.url) as client,
        Proxy(cluster.url).running() as proxy,
        Client(proxy.url) as behind,
        Worker(behind, workflows, config=CONFIG),
    ):
        handle = await client.start(workflows.hanging)
        await until(lambda: cluster.effects() == ["hang"])
        proxy.freeze()
        await until(lambda: len(cluster.effects()) == 2, within=LEASE + 1, what="the step to be cancelled")
        proxy.thaw()
        assert await handle.result(30) == 3
    assert [entry.get("over", False) for entry in cluster.entries()] == [False, True, False]


async def _is(cluster: Cluster, query: str, expected: object, **params: object) -> bool:
    return bool(await cluster.value(query, **params) == expected)
