"""Section 5: spawned steps on PostgreSQL, on one and on several workers, through kills, cancels and evictions."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import psycopg
import pytest
from tests.support import deposits, spawning
from tests.support.cluster import LEASE, Cluster, until

from zart_core import ExecutionFailed, RunState, StepState
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease="60s", poll_interval="100ms")
SHORT = WorkerConfig(lease=LEASE, poll_interval="100ms")
EVICT = WorkerConfig(lease="60s", poll_interval="100ms", max_parked=0)
ANY = pytest.mark.parametrize("config", [CONFIG, EVICT], ids=["cached", "evicted"])


async def _none(cluster: Cluster, query: str = "SELECT count(*) FROM zart_tasks") -> bool:
    return bool(await cluster.value(query) == 0)


@ANY
async def test_spawned_steps_run_once_each_and_leave_no_task(cluster: Cluster, config: WorkerConfig) -> None:
    async with Client(cluster.url) as client, Worker(client, spawning, config=config):
        handle = await client.start(spawning.spread, 10)
        assert await handle.result(20) == 45
        assert sorted(entry.get("n", -1) for entry in cluster.entries()) == list(range(-1, 10))
        kinds = Counter((found.kind, found.state) for found in (await handle.describe()).steps)
        assert kinds == {("spawn", StepState.COMPLETED): 10, ("step", StepState.COMPLETED): 1}
    assert await _none(cluster)


async def test_one_slot_is_enough_since_the_body_parks(cluster: Cluster) -> None:
    config = WorkerConfig(lease="60s", poll_interval="100ms", concurrency=1)
    async with Client(cluster.url) as client, Worker(client, spawning, config=config):
        assert await (await client.start(spawning.spread, 3)).result(20) == 3


async def test_an_end_waits_for_whoever_holds_its_runs_row(cluster: Cluster) -> None:
    """A user's transaction may, as with an event that it has sent and not committed yet."""
    async with Client(cluster.url) as client, Worker(client, spawning, config=CONFIG):
        handle = await client.start(spawning.leaving_room, 0.2)
        await until(lambda: cluster.effects() == ["job"])
        body = "SELECT 1 FROM zart_tasks WHERE kind = 'b' FOR UPDATE"
        async with cluster.holding(body):
            await asyncio.sleep(0.5)  # longer than the step takes
            active = "SELECT count(*) FROM zart_tasks WHERE kind = 's' AND state = 'a'"
            assert await cluster.value(active) == 1
        assert await handle.result(20) == 1


