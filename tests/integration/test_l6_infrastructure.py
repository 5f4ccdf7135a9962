"""L6: infrastructure is not failure. Lost answers, lost connections and a server's restart fail no run, burn no retry
and, as the worker lives on, repeat no effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.support import workflows
from tests.support.cluster import Cluster, until
from tests.support.proxy import Proxy

from zart_scheduler import Client, Worker, WorkerConfig, checkpoint, embedded, migrate

pytestmark = pytest.mark.anyio

LONG = WorkerConfig(lease="60s", poll_interval="100ms")
"""No lease ends within a test: whatever goes on does so by the same incarnation."""

ANSWERS = {
    "claim": "zart_claim_v1",
    "inputs of a claimed run": "x.tags, r.created_at",
    "journal of a claimed run": "u.floor",
    "attempts of a claimed run": "deadline_in",
    "record of a step": '"k":"s"',
    "failed attempt": '"attempts"',
    "record of a sleep": '"k":"z"',
    "wait": '"waits"',
    "park": '"parks"',
    "end": '"ends"',
    "look": "zart_look_v1",
    "timers": "zart_fire_due_v1",
    "sweep": "zart_mark_dead_v1",
    "renewal of the lease": "zart_renew_v1",
}


@contextlib.asynccontextmanager
async def _worker_behind(proxy: Proxy, config: WorkerConfig = LONG) -> AsyncIterator[Worker]:
    async with Client(proxy.url) as client, Worker(client, workflows, config=config) as worker:
        yield worker


@pytest.mark.parametrize("lost", ANSWERS)
async def test_a_lost_answer_repeats_nothing_and_fails_nothing(cluster: Cluster, lost: str) -> None:
    async with Client(cluster.url) as client, Proxy(cluster.url).running() as proxy:
        order = workflows.Order(order_id="o", amount=1)
        handle = await client.start(workflows.order, order, execution_id="order")
        config = WorkerConfig(lease="3s", poll_interval="100ms") if "lease" in lost else LONG
        catch = proxy.cut_answer(ANSWERS[lost])
        async with _worker_behind(proxy, config):
            if lost != "end":
                await until(catch.held.is_set)
            await handle.send_event("shipped", workflows.Shipment(tracking="T"))
            assert (await handle.result(20)).tracking == "T"
    assert Counter(cluster.effects()) == {"validate": 1, "pay": 2, "reserve": 1}
    assert await cluster.value("SELECT count(*) FROM zart_step_attempts WHERE error IS NOT NULL") == 1
    assert await cluster.value("SELECT count(*) FROM zart_workers") == 1
    assert await cluster.value("SELECT count(*) FROM zart_tasks") == 0


async def test_the_databases_time_is_asked_for_until_it_answers(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Proxy(cluster.url).running() as proxy, _worker_behind(proxy):
        catch = proxy.cut_answer("SELECT clock_timestamp()")
        handle = await client.start(workflows.clock, 0.1)
        assert await handle.result(20) >= 0.1
        assert catch.held.is_set()


async def test_a_server_that_does_not_answer_is_asked_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "ANSWER", 0.5)
    async with Client(cluster.url) as client, Proxy(cluster.url).running() as proxy, _worker_behind(proxy):
        catch = proxy.catch('"k":"s"')
        handle = await client.start(workflows.counting, 2)
        assert await handle.result(30) == [0, 1]
        assert catch.held.is_set()
    assert cluster.effects() == ["count", "count"]


async def test_terminated_connections_repeat_nothing_and_fail_nothing(cluster: Cluster) -> None:
    config = WorkerConfig(lease="5s", poll_interval="100ms")
    names = itertools.cycle(["zart-writer", "zart-lease", "zart-worker", "zart-listen"])
    async with Client(cluster.url) as client, Worker(client, workflows, config=config):
        handles = [await client.start(workflows.counting, 20, 0.01) for _ in range(20)]
        results = asyncio.gather(*(handle.result(60) for handle in handles))
        ended = 0
        for progress in range(10, 400, 10):
            await until(partial(_effects_are, cluster, progress), what="the runs to go on")
            ended += await cluster.disconnect(next(names))
        assert await results == [list(range(20))] * 20
    assert ended > 20
    counts = Counter((entry["execution"], entry["n"]) for entry in cluster.entries())
    assert set(counts.values()) == {1}
    assert len(counts) == 400
    assert await cluster.value("SELECT count(*) FROM zart_step_attempts") == 0
    assert await cluster.value("SELECT count(*) FROM zart_workers") == 1


def _effects_are(cluster: Cluster, at_least: int) -> bool:
    return len(cluster.effects()) >= at_least


@pytest.fixture
def own_server() -> Iterator[Path]:
    # Not tmp_path: that one is closed to all but us, and as root the server's user is someone else.
    with tempfile.TemporaryDirectory(prefix="zart-server-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        directory = Path(name) / "server"
        yield directory
        embedded.stop(directory)


async def test_a_restart_of_the_database_fails_no_run(cluster: Cluster, own_server: Path) -> None:
    url = embedded.start(own_server, fsync=False).conninfo
    migrate(url)
    config = WorkerConfig(lease="5s", poll_interval="100ms")
    async with Client(url) as client, Worker(client, workflows, config=config):
        running = await client.start(workflows.counting, 30, 0.1, execution_id="running")
        await client.start(workflows.order, workflows.Order(order_id="o", amount=1), execution_id="parked")
        await until(lambda: "reserve" in cluster.effects("parked") and len(cluster.effects("running")) > 2)
        await asyncio.to_thread(embedded.stop, own_server)
        await asyncio.to_thread(embedded.start, own_server, fsync=False)
        assert await running.result(60) == list(range(30))
        async with Client(url) as fresh:
            await fresh.send_event("parked", "shipped", workflows.Shipment(tracking="T"))
            assert (await fresh.handle("parked", workflows.order).result(60)).tracking == "T"
    counts = Counter(entry["n"] for entry in cluster.entries("running"))
    assert max(counts.values()) <= 2, "only the step that ran when the lease was over may run again"
    assert cluster.effects("parked") == ["validate", "pay", "pay", "reserve"]
