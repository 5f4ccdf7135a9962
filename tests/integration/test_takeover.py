"""Another worker takes over what a dead one leaves behind, and no worker keeps what it does not know of."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support import workflows
from tests.support.cluster import LEASE, Cluster, until
from tests.support.proxy import Proxy

from zart_core import RunState
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease=LEASE, poll_interval="100ms")
LONG = WorkerConfig(lease="60s", poll_interval="100ms")
NEVER_POLLS = WorkerConfig(lease="60s", poll_interval="60s")


async def test_all_runs_of_a_killed_worker_are_taken_over(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        victim = await cluster.worker()
        active = [await client.start(workflows.counting, 20, 0.05, execution_id=f"a{n}") for n in range(20)]
        parked = [await client.start(workflows.listening, execution_id=f"p{n}") for n in range(20)]
        await until(lambda: len(cluster.effects()) >= 100)
        victim.kill()
        killed_at = time.monotonic()
        async with Worker(client, workflows, config=CONFIG):
            for waiting in parked:
                await waiting.send_event("said", "hello")
            assert await asyncio.gather(*(handle.result(30) for handle in parked)) == ["hello"] * 20
            assert time.monotonic() - killed_at < LEASE + 5
            assert await asyncio.gather(*(handle.result(30) for handle in active)) == [list(range(20))] * 20
    repeated = Counter((entry["execution"], entry["step"], entry.get("n")) for entry in cluster.entries())
    assert max(repeated.values()) <= 2
    for handle in active:
        again = [key for key, times in repeated.items() if key[0] == handle.execution_id and times > 1]
        assert len(again) <= 1, "only the step that was running may run again"
    assert await cluster.value("SELECT count(*) FROM zart_tasks") == 0


async def test_many_deaths_in_a_row_lose_nothing(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.counting, 6, execution_id="run")
        for _ in range(6):  # each records one step
            victim = await cluster.worker(crash_at="after-commit:count")
            await victim.died()
        async with Worker(client, workflows, config=CONFIG):
            assert await handle.result(LEASE + 5) == list(range(6))
    assert [entry["n"] for entry in cluster.entries()] == list(range(6))


async def test_deaths_without_progress_are_counted_and_progress_sets_the_count_back(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        await client.start(workflows.counting, 6, execution_id="run")
        counts = []
        for point in ("before-commit:count", "before-commit:count", "before-commit:count#2"):
            victim = await cluster.worker(crash_at=point)
            await victim.died()
            async with Worker(
                client, workflows, config=WorkerConfig(queues=("other",), poll_interval="100ms")
            ):
                await until(lambda: _ready(cluster))
            counts.append(await cluster.value("SELECT crash_count FROM zart_tasks"))
    assert counts == [1, 2, 0]


async def test_a_hint_that_comes_during_a_claim_is_not_lost(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints: list[Worker] = []
    hinted = Worker._hinted

    def noted(worker: Worker) -> None:
        hints.append(worker)
        hinted(worker)

    monkeypatch.setattr(Worker, "_hinted", noted)
    async with Client(cluster.url) as client, _worker_behind_a_proxy(cluster, NEVER_POLLS) as proxy:
        claim = proxy.catch("zart_claim_v1")
        first = await client.start(workflows.counting, 1)
        await until(claim.held.is_set)  # this claim has looked; it does not see what follows
        before = len(hints)
        second = await client.start(workflows.counting, 1)
        await until(lambda: len(hints) > before)
        claim.deliver()
        assert await first.result(5) == [0]
        assert await second.result(5) == [0]


async def test_a_run_that_could_not_be_begun_is_handed_back_as_soon_as_its_row_is_free(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client, _worker_behind_a_proxy(cluster, NEVER_POLLS) as proxy:
        load = proxy.catch("x.tags, r.created_at")
        handle = await client.start(workflows.counting, 1)
        await until(load.held.is_set)
        async with cluster.holding("SELECT 1 FROM zart_tasks FOR UPDATE") as held:
            release = proxy.catch('"releases"')
            load.cut()
            await until(release.held.is_set)  # `busy`
            release.deliver()
            await held.rollback()
        assert await handle.result(5) == [0]
    assert cluster.effects() == ["count"]


async def test_a_cached_body_is_not_begun_anew_because_the_cache_is_full(cluster: Cluster) -> None:
    """While the news of a cached run are read, another run parks and wants its place in the cache."""
    config = WorkerConfig(lease="60s", poll_interval="100ms", max_parked=1)
    async with Client(cluster.url) as client, _worker_behind_a_proxy(cluster, config) as proxy:
        first = await client.start(workflows.listening, execution_id="first")
        await until(lambda: _is_waiting(cluster, 1))
        second = await client.start(workflows.pausing, 1.0, execution_id="second")
        await until(lambda: cluster.effects("second") == ["count"])
        load = proxy.catch("x.tags, r.created_at")
        await first.send_event("said", "hello")
        await until(load.held.is_set)
        await until(lambda: _is_waiting(cluster, 1))  # the second has parked
        load.deliver()
        assert await first.result(10) == "hello"
        await second.send_event("said", "bye")
        assert await second.result(10) == "bye"
    assert cluster.effects("first") == ["finish", "finish"]
    assert cluster.effects("second") == ["count"]


async def test_a_retry_that_falls_due_while_its_run_is_being_parked_runs_once(cluster: Cluster) -> None:
    """Somebody's transaction holds the run's row, so that the park takes longer than the retry's delay."""
    due = "SELECT next_at + interval '0.2 s' < clock_timestamp() FROM zart_step_attempts"
    config = WorkerConfig(lease="60s", poll_interval="100ms", max_parked=0)
    async with Client(cluster.url) as client, _worker_behind_a_proxy(cluster, config) as proxy:
        park = proxy.catch('"parks"')
        handle = await client.start(workflows.retrying, 1.0)
        await until(lambda: len(cluster.effects()) == 1)
        async with cluster.holding("SELECT 1 FROM zart_tasks FOR UPDATE") as held:
            await until(park.held.is_set)  # `busy`
            park.deliver()
            await until(lambda: cluster.value(due))
            await held.rollback()
        assert await handle.result(10) == 3
    assert cluster.effects() == ["flaky"] * 3
    assert [entry["attempt"] for entry in cluster.entries()] == [1, 2, 3]


