"""Section 6: executions are run again, whole or in part, forked, retried and continued, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import timedelta
from typing import Any

import pytest
from tests.support import workflows
from tests.support.cluster import LEASE, Cluster, until

from zart_core import (
    ExecutionConflict,
    ExecutionFailed,
    ExecutionNotFound,
    IllegalTransition,
    RunState,
    StoreConflict,
    StoreUnavailable,
    UsageError,
    context,
    wait_for_event,
)
from zart_core.spi import ActiveRun
from zart_decorators import durable
from zart_scheduler import Client, Handle, SyncClient, Worker, WorkerConfig, call
from zart_scheduler.connections import Connections

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease="60s", poll_interval="100ms")
"""Nothing is taken from its owner because of its lease."""


async def states(handle: Handle[Any]) -> list[str]:
    return [run.state for run in await handle.runs()]


async def is_state(handle: Handle[Any], state: RunState) -> bool:
    return bool(await handle.status() is state)


# -- restart


async def test_a_restart_takes_a_run_from_its_worker_whose_step_is_dropped_soon(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.hanging)
        await until(lambda: cluster.effects() == ["hang"])
        waiting = asyncio.create_task(handle.result(30))
        assert await handle.restart(reason="it hangs") is handle
        assert await waiting == 2  # the second of its kind does not hang
        await until(lambda: any(entry.get("over") for entry in cluster.entries()), within=5)
        assert await states(handle) == ["cancelled", "completed"]
        assert [run.run_index for run in await handle.runs()] == [0, 1]
        details = await handle.describe()
        assert (details.run.run_index, details.state) == (1, RunState.COMPLETED)
    reason = "SELECT convert_from(outcome, 'UTF8') FROM zart_execution_runs WHERE run_index = 0"
    assert await cluster.value(reason) == '"replaced by run 1 (restart): it hangs"'


async def test_a_worker_that_was_frozen_when_its_run_was_restarted_is_not_heard(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.frozen)
        zombie = await cluster.worker(wait=False, lease="60s")
        await zombie.stopped()  # after the charge, before its record
        await handle.restart()
        async with Worker(client, workflows, config=CONFIG):
            assert await handle.result(20) == "shipped after charge 2"
            journal = await cluster.rows("SELECT * FROM zart_steps ORDER BY run_id, ident")
            zombie.cont()
            other = await client.start(workflows.counting, 1, execution_id="other")
            await other.result(20)
            zombie.terminate()
            assert await zombie.ended() == 0
        rows = """SELECT s.* FROM zart_steps s JOIN zart_execution_runs r USING (run_id)
                  WHERE r.execution_id <> 'other' ORDER BY s.run_id, s.ident"""
        assert await cluster.rows(rows) == journal
        assert await states(handle) == ["cancelled", "completed"]
    assert cluster.effects(handle.execution_id) == ["charge", "charge", "ship"]


async def test_a_restart_sees_no_consumed_event_again_but_those_that_were_not(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.listening)
        await handle.send_event("said", "first")
        await handle.send_event("other", 1)
        assert await handle.result(20) == "first"
        await handle.restart()
        await until(lambda: is_state(handle, RunState.WAITING))
        await handle.send_event("said", "second")
        assert await handle.result(20) == "second"
        mailbox = [(event.name, event.state) for event in (await handle.describe()).events]
    assert mailbox == [("said", "consumed"), ("other", "pending"), ("said", "consumed")]


async def test_a_restart_with_another_input_and_what_cannot_be(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.counting, 1)
        assert await handle.result(20) == [0]
        await handle.restart(workflows.counting.call(2))
        assert await handle.result(20) == [0, 1]
        await handle.restart(call("counting", steps=3))
        assert await handle.result(20) == [0, 1, 2]
        with pytest.raises(ExecutionConflict, match="it runs workflow 'counting', not 'failing'"):
            await client.handle(handle.execution_id).restart(workflows.failing.call())
        with pytest.raises(ExecutionNotFound):
            await client.handle("nobody").restart()
        with pytest.raises(UsageError, match="takes what"):
            await client.handle(handle.execution_id).restart(workflows.counting)  # type: ignore[arg-type]
        assert await states(handle) == ["completed"] * 3


async def test_a_start_may_restart_what_is_there(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        options: Any = {"execution_id": "nightly", "on_conflict": "restart"}
        first = await client.start(workflows.counting, 1, **options)
        assert (first.existing, await first.result(20)) == (False, [0])
        second = await client.start(workflows.counting, 2, **options)
        assert (second.existing, await second.result(20)) == (True, [0, 1])
        assert (await client.start(workflows.counting, 2, execution_id="nightly")).existing
        live = await client.start(workflows.hanging, execution_id="live")
        await until(lambda: "hang" in cluster.effects("live"))
        with pytest.raises(ExecutionConflict):
            await client.start(workflows.counting, 1, execution_id="live", on_conflict="restart")
        async with client._access.connections.pool.connection() as conn, conn.transaction():
            with pytest.raises(ExecutionConflict, match="without `conn`"):
                await client.start(workflows.hanging, execution_id="live", on_conflict="restart", conn=conn)
            await client.start(workflows.counting, 3, conn=conn, **options)
        assert await second.result(20) == [0, 1, 2]
        await client.start(workflows.hanging, execution_id="live", on_conflict="restart")
        assert await live.result(20) == 2
        assert await states(live) == ["cancelled", "completed"]


# -- rerun


async def test_a_rerun_begins_with_what_failed_and_repeats_nothing_before_it(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.mending, 2)
        with pytest.raises(ExecutionFailed, match="GatewayDown: try again"):
            await handle.result(20)
        await handle.rerun()
        assert await handle.result(20) == 1
        assert await states(handle) == ["failed", "completed"]
    assert cluster.effects() == ["finish", "mend", "mend", "mend", "count"]


async def test_a_rerun_of_chosen_steps_warns_of_those_kept_after_them(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.mending, 0)
        await handle.result(20)
        with pytest.warns(UserWarning, match=r"came after one that runs again.*: count, mend"):
            await handle.rerun(steps="fin*")
        assert handle.doubtful == ("count", "mend")
        await handle.result(20)
        assert cluster.effects() == ["finish", "mend", "count", "finish"]
        with pytest.warns(UserWarning, match="old result: finish$"):
            await handle.rerun(keep=["finish", "[l-n]end"])
        await handle.result(20)
        assert cluster.effects()[4:] == ["count"]
        with pytest.raises(UsageError, match=r"fits no step.*'count', 'finish', 'mend'"):
            await handle.rerun(steps=["finish", "typo?"])
        with pytest.raises(UsageError, match="takes names of steps"):
            await handle.rerun(keep="")
        assert len(await handle.runs()) == 3


async def test_a_rerun_has_what_its_kept_calls_have_published(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.announcing, 2)
        with pytest.raises(ExecutionFailed, match="GatewayDown"):
            await handle.result(20)
        await handle.rerun()
        assert await handle.result(20) == 1
        assert (await handle.state("progress"), await handle.state("stage")) == (2, "first")


async def test_a_rerun_takes_a_live_run_with_all_that_it_has_recorded(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.listening)
        await until(lambda: is_state(handle, RunState.WAITING))
        await handle.rerun()
        await until(lambda: is_state(handle, RunState.WAITING))
        await handle.send_event("said", "hello")
        assert await handle.result(20) == "hello"
        assert await states(handle) == ["cancelled", "completed"]
    assert cluster.effects() == ["finish", "finish"]


# -- fork


async def test_a_fork_begins_with_its_step_as_another_execution(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        source = await client.start(workflows.mending, 0, tags={"shop": "berlin"})
        await source.result(20)
        copy = await source.fork(from_step="mend", execution_id="copy")
        assert (copy.execution_id, copy.existing, await copy.result(20)) == ("copy", False, 1)
        assert cluster.effects("copy") == ["mend", "count"]
        assert (await copy.describe()).tags == {"shop": "berlin"}
        assert await states(source) == await states(copy) == ["completed"]
        edited = await source.fork(from_step="mend", input=1)
        assert await edited.result(20) == 2
        by_call = await client.handle(source.execution_id).fork(
            from_step="mend", input=workflows.mending.call(0)
        )
        assert await by_call.result(20) == 1
        with pytest.raises(ExecutionConflict, match="a fork is a new execution"):
            await source.fork(from_step="mend", execution_id="copy")
        with pytest.raises(UsageError, match=r"no step 'pay'.*'count', 'finish', 'mend'"):
            await source.fork(from_step="pay")
        with pytest.raises(ExecutionNotFound):
            await client.handle("nobody").fork(from_step="x")


async def test_a_fork_of_a_live_run_lets_it_go_on(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        source = await client.start(workflows.listening)
        await until(lambda: is_state(source, RunState.WAITING))
        copy = await source.fork(from_step="said")
        for handle in (source, copy):
            await handle.send_event("said", handle.execution_id)
            assert await handle.result(20) == handle.execution_id
    assert cluster.effects(copy.execution_id) == ["finish"]
    assert cluster.effects(source.execution_id) == ["finish", "finish"]


# -- retry of a step


async def test_a_retried_step_gets_exactly_one_more_attempt_each_time(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.mending, 3)
        for tries in (2, 3):
            with pytest.raises(ExecutionFailed):
                await handle.result(20)
            assert cluster.effects() == ["finish"] + ["mend"] * tries
            before = (await handle.describe()).deadline
            await handle.retry_step("mend" if tries == 2 else None)
        assert await handle.result(20) == 4
        details = await handle.describe()
        assert await states(handle) == ["completed"]
        assert before is not None
        assert details.deadline is not None
        assert details.deadline > before
        (mended,) = [step for step in details.steps if step.name == "mend"]
        assert (mended.attempt, [attempt.number for attempt in mended.attempts]) == (4, [1, 2, 3, 4])
        with pytest.raises(IllegalTransition, match=r"cannot retry a step of .*: it is completed"):
            await handle.retry_step()
    assert cluster.effects() == ["finish", "mend", "mend", "mend", "mend", "count"]


async def test_a_run_that_failed_by_itself_has_no_step_to_retry(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.failing)
        with pytest.raises(ExecutionFailed):
            await handle.result(20)
        with pytest.raises(UsageError, match=r"no step of .* has failed"):
            await handle.retry_step()
        with pytest.raises(UsageError, match="no step 'pay'"):
            await handle.retry_step("pay")
        assert await states(handle) == ["failed"]


async def test_a_run_past_its_deadline_goes_on_where_it_was(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.limited, 30.0)
        with pytest.raises(ExecutionFailed, match="DeadlineExceeded"):
            await handle.result(20)
        await handle.retry_step()
        with pytest.raises(ExecutionFailed, match="DeadlineExceeded"):
            await handle.result(20)
    assert cluster.effects() == ["count", "count"]


# -- continue_as_new


@pytest.mark.parametrize(
    "point",
    [
        "before-claim",
        "after-claim",
        "after-effect:count#3",
        "after-commit:count#3",
        "before-complete",
        "after-complete",
    ],
)
async def test_a_loop_of_runs_survives_a_kill_at_each_point(cluster: Cluster, point: str) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.looping, 0, 4, tags={"k": "v"})
        victim = await cluster.worker(crash_at=point)
        await victim.died()
        await cluster.worker()
        assert await handle.result(LEASE + 20) == 4
        runs = await handle.runs()
        assert [run.state for run in runs] == ["completed"] * 5
        assert [run.run_index for run in runs] == [0, 1, 2, 3, 4]
        assert {(run.version, run.queue, tuple(run.tags.items())) for run in runs} == {
            ("1", "default", (("k", "v"),))
        }
    repeated = 1 if point.startswith("after-effect") else 0
    assert len(cluster.entries()) == 5 + repeated
    assert {entry["n"] for entry in cluster.entries()} == set(range(5))
    assert await cluster.value("SELECT count(*) FROM zart_tasks") == 0


async def test_a_thousand_continuations_in_a_row_leave_nothing_in_memory(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.bare_loop, 1000)
        assert await handle.result(120) == 1000
        gc.collect()
        loop = workflows.bare_loop  # other tests of this process have left runs of theirs
        assert sum(isinstance(run, ActiveRun) and run.workflow is loop for run in gc.get_objects()) <= 2
        assert len(await handle.runs()) == 1001


async def test_an_event_sent_while_runs_follow_each_other_reaches_one_of_them(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.draining, 99)
        for number in range(100):
            await handle.send_event("number", number)
        await handle.result(60)
        assert len(await handle.runs()) == 100
    assert [entry["n"] for entry in cluster.entries()] == list(range(100))


async def test_a_cancel_meets_whichever_run_is_the_current_one(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.bare_loop, 1_000_000)
        await until(lambda: _has_runs(handle, 20))
        await handle.cancel("enough")
        await until(lambda: is_state(handle, RunState.CANCELLED))
        found = await states(handle)
        assert found == ["completed"] * (len(found) - 1) + ["cancelled"]
    assert await cluster.value("SELECT count(*) FROM zart_tasks") == 0


async def _has_runs(handle: Handle[Any], number: int) -> bool:
    return len(await handle.runs()) >= number


# -- lost answers


@durable("looping-parent")
async def looping_parent(last: int) -> int:
    return 1 + await workflows.looping(0, last)


async def test_a_parent_gets_the_result_of_its_childs_last_run(cluster: Cluster) -> None:
    sources = (looping_parent, workflows)
    async with Client(cluster.url) as client, Worker(client, *sources, config=CONFIG):
        handle = await client.start(looping_parent, 3)
        assert await handle.result(30) == 4
        (child,) = (await handle.describe()).children
        assert await states(client.handle(child)) == ["completed"] * 4


async def test_a_failed_run_with_a_failed_child_is_run_again_with_another(cluster: Cluster) -> None:
    @durable("failing-parent")
    async def failing_parent() -> int:
        return await workflows.mending(2)

    async with Client(cluster.url) as client, Worker(client, failing_parent, workflows, config=CONFIG):
        handle = await client.start(failing_parent)
        with pytest.raises(ExecutionFailed):
            await handle.result(30)
        with pytest.raises(UsageError, match="a run starts a child only once"):
            await handle.retry_step()
        await handle.rerun()
        with pytest.raises(ExecutionFailed):
            await handle.result(30)
        assert len((await handle.describe()).children) == 2


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """While it holds True, the answer of the next statement is lost after the server has carried it out."""
    armed: list[bool] = []
    once = Connections._once

    async def lose(self: Connections, work: Any) -> Any:
        answer = await once(self, work)
        if armed:
            armed.pop()
            raise StoreUnavailable("the answer was lost")
        return answer

    monkeypatch.setattr(Connections, "_once", lose)
    return armed


async def test_what_is_sent_again_after_a_lost_answer_is_done_once(
    cluster: Cluster, losing: list[bool]
) -> None:
    async with Client(cluster.url) as client:
        async with Worker(client, workflows, config=CONFIG):
            handle = await client.start(workflows.mending, 9)
            with pytest.raises(ExecutionFailed):
                await handle.result(20)
        losing.append(True)
        await handle.retry_step()
        assert await states(handle) == ["scheduled"]
        losing.append(True)
        await handle.restart()
        assert await states(handle) == ["cancelled", "scheduled"]
        losing.append(True)
        await handle.rerun()
        assert await states(handle) == ["cancelled", "cancelled", "scheduled"]
        losing.append(True)
        again = await client.start(
            workflows.mending, 9, execution_id=handle.execution_id, on_conflict="restart"
        )
        assert again.existing
        assert len(await handle.runs()) == 4
    actions = await cluster.rows("SELECT action FROM zart_audit ORDER BY audit_id")
    assert [row["action"] for row in actions] == ["retry_step", "restart", "rerun", "restart"]


async def test_a_request_with_a_key_is_carried_out_once(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, config=CONFIG):
        handle = await client.start(workflows.counting, 1)
        await handle.result(20)
        assert [(await handle.restart(idempotency_key="a")).replayed for _ in range(2)] == [False, True]
        await handle.result(20)
        forks = {(await handle.fork(from_step="count", idempotency_key="b")).execution_id for _ in range(2)}
        with pytest.raises(StoreConflict, match="a key belongs to one request"):
            await handle.rerun(idempotency_key="a")
        assert len(forks) == 1
        assert len(await handle.runs()) == 2


# -- versions, delays, tags


@durable("asking", version="1", current=False)
async def asking_before(n: int) -> str:
    return f"one {await wait_for_event('answer', int) + n}"


@durable("asking", version="2")
async def asking(n: int) -> str:
    return f"two {await wait_for_event('answer', int) + n} {dict(context().tags)}"


async def test_versions_run_side_by_side_and_only_new_runs_get_the_current_one(cluster: Cluster) -> None:
    async with Client(cluster.url) as client:
        old = await client.start(asking_before, 1)
        async with Worker(client, asking_before, config=CONFIG):
            await until(lambda: is_state(old, RunState.WAITING))
        async with Worker(client, asking_before, asking, config=CONFIG):
            new = await client.start(call("asking", n=1))
            await until(lambda: is_state(new, RunState.WAITING))
            for handle in (old, new):
                await handle.send_event("answer", 1)
            assert (await old.result(20), await new.result(20)) == ("one 2", "two 2 {}")
            assert [run.version for run in await old.runs() + await new.runs()] == ["1", "2"]
            await old.rerun()
            await old.result(20)
            await old.restart()
            await until(lambda: is_state(old, RunState.WAITING))
            await old.send_event("answer", 5)
            assert await old.result(20) == "two 6 {}"
            assert [run.version for run in await old.runs()] == ["1", "1", "2"]


async def test_a_delayed_start_waits_and_its_tags_are_seen_in_the_body(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, asking, config=CONFIG):
        began = time.monotonic()
        handle = await client.start(asking, 1, delay="1s", tags={"shop": "berlin"})
        assert await handle.status() is RunState.SCHEDULED
        await handle.send_event("answer", 1)
        assert await handle.result(20) == "two 2 {'shop': 'berlin'}"
        assert time.monotonic() - began >= 1
        (found,) = (await client.list_runs(tags={"shop": "berlin"})).items
        assert found.started_at is not None
        assert found.started_at - found.created_at >= timedelta(seconds=1)


# -- blocking


def test_the_blocking_handle_does_the_same(cluster: Cluster) -> None:
    with SyncClient(cluster.url) as client:
        handle = client.start(workflows.mending, 0)
        assert handle.restart() is handle
        assert handle.rerun() is handle
        with pytest.raises(IllegalTransition, match="it is scheduled"):
            handle.retry_step()
        with pytest.raises(UsageError):
            handle.fork(from_step="mend")
        assert [run.state for run in handle.runs()] == ["cancelled", "cancelled", "scheduled"]
        assert client.start(
            workflows.mending, 0, execution_id=handle.execution_id, on_conflict="restart"
        ).existing
        assert len(handle.runs()) == 4
