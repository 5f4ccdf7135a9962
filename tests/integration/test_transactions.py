"""`transaction()`: the effect of a step commits with its record, or not at all (L3). Effects are rows of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from tests.support import deposits, workflows
from tests.support.cluster import LEASE, Cluster, until
from tests.support.proxy import Proxy

from zart_core import ExecutionFailed, StepState
from zart_scheduler import Client, Worker, WorkerConfig, steptransaction

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease=LEASE, poll_interval="100ms")
LONG = WorkerConfig(lease="60s", poll_interval="100ms")


@pytest.fixture(autouse=True)
def _table(database_url: str) -> None:
    deposits.gate.clear()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(deposits.TABLE)


async def _deposited(cluster: Cluster) -> list[int]:
    return [row["n"] for row in await cluster.rows("SELECT n FROM deposits ORDER BY n")]


async def _open_transactions(cluster: Cluster) -> int:
    return int(
        await cluster.value(
            """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
               AND application_name LIKE 'zart-step%%' AND state <> 'idle'"""
        )
    )


@pytest.mark.parametrize("workflow", [deposits.depositing, deposits.depositing_in_threads], ids=str)
async def test_l3_effect_and_record_are_one_commit(cluster: Cluster, workflow: object) -> None:
    async with Client(cluster.url) as client, Worker(client, deposits, config=LONG):
        handle = await client.start(workflow, 5)  # type: ignore[call-overload] # of two workflows
        assert await handle.result(10) == list(range(5))
        backends = {row["pid"] for row in await cluster.rows("SELECT pid FROM deposits")}
    assert await _deposited(cluster) == list(range(5))
    same = """SELECT count(*) FROM deposits d JOIN zart_steps s ON s.xmin = d.xmin AND s.ident LIKE '%%deposit%%'"""
    assert await cluster.value(same) == 5
    assert len(backends) == 1, "a connection is used again"


@pytest.mark.parametrize("name", ["deposit", "deposit-in-thread"])
@pytest.mark.parametrize("point", ["before-step", "after-effect", "before-commit", "after-commit"])
async def test_l3_a_kill_at_any_point_leaves_one_effect(cluster: Cluster, point: str, name: str) -> None:
    workflow = deposits.depositing if name == "deposit" else deposits.depositing_in_threads
    async with Client(cluster.url) as client:
        handle = await client.start(workflow, 2, execution_id="run")
        victim = await cluster.worker(crash_at=f"{point}:{name}", lease="30s")
        await victim.died()
        await cluster.rows("UPDATE zart_workers SET lease_expires_at = now()")
        async with Worker(client, deposits, config=LONG):
            assert await handle.result(20) == [0, 1]
    assert await _deposited(cluster) == [0, 1]
    tries = Counter(entry["n"] for entry in cluster.entries() if entry["step"] == name)
    assert tries == {0: 2 if point in ("after-effect", "before-commit") else 1, 1: 1}
    assert await cluster.value("SELECT count(*) FROM zart_step_attempts") == 0


async def test_l3_the_transaction_of_a_frozen_worker_is_ended_and_its_record_refused(
    cluster: Cluster,
) -> None:
    """It holds a lock that the worker which runs the step again needs."""
    await cluster.rows("CREATE UNIQUE INDEX one ON deposits (execution, n)")
    async with Client(cluster.url) as client:
        handle = await client.start(deposits.freezing)
        zombie = await cluster.worker(wait=False)
        await zombie.stopped()
        async with Worker(client, deposits, config=CONFIG):
            assert await handle.result(LEASE + 10) == 2
            zombie.cont()
            await until(lambda: "it starts again with empty hands" in zombie.log, what="the zombie to learn")
        assert await _deposited(cluster) == [0]
    assert cluster.effects() == ["deposit-and-freeze"] * 2


async def test_a_zombies_commit_is_refused_though_it_believes_in_its_lease(cluster: Cluster) -> None:
    config = WorkerConfig(lease="60s", poll_interval="100ms")
    async with Client(cluster.url) as client, Worker(client, deposits, config=config):
        handle = await client.start(deposits.depositing, 1, 0.5)
        await until(lambda: cluster.effects() == ["deposit"])
        dead = await cluster.value("UPDATE zart_workers SET state = 'dead' RETURNING worker_id")
        assert await handle.result(20) == [0]
        writers = {row["worker_id"] for row in await cluster.rows("SELECT worker_id FROM zart_steps")}
    assert dead not in writers
    assert await _deposited(cluster) == [0]
    assert cluster.effects() == ["deposit", "deposit", "finish"]


@pytest.mark.parametrize("workflow", [deposits.depositing, deposits.depositing_in_threads], ids=str)
async def test_l6_a_lost_answer_to_the_commit_repeats_nothing(cluster: Cluster, workflow: object) -> None:
    async with _behind(cluster, LONG) as (client, proxy):
        catch = proxy.cut_answer("zart_record_v1")
        handle = await client.start(workflow, 2)  # type: ignore[call-overload] # of two workflows
        assert await handle.result(20) == [0, 1]
        assert catch.held.is_set()
    assert await _deposited(cluster) == [0, 1]
    assert len(cluster.effects()) == 4
    assert await cluster.value("SELECT count(*) FROM zart_workers") == 1


async def test_l6_a_commit_that_never_arrived_runs_the_step_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is lost on the way, and nobody tells the client: the open transaction is ended first."""
    monkeypatch.setattr(steptransaction, "ANSWER", 0.5)
    async with _behind(cluster, LONG) as (client, proxy):
        proxy.swallow("zart_record_v1")
        handle = await client.start(deposits.depositing, 2)
        assert await handle.result(30) == [0, 1]
    assert await _deposited(cluster) == [0, 1]
    assert cluster.effects() == ["deposit", "deposit", "finish", "deposit", "finish"]
    assert await cluster.value("SELECT count(*) FROM zart_step_attempts") == 0