async def test_other_workers_take_part(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        workers = [await cluster.worker(concurrency=2, lease="20s") for _ in range(2)]
        assert await (await client.start(spawning.spread, 8, 0.1)).result(60) == 28
    assert {entry["pid"] for entry in cluster.entries()} == {worker.pid for worker in workers}
    assert Counter(cluster.effects()) == {"job": 8, "tail": 1}


@pytest.mark.parametrize("max_parked", [0, 1000])
async def test_a_kill_while_three_of_ten_are_done_repeats_no_recorded_step(
    cluster: Cluster, max_parked: int
) -> None:
    done = "SELECT count(*) FROM zart_steps WHERE kind = 'p'"
    async with Client(cluster.url) as client:
        victim = await cluster.worker(max_parked=max_parked)
        handle = await client.start(spawning.spread, 10, 0.15)

        async def three() -> bool:
            return bool(await cluster.value(done) >= 3)

        await until(three)
        victim.kill()
        await victim.ended()
        query = "SELECT ident FROM zart_steps WHERE kind = 'p'"
        recorded = {int(row["ident"].rpartition("#")[2]) for row in await cluster.rows(query)}
        assert 3 <= len(recorded) < 10
        async with Worker(client, spawning, config=SHORT):
            assert await handle.result(30) == 45
    counts = Counter(entry["n"] for entry in cluster.entries() if entry["step"] == "job")
    assert all(counts[n] == 1 for n in recorded)
    assert all(counts[n] == 2 for n in set(range(10)) - recorded)


@ANY
async def test_retries_timeouts_and_errors_are_as_in_the_body(cluster: Cluster, config: WorkerConfig) -> None:
    async with Client(cluster.url) as client, Worker(client, spawning, config=config):
        handle = await client.start(spawning.failing)
        assert await handle.result(20) == ["3", "StepTimeout", "Flaw"]
        steps = {found.name: found for found in (await handle.describe()).steps}
        assert [attempt.number for attempt in steps["patient"].attempts] == [1, 2, 3]
        assert steps["late"].state is StepState.TIMED_OUT
        assert steps["flawed"].failure is not None
        assert steps["flawed"].failure.type == "Flaw"


async def test_a_retry_that_is_not_due_holds_no_slot(cluster: Cluster) -> None:
    config = WorkerConfig(lease="60s", poll_interval="100ms", concurrency=1)
    async with Client(cluster.url) as client, Worker(client, spawning, config=config):
        failing = await client.start(spawning.failing)
        waits = "SELECT count(*) FROM zart_tasks WHERE kind = 's' AND state = 'w' AND due_at IS NOT NULL"

        async def waiting() -> bool:
            return bool(await cluster.value(waits))

        await until(waiting)
        details = await failing.describe()
        assert [found.state for found in details.steps] == [StepState.RETRYING]
        assert await (await client.start(spawning.fan, 2)).result(10) == 2
        assert await failing.result(20) == ["3", "StepTimeout", "Flaw"]


@ANY
async def test_a_cancelled_step_is_stopped_and_its_handle_says_so(
    cluster: Cluster, config: WorkerConfig
) -> None:
    async with Client(cluster.url) as client, Worker(client, spawning, config=config):
        handle = await client.start(spawning.cancelling)
        await until(lambda: cluster.effects() == ["endless"])
        assert await handle.status() is RunState.WAITING
        (waits,) = [found for found in (await handle.describe()).waiting_for if found.kind == "steps"]
        assert waits.name == "endless"
        await handle.send_event("now")
        assert await handle.result(20) == "cancelled"
        await until(lambda: len(cluster.effects()) == 2, what="the step to be stopped")
        (step,) = [found for found in (await handle.describe()).steps if found.kind == "spawn"]
        assert step.state is StepState.CANCELLED
        await until(lambda: _none(cluster), what="its task to go")


@pytest.mark.parametrize("how", ["return", "cancel"])
async def test_steps_that_are_open_when_the_run_ends_are_stopped(
    cluster: Cluster, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "zart")
    async with Client(cluster.url) as client, Worker(client, spawning, config=CONFIG):
        handle = await client.start(spawning.leaving)
        await until(lambda: cluster.effects() == ["endless"])
        if how == "return":
            await handle.send_event("now")
            assert await handle.result(20) == "left"
            assert "ended with calls still open, which are cancelled: endless" in caplog.text
        else:
            await handle.cancel()
            await until(lambda: _is(handle, RunState.CANCELLED))
        await until(lambda: len(cluster.effects()) == 2, what="the step to be stopped")
        await until(lambda: _none(cluster), what="its task to go")
    assert await cluster.value("SELECT count(*) FROM zart_steps WHERE kind = 'p'") == 0


async def _is(handle: Any, state: RunState) -> bool:
    return bool(await handle.status() is state)


@ANY
async def test_races_go_by_the_order_of_the_journal(cluster: Cluster, config: WorkerConfig) -> None:
    async with Client(cluster.url) as client, Worker(client, spawning, config=config):
        racing = await client.start(spawning.first_of, execution_id="racing")
        ordered = await client.start(spawning.in_turn, execution_id="ordered")
        dozing = await client.start(spawning.dozing)
        first, value, other = await racing.result(20)
        assert [first, 1 - first] == [value, other] == (await _in_order(cluster, "racing"))[:2]
        assert await ordered.result(20) == await _in_order(cluster, "ordered")
        assert await dozing.result(20) == 1


async def _in_order(cluster: Cluster, execution_id: str) -> list[int]:
    """Return the numbers of the jobs in the order of their turns."""
    query = """SELECT ident FROM zart_steps JOIN zart_execution_runs USING (run_id)
               WHERE execution_id = %(id)s AND ident LIKE ':job%%' ORDER BY turn, ident"""
    return [int(row["ident"][-1]) for row in await cluster.rows(query, id=execution_id)]


async def test_a_frozen_owner_of_a_spawned_step_is_not_heard(cluster: Cluster) -> None:
    """L4: taken over between the effect and its record."""
    async with Client(cluster.url) as client:
        zombie = await cluster.worker(wait=False)
        await zombie.ready()
        handle = await client.start(spawning.freezing)
        await zombie.stopped()
        async with Worker(client, spawning, config=SHORT):
            assert await handle.result(LEASE + 10) == 2
            journal = await cluster.rows("SELECT * FROM zart_steps")
            zombie.cont()
            await until(lambda: "it starts again with empty hands" in zombie.log, what="the zombie to learn")
        assert await cluster.rows("SELECT * FROM zart_steps") == journal
    assert cluster.effects() == ["freeze", "freeze"]


async def test_a_graceful_stop_finishes_the_step_that_runs_and_hands_the_rest_back(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        first = await cluster.worker(concurrency=2)
        handle = await client.start(spawning.spread, 6, 0.1)
        await until(lambda: len(cluster.effects()) >= 2)
        first.terminate()
        assert await first.ended() == 0
        assert await _none(cluster, "SELECT count(*) FROM zart_tasks WHERE state = 'a'")
        async with Worker(client, spawning, config=CONFIG):
            assert await handle.result(20) == 15
    assert Counter(cluster.effects()) == {"job": 6, "tail": 1}


@pytest.fixture
def _table(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(deposits.TABLE)


async def _deposited(cluster: Cluster) -> list[int]:
    return [row["n"] for row in await cluster.rows("SELECT n FROM deposits ORDER BY n")]


@pytest.mark.usefixtures("_table")
async def test_the_effect_of_a_spawned_step_commits_with_its_record(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, spawning, config=CONFIG):
        assert await (await client.start(spawning.depositing, 6)).result(30) == 15
    assert await _deposited(cluster) == list(range(6))
    assert await _none(cluster)


@pytest.mark.usefixtures("_table")
async def test_the_effect_of_a_spawned_step_that_was_cancelled_is_rolled_back(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, spawning, config=CONFIG):
        handle = await client.start(spawning.depositing_in_vain)
        await until(lambda: cluster.effects() == ["deposit"])
        await handle.send_event("now")
        assert await handle.result(20) == "cancelled"
        await until(lambda: _none(cluster), what="its task to go")
    assert await _deposited(cluster) == []


@pytest.mark.slow
@pytest.mark.usefixtures("_table")
@pytest.mark.parametrize("point", ["after-effect", "before-commit", "after-commit"])
async def test_a_kill_at_the_commit_of_a_spawned_step_leaves_one_effect(cluster: Cluster, point: str) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(spawning.depositing, 2)
        victim = await cluster.worker(crash_at=f"{point}:deposit")
        await victim.died()
        async with Worker(client, spawning, config=SHORT):
            assert await handle.result(LEASE + 15) == 1
    assert await _deposited(cluster) == [0, 1]
    assert await _none(cluster)


async def test_a_failed_spawned_step_is_retried_in_its_run_and_heartbeats_are_kept(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, spawning, config=CONFIG):
        handle = await client.start(spawning.mooding)
        with pytest.raises(ExecutionFailed):
            await handle.result(20)
        await handle.retry_step()
        assert await handle.result(20) == "1 {'times': 2}"
    assert cluster.effects() == ["job", "moody", "moody", "moody"]


async def test_a_rerun_keeps_the_spawned_steps_before_the_failed_one(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, spawning, config=CONFIG):
        handle = await client.start(spawning.mooding)
        with pytest.raises(ExecutionFailed):
            await handle.result(20)
        await handle.rerun()
        assert await handle.result(20) == "1 None"
    assert cluster.effects() == ["job", "moody", "moody", "moody"]


async def test_a_step_whose_code_is_not_here_is_left_to_another_worker(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "zart")
    hasty = WorkerConfig(lease="60s", poll_interval="100ms", drain_timeout="10ms")
    async with Client(cluster.url) as client, Worker(client, spawning, config=hasty):
        await client.start(spawning.leaving, execution_id="run")
        await until(lambda: cluster.effects() == ["endless"])
    rename = """UPDATE zart_tasks SET payload = convert_to(replace(convert_from(payload, 'UTF8'), 'endless', 'moved'),
                'UTF8') WHERE kind = 's'"""
    await cluster.rows(rename)
    async with Client(cluster.url) as client, Worker(client, spawning, config=CONFIG):
        await until(lambda: "knows no step 'moved'" in caplog.text)
        waits = "SELECT state::text FROM zart_tasks WHERE kind = 's'"

        async def waiting() -> bool:
            return bool(await cluster.value(waits) == "w")

        await until(waiting)
        assert await client.handle("run").status() is RunState.WAITING


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [None, 100])
async def test_a_fan_out_of_two_thousand(cluster: Cluster, concurrency: int | None) -> None:
    async with Client(cluster.url) as client, Worker(client, spawning, config=CONFIG):
        started = asyncio.get_running_loop().time()
        handle = await client.start(spawning.fan, 2000, concurrency)
        assert await handle.result(120) == 2 * sum(range(2000))
        print(f"2,000 items, concurrency {concurrency}: {asyncio.get_running_loop().time() - started:.1f} s")
        claims = await cluster.value("SELECT final_epoch FROM zart_execution_runs")
        print(f"the body was claimed {claims} times")
    assert await _none(cluster)
