"""L10 on real workers: one version of the code meets what another has recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.cluster import Cluster, until
from tests.support.workflows import take_effect

from zart_core import (
    ExecutionBlocked,
    ExecutionNotFound,
    IllegalTransition,
    RunState,
    Step,
    UsageError,
    Workflow,
    wait_for_event,
)
from zart_scheduler import Client, Handle, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease="60s", poll_interval="50ms", max_parked=0)
TRIES = "SELECT divergences FROM zart_tasks"


async def _take(n: int) -> int:
    take_effect(n=n)
    return n


pay: Step[[int], int] = Step(_take, "pay")
charge: Step[[int], int] = Step(_take, "charge")
charge_or_pay: Step[[int], int] = Step(_take, "charge", aliases=("pay",))
ship: Step[[int], int] = Step(_take, "ship")


def version(*calls: Callable[[], Awaitable[Any]], **options: Any) -> Workflow[[], list[Any]]:
    """Code of the workflow `flow`: some calls, a wait, a last step."""

    async def flow() -> list[Any]:
        done = [await call() for call in calls]
        await wait_for_event("go")
        return [*done, await ship(0)]

    return Workflow(flow, "flow", **options)


FIRST = version(lambda: pay(1), lambda: pay(2))
RENAMED = version(lambda: charge(1), lambda: charge(2))
SWAPPED = version(lambda: pay(2), lambda: pay(1))


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(cluster.url) as client:
        yield client


async def recorded(client: Client, flow: Workflow[[], Any] = FIRST) -> Handle[Any]:
    """A run that a worker has brought to its wait and parked."""
    handle = await client.start(flow, execution_id="run")
    async with Worker(client, flow, config=CONFIG):
        await until(lambda: _is(handle, RunState.WAITING))
    return handle


async def blocked(cluster: Cluster, client: Client, flow: Workflow[[], Any], handle: Handle[Any]) -> str:
    """Wake the run, let a worker of other code try it for the third time, and return why it blocks."""
    await cluster.rows("UPDATE zart_tasks SET divergences = 2")
    if await handle.status() is not RunState.SCHEDULED:
        await handle.send_event("go")
    async with Worker(client, flow, config=CONFIG):
        with pytest.raises(ExecutionBlocked) as found:
            await handle.result(20)
    assert await handle.status() is RunState.BLOCKED
    return str(found.value)


async def _is(handle: Handle[Any], state: RunState) -> bool:
    return await handle.status() is state


@asynccontextmanager
async def working(client: Client, flow: Workflow[[], Any]) -> AsyncIterator[None]:
    async with Worker(client, flow, config=CONFIG):
        yield


# -- three tries


async def test_a_run_blocks_at_the_third_try_and_never_sooner(cluster: Cluster, client: Client) -> None:
    handle = await recorded(client)
    epoch = await cluster.value("SELECT epoch FROM zart_tasks")
    await handle.send_event("go")
    async with working(client, RENAMED):
        await until(lambda: cluster.value(f"{TRIES} WHERE divergences = 1 AND state = 'w'"))
        assert await handle.status() is RunState.SCHEDULED
        assert (await handle.describe()).divergence is None
        with pytest.raises(ExecutionBlocked, match="zart runs unblock run --accept charge"):
            await handle.result(20)
    assert await cluster.value("SELECT epoch FROM zart_tasks") == epoch + 3
    assert cluster.effects() == ["pay", "pay"]


async def test_a_worker_of_fitting_code_takes_what_another_hands_back(
    cluster: Cluster, client: Client
) -> None:
    handle = await recorded(client)
    await handle.send_event("go")
    async with working(client, RENAMED):
        await until(lambda: cluster.value(f"{TRIES} WHERE divergences = 1"))
        async with working(client, FIRST):
            assert await handle.result(20) == [1, 2, 0]
    assert cluster.effects() == ["pay", "pay", "ship"]


async def test_an_outcome_recorded_between_two_tries_sets_the_count_back(
    cluster: Cluster, client: Client
) -> None:
    twice: Workflow[[], Any] = version(lambda: pay(1), lambda: wait_for_event("go"), lambda: pay(2))
    handle = await recorded(client, twice)
    await cluster.rows("UPDATE zart_tasks SET divergences = 2, diverged_epoch = epoch")
    async with working(client, twice):
        await handle.send_event("go")
        await until(lambda: cluster.effects() == ["pay", "pay"])
        await until(lambda: _is(handle, RunState.WAITING))
    await handle.send_event("go")
    async with working(client, RENAMED):
        await until(lambda: cluster.value(f"{TRIES} WHERE divergences = 1"))
    assert await handle.status() is RunState.SCHEDULED


async def test_what_is_written_cannot_be_read_takes_the_same_path(cluster: Cluster, client: Client) -> None:
    async def text(n: int) -> str:
        raise AssertionError("it has its record")

    step: Step[[int], str] = Step(text, "pay")
    handle = await recorded(client, version(lambda: pay(1)))
    await handle.send_event("go")
    async with working(client, version(lambda: step(1))):
        await until(lambda: cluster.value(f"{TRIES} WHERE divergences = 1"))
        assert await cluster.value("SELECT state FROM zart_execution_runs") == "live"
    reason = await blocked(cluster, client, version(lambda: step(1)), handle)
    assert "cannot be read by today's code" in reason
    assert (await handle.describe()).divergence.code == "ZART-D004"  # type: ignore[union-attr] # it is blocked
    assert await handle.unblock() is RunState.SCHEDULED
    async with working(client, version(lambda: pay(1))):
        assert await handle.result(20) == [1, 0]


# -- what is told


async def test_a_block_tells_both_sides_by_whom_and_when(cluster: Cluster, client: Client) -> None:
    handle = await recorded(client)
    text = await blocked(cluster, client, SWAPPED, handle)
    assert "`zart runs unblock run --accept pay` or `zart runs unblock run --reset 'pay#0'`" in text
    details = await handle.describe()
    told, step = details.divergence, details.steps[0]
    assert told is not None
    assert told.recorded is not None
    assert told.current is not None
    assert (told.recorded.completed_at, told.recorded.worker) == (step.completed_at, step.worker)
    assert (told.current.arguments, told.current.kind) == ("(2)", "step")
    assert "test_l10_divergence.py" in told.current.where
    assert told.current.args != told.recorded.args


# -- unblock


async def test_an_accepted_step_runs_as_new_and_stays_accepted_on_every_replay(
    cluster: Cluster, client: Client
) -> None:
    handle = await recorded(client, version(lambda: pay(1)))
    edited = version(lambda: charge(1))
    await blocked(cluster, client, edited, handle)
    assert await handle.unblock(accept="charge", reason="it is new") is RunState.SCHEDULED
    async with working(client, edited):
        assert await handle.result(20) == [1, 0]
    assert cluster.effects() == ["pay", "charge", "ship"]
    assert (await handle.describe()).orphans == ["pay"]
    assert await cluster.rows(
        "SELECT actor, action, execution_id, detail ->> 'accept' AS accept FROM zart_audit"
    ) == [
        {
            "actor": await cluster.value("SELECT actor FROM zart_audit"),
            "action": "unblock",
            "execution_id": "run",
        }
        | {"accept": ":charge#0"}
    ]


async def test_accepted_arguments_stay_accepted_when_the_run_is_taken_over_later(
    cluster: Cluster, client: Client
) -> None:
    handle = await recorded(client)
    await blocked(cluster, client, SWAPPED, handle)
    await handle.unblock(accept="pay#0")
    await blocked(cluster, client, SWAPPED, handle)  # at the other one
    await handle.unblock(accept=":pay#1")
    async with working(client, SWAPPED):
        assert await handle.result(20) == [1, 2, 0]
    assert cluster.effects() == ["pay", "pay", "ship"]


async def test_a_reset_record_runs_again_and_nothing_else(cluster: Cluster, client: Client) -> None:
    handle = await recorded(client)
    edited = version(lambda: pay(1), lambda: pay(3))
    await blocked(cluster, client, edited, handle)
    with pytest.raises(UsageError, match=r"may be any of these records, name one: pay#0, pay#1"):
        await handle.unblock(reset="pay")
    with pytest.raises(UsageError, match=r"nothing named 'nothing'; it has: pay#0, pay#1, go"):
        await handle.unblock(reset="nothing")
    await handle.unblock(reset="pay#1")
    async with working(client, edited):
        assert await handle.result(20) == [1, 3, 0]
    assert cluster.effects() == ["pay", "pay", "pay", "ship"]


async def test_a_former_name_is_an_alias_and_needs_no_person(cluster: Cluster, client: Client) -> None:
    handle = await recorded(client)
    await handle.send_event("go")
    async with working(client, version(lambda: charge_or_pay(1), lambda: charge_or_pay(2))):
        assert await handle.result(20) == [1, 2, 0]
    assert cluster.effects() == ["pay", "pay", "ship"]


async def test_only_a_blocked_run_can_be_unblocked_and_only_at_its_own_call(
    cluster: Cluster, client: Client
) -> None:
    handle = await recorded(client)
    with pytest.raises(IllegalTransition, match="cannot unblock execution 'run': it is waiting"):
        await handle.unblock()
    with pytest.raises(ExecutionNotFound):
        await client.handle("nobody").unblock()
    await blocked(cluster, client, RENAMED, handle)
    with pytest.raises(UsageError, match=r"blocked at call 'charge' \(:charge#0\), not at 'ship'"):
        await handle.unblock(accept="ship")
    with pytest.raises(UsageError, match="not both"):
        await handle.unblock(accept="charge", reset="pay")
    await handle.unblock()
    with pytest.raises(IllegalTransition):
        await handle.unblock()
    async with working(client, FIRST):
        await handle.result(20)
    with pytest.raises(IllegalTransition, match="it is completed"):
        await handle.unblock()


async def test_of_two_people_who_repair_a_run_one_is_refused(cluster: Cluster, client: Client) -> None:
    handle = await recorded(client)
    await blocked(cluster, client, SWAPPED, handle)
    answers = await asyncio.gather(
        handle.unblock(reset="pay#0"), handle.unblock(reset="pay#0"), return_exceptions=True
    )
    assert sum(isinstance(answer, IllegalTransition) for answer in answers) == 1
    assert await cluster.value("SELECT count(*) FROM zart_audit") == 1


async def test_a_cancel_ends_a_run_between_two_tries(cluster: Cluster, client: Client) -> None:
    handle = await recorded(client)
    await handle.send_event("go")
    async with working(client, RENAMED):
        await until(lambda: cluster.value(f"{TRIES} WHERE divergences = 1"))
        assert await handle.cancel() in (RunState.CANCELLED, RunState.RUNNING)
        await until(lambda: _is(handle, RunState.CANCELLED))


async def test_a_retry_of_a_step_that_was_removed_wakes_nobody(cluster: Cluster, client: Client) -> None:
    """The time of its next attempt has passed; a run that parks would be due at once, again and again."""
    flow = version(lambda: wait_for_event("first"))
    handle = await recorded(client, flow)
    await cluster.rows(
        """INSERT INTO zart_step_attempts (run_id, ident, attempt, kind, started_at, ended_at, next_at, error)
           SELECT run_id, ':gone#0', 1, 's', now(), now(), now(), '{}' FROM zart_tasks"""
    )
    async with working(client, flow):
        await handle.send_event("first")
        await until(lambda: cluster.value("SELECT 1 FROM zart_waits WHERE name = 'go'"))
        await until(lambda: _is(handle, RunState.WAITING))
        assert await cluster.value("SELECT due_at FROM zart_tasks") is None