async def test_a_cancel_that_overtakes_a_park_is_obeyed(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, _worker_behind_a_proxy(cluster) as proxy:
        park = proxy.catch('"parks"')
        handle = await client.start(workflows.napping, 0.3, execution_id="run")
        await until(lambda: cluster.effects() == ["count"])
        async with cluster.holding("SELECT * FROM zart_cancel_v1('run', 'stop')") as held:
            await until(park.held.is_set)  # `busy`
            await held.commit()
        park.deliver()
        await until(lambda: _is_state(cluster, "cancelled"), within=5)
        assert await handle.status() is RunState.CANCELLED
    assert await cluster.value("SELECT count(*) FROM zart_tasks") == 0


async def test_a_run_that_was_taken_away_does_not_keep_its_slot(cluster: Cluster) -> None:
    """Its step never obeys, so that no write of it is ever refused."""
    config = WorkerConfig(lease=LEASE, poll_interval="100ms", concurrency=1)
    async with Client(cluster.url) as client, Worker(client, workflows, config=config):
        stuck = await client.start(workflows.obstinate, 8.0)
        await until(lambda: "stubborn" in cluster.effects())
        await stuck.cancel()
        next_one = await client.start(workflows.counting, 1, execution_id="next")
        assert await next_one.result(6) == [0]
        assert await stuck.status() is RunState.CANCELLED


@asynccontextmanager
async def _worker_behind_a_proxy(cluster: Cluster, config: WorkerConfig = LONG) -> AsyncIterator[Proxy]:
    async with (
        Proxy(cluster.url).running() as proxy,
        Client(proxy.url) as client,
        Worker(client, workflows, config=config),
    ):
        yield proxy


async def _ready(cluster: Cluster) -> bool:
    return bool(await cluster.value("SELECT count(*) FROM zart_tasks WHERE state = 'r' AND epoch > 0") == 1)


async def _is_waiting(cluster: Cluster, runs: int) -> bool:
    return bool(await cluster.value("SELECT count(*) FROM zart_tasks WHERE state = 'w'") == runs)


async def _is_state(cluster: Cluster, state: str) -> bool:
    return bool(await cluster.value("SELECT state FROM zart_execution_runs") == state)