async def test_l6_a_connection_lost_in_the_block_runs_the_step_again_and_spends_no_attempt(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client, Worker(client, deposits, config=LONG):
        handle = await client.start(deposits.depositing, 1, 0.5)
        await until(lambda: cluster.effects() == ["deposit"])
        terminated = await cluster.value(
            """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE 'zart-step%%'"""
        )
        assert terminated == 1
        assert await handle.result(20) == [0]
    assert await _deposited(cluster) == [0]
    assert cluster.effects() == ["deposit", "deposit", "finish"]
    assert [entry["attempt"] for entry in cluster.entries()] == [1, 1, 1]
    assert await cluster.value("SELECT count(*) FROM zart_step_attempts") == 0


async def test_l6_a_deadlock_runs_the_step_again_and_spends_no_attempt(cluster: Cluster) -> None:
    await cluster.rows("CREATE TABLE locked (id integer PRIMARY KEY, n integer)")
    await cluster.rows("INSERT INTO locked VALUES (1, 0), (2, 0)")
    async with Client(cluster.url) as client, Worker(client, deposits, config=LONG):
        first = await client.start(deposits.locking, 1, 2)
        second = await client.start(deposits.locking, 2, 1)
        await until(lambda: len(cluster.effects()) == 2)
        deposits.gate.set()
        assert [await first.result(20), await second.result(20)] == [1, 2]
    assert [row["n"] for row in await cluster.rows("SELECT n FROM locked")] == [2, 2]
    assert len(cluster.effects()) == 3
    assert await cluster.value("SELECT count(*) FROM zart_step_attempts") == 0


async def test_a_failed_attempt_is_rolled_back_and_tried_again(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, deposits, config=LONG):
        assert await (await client.start(deposits.failing_deposits, 2)).result(20) == 3
        assert await _deposited(cluster) == [3]
        with pytest.raises(ExecutionFailed, match="GatewayDown"):
            await (await client.start(deposits.failing_deposits, 10)).result(20)
    assert await _deposited(cluster) == [3]


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_step_that_has_timed_out_does_not_commit(cluster: Cluster, in_thread: bool) -> None:
    async with Client(cluster.url) as client, Worker(client, deposits, config=LONG):
        handle = await client.start(deposits.late_deposit, in_thread)
        assert await handle.result(10) == "StepTimeout"
        await until(
            lambda: _is_none_open(cluster), within=1, what="its transaction to be ended, not waited for"
        )
    assert await _deposited(cluster) == []
    assert await cluster.value("SELECT outcome::text FROM zart_steps") == "t"


async def test_l12_a_call_that_is_cancelled_in_its_transaction_is_rolled_back(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, deposits, config=LONG):
        handle = await client.start(deposits.given_up_deposit)
        assert await handle.result(10) == "given up"
        await until(lambda: _is_none_open(cluster))
        states = {step.name: step.state for step in (await handle.describe()).steps}
    assert states["deposit-when-told"] is StepState.CANCELLED
    assert await _deposited(cluster) == []


@pytest.mark.parametrize("arrives", [True, False])
async def test_l12_a_call_that_is_cancelled_while_it_commits(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    """What is committed stands; else it is recorded as cancelled. Nobody runs it again."""
    monkeypatch.setattr(steptransaction, "ANSWER", 2.0)
    async with _behind(cluster, LONG) as (client, proxy):
        failure = proxy.catch('"k":"s"')
        commit = proxy.catch("zart_record_v1") if arrives else None
        is_sent = commit.held if commit else proxy.swallow("zart_record_v1")
        handle = await client.start(deposits.given_up_deposit)
        await until(failure.held.is_set)
        deposits.gate.set()
        await until(is_sent.is_set)
        failure.deliver()
        await until(lambda: "finish" in cluster.effects())
        if commit is not None:
            commit.deliver()
        assert await handle.result(20) == "given up"
        states = {step.name: step.state for step in (await handle.describe()).steps}
    assert states["deposit-when-told"] is (StepState.COMPLETED if arrives else StepState.CANCELLED)
    assert await _deposited(cluster) == ([0] if arrives else [])
    assert cluster.effects() == ["deposit-when-told", "finish"]


MISUSE = {
    "commit": "commits when the step returns",
    "rollback": "commits when the step returns",
    "close": "commits when the step returns",
    "sql commit": "has ended its transaction itself",
    "swallowed failure": "failed and the step returned all the same",
    "second inside": "has opened its transaction already",
    "second after": "has opened its transaction already",
    "after the block": "the block of the step's transaction is over",
    "unfinished": "was still in use",
    "unstorable": "object",
    "blocking": "async with transaction",
}


@pytest.mark.parametrize("how", MISUSE)
async def test_misuse_is_told_and_rolled_back(cluster: Cluster, how: str) -> None:
    async with Client(cluster.url) as client, Worker(client, deposits, config=LONG):
        handle = await client.start(deposits.misusing, how)
        with pytest.raises(ExecutionFailed, match=MISUSE[how]):
            await handle.result(20)
        await until(lambda: _is_none_open(cluster))
        again = await client.start(deposits.depositing, 1)
        assert await again.result(10) == [0]
    rows = 2 if how == "sql commit" else 1  # that one cannot be undone
    assert len(await _deposited(cluster)) == rows


async def test_a_constraint_that_fails_at_the_commit_fails_the_step(cluster: Cluster) -> None:
    await cluster.rows("CREATE TABLE unique_later (id integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    async with Client(cluster.url) as client, Worker(client, deposits, config=LONG):
        with pytest.raises(ExecutionFailed, match="unique_later_id_key"):
            await (await client.start(deposits.deferring)).result(20)
    assert cluster.effects() == ["defer", "defer"], "it is retried as any error"
    assert await cluster.value("SELECT count(*) FROM unique_later") == 0


@pytest.mark.parametrize("connections", [1, 10])
async def test_more_steps_than_connections_wait_for_one_and_the_worker_goes_on(
    cluster: Cluster, connections: int
) -> None:
    config = WorkerConfig(lease="10s", poll_interval="100ms", connections=connections, threads=8)
    async with Client(cluster.url) as client, Worker(client, deposits, workflows, config=config):
        both = (deposits.depositing_at_once, deposits.depositing_in_threads_at_once)
        runs = [await client.start(workflow, 20) for workflow in both]
        other = await client.start(workflows.counting, 3)
        assert await other.result(20) == [0, 1, 2]
        for run in runs:
            assert await run.result(20) == list(range(20))
    assert len(await _deposited(cluster)) == 40
    backends = "SELECT count(DISTINCT pid) FROM deposits"
    assert await cluster.value(backends) <= max(connections - 3, 1)


async def test_a_graceful_stop_lets_a_transaction_commit(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        async with Worker(client, deposits, config=LONG):
            handle = await client.start(deposits.depositing, 2, 0.4)
            await until(lambda: cluster.effects() == ["deposit"])
        assert await _deposited(cluster) == [0]
        async with Worker(client, deposits, config=LONG):
            assert await handle.result(20) == [0, 1]
    assert await _deposited(cluster) == [0, 1]
    assert cluster.effects().count("deposit") == 2


async def test_a_stop_that_is_in_a_hurry_rolls_back_and_another_worker_runs_the_step(
    cluster: Cluster,
) -> None:
    config = WorkerConfig(lease="60s", poll_interval="100ms", drain_timeout="0s")
    async with Client(cluster.url) as client:
        async with Worker(client, deposits, config=config):
            handle = await client.start(deposits.depositing, 1, 1.0)
            await until(lambda: cluster.effects() == ["deposit"])
        await until(lambda: _is_none_open(cluster))
        async with Worker(client, deposits, config=LONG):
            assert await handle.result(20) == [0]
    assert await _deposited(cluster) == [0]


async def test_a_start_in_a_steps_transaction_happens_with_its_record(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, deposits, config=LONG):
        deposits.client = client
        with pytest.raises(ExecutionFailed):
            await (await client.start(deposits.ordering, True, execution_id="a")).result(20)
        assert await (await client.start(deposits.ordering, False, execution_id="b")).result(20) == "b-more"
        assert await client.handle("b-more").result(20) == [0]
        assert {run.execution_id for run in (await client.list_runs()).items} == {"a", "b", "b-more"}


async def _is_none_open(cluster: Cluster) -> bool:
    return await _open_transactions(cluster) == 0


@asynccontextmanager
async def _behind(cluster: Cluster, config: WorkerConfig) -> AsyncIterator[tuple[Client, Proxy]]:
    """A worker that reaches its database through a proxy, and a client that does not."""
    async with (
        Client(cluster.url) as client,
        Proxy(cluster.url).running() as proxy,
        Client(proxy.url) as behind,
        Worker(behind, deposits, config=config),
    ):
        yield client, proxy
