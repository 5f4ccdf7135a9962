"""Child executions with real workers: results, errors, parking, cancelled trees, and what people see of them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest
from tests.support import families, workflows
from tests.support.cluster import Cluster, until

from zart_core import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionNotFound,
    ExecutionTree,
    RunState,
    StepState,
)
from zart_scheduler import Client, Handle, SyncClient, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

NEVER_POLLS = WorkerConfig(lease="60s", poll_interval="60s")
"""Whatever happens in time happens because somebody was told."""


def worker(client: Client, **config: Any) -> Worker:
    settings = {"lease": "60s", "poll_interval": "100ms", **config}
    return Worker(client, workflows, families, config=WorkerConfig(**settings))


async def is_state(handle: Handle[Any], state: RunState) -> bool:
    return await handle.status() is state


async def states(cluster: Cluster) -> dict[str, str]:
    """Return the state of every execution."""
    rows = await cluster.rows(
        "SELECT r.execution_id, s.state FROM zart_run_states s JOIN zart_execution_runs r USING (run_id)"
    )
    return {row["execution_id"]: row["state"] for row in rows}


# -- running


async def test_a_child_runs_on_whatever_worker_and_its_parent_gets_the_result(cluster: Cluster) -> None:
    await cluster.worker(concurrency=2)
    await cluster.worker(concurrency=2)
    async with Client(cluster.url) as client:
        handles = [await client.start(families.parent, n, execution_id=f"p{n}") for n in range(8)]
        results = await asyncio.gather(*(handle.result(30) for handle in handles))
        assert results == [[1, n * 10, 2] for n in range(8)]
    assert Counter(cluster.effects()) == {"finish": 16, "count": 16}
    assert await cluster.value("SELECT count(*) FROM zart_tasks") == 0
    assert await cluster.value("SELECT count(*) FROM zart_steps WHERE turn IS NULL") == 0


@pytest.mark.parametrize("max_parked", [0, 1000])
async def test_one_slot_is_enough_for_a_deep_tree(cluster: Cluster, max_parked: int) -> None:
    async with Client(cluster.url) as client, worker(client, concurrency=1, max_parked=max_parked):
        handle = await client.start(families.nest, 5)
        assert await handle.result(30) == "(((((.)))))"
    assert cluster.effects() == ["finish"]


async def test_a_birth_and_an_end_are_told_and_wait_for_no_poll(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, families, config=NEVER_POLLS):
        handle = await client.start(families.nest, 3)
        assert await handle.result(10) == "(((.)))"


@pytest.mark.parametrize(("children", "max_parked"), [(500, 1000), (40, 0)])
async def test_many_children_at_once(cluster: Cluster, children: int, max_parked: int) -> None:
    async with Client(cluster.url) as client, worker(client, max_parked=max_parked):
        handle = await client.start(families.fan, children)
        assert await handle.result(60) == [2 * n for n in range(children)]
    assert await cluster.value("SELECT count(*) FROM zart_executions") == children + 1


async def test_a_child_has_the_version_that_was_called_its_workflows_priority_and_its_parents_tags(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client, worker(client):
        handle = await client.start(families.reporter, tags={"team": "sky"}, priority=9)
        assert await handle.result(10) == ["1", "default", {"team": "sky"}]
    query = "SELECT priority, version FROM zart_execution_runs WHERE workflow = 'old'"
    assert await cluster.rows(query) == [{"priority": 3, "version": "1"}]


async def test_a_parent_whose_id_is_long_has_children_with_ids_that_fit(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, worker(client):
        handle = await client.start(families.nest, 3, execution_id="x" * 255)
        assert await handle.result(10) == "(((.)))"
    lengths = await cluster.rows("SELECT char_length(execution_id) AS n FROM zart_executions")
    assert [row["n"] for row in lengths] == [255] * 4


# -- errors


@pytest.mark.parametrize(
    ("how", "seen"),
    [
        ("declined", ["declined", "no funds", 7]),
        ("local", ["StepFailed", "Local: from inside"]),
        ("result", ["PayloadInvalid", "result of workflow 'declining'"]),
        ("too-slow", ["late", "did not finish within its timeout"]),
    ],
)
@pytest.mark.parametrize("max_parked", [0, 1000])
async def test_l2_a_childs_error_arrives_in_its_parent_as_the_type_it_was(
    cluster: Cluster, how: str, seen: list[Any], max_parked: int
) -> None:
    async with Client(cluster.url) as client, worker(client, max_parked=max_parked):
        result = await (await client.start(families.observer, how)).result(10)
    assert result[0] == seen[0]
    assert all(str(part) in str(found) for part, found in zip(seen, result, strict=True))


async def test_a_child_that_somebody_cancels_raises_execution_cancelled_in_its_parent(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client, worker(client):
        handle = await client.start(families.caller, execution_id="c")
        child = client.handle("c~/:listener#0")
        await until(lambda: _is_there(child, RunState.WAITING))
        assert await child.cancel("not wanted") is RunState.CANCELLED
        assert await handle.result(10) == "c~/:listener#0 was cancelled: not wanted"
        (step,) = (await handle.describe()).steps
        assert (step.kind, step.state, str(step.failure)) == (
            "child",
            StepState.CANCELLED,
            "ExecutionCancelled: not wanted",
        )


async def test_an_event_goes_to_a_child_by_its_id(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, worker(client):
        handle = await client.start(families.caller, execution_id="c")
        child = client.handle("c~/:listener#0")
        await until(lambda: _is_there(child, RunState.WAITING))
        await child.send_event("said", "hello")
        assert await handle.result(10) == "hello"


# -- cancelled trees

CHAIN = ["t", "t~/:chain#0", "t~/:chain#0~/:chain#0", "t~/:chain#0~/:chain#0~/:listener#0"]
BESIDE = [f"{parent}~/:listener#0" for parent in CHAIN[:2]]


async def start_chain(client: Client) -> Handle[str]:
    handle = await client.start(families.chain, 2, execution_id="t")
    for execution_id in CHAIN + BESIDE:
        await until(
            lambda wanted=execution_id: _is_there(client.handle(wanted), RunState.WAITING)  # type: ignore[misc]
        )
    return handle


async def check_chain(cluster: Cluster, state: str) -> None:
    found = await states(cluster)
    assert [found[execution_id] for execution_id in CHAIN] == [state, *["cancelled"] * 3]
    assert [found[execution_id] for execution_id in BESIDE] == ["waiting", "waiting"]
    assert await cluster.value("SELECT count(*) FROM zart_cancellations") == 0


async def test_cancelling_a_parked_tree_needs_no_worker_and_leaves_detached_children(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client:
        async with worker(client):
            handle = await start_chain(client)
        assert await handle.cancel("enough") is RunState.CANCELLED
        await check_chain(cluster, "cancelled")
        async with worker(client):
            for execution_id in BESIDE:
                await client.send_event(execution_id, "said", "hello")
                assert await client.handle(execution_id).result(10) == "hello"


async def test_cancelling_a_tree_with_the_blocking_client(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, worker(client):
        await start_chain(client)
    with SyncClient(cluster.url) as blocking:
        assert blocking.handle("t").cancel() is RunState.CANCELLED
    await check_chain(cluster, "cancelled")


async def test_the_deadline_of_a_parent_ends_its_children_too(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, worker(client):
        handle = await client.start(families.chain_with_deadline, 2, execution_id="d")
        with pytest.raises(ExecutionFailed, match="DeadlineExceeded"):
            await handle.result(10)
        await until(lambda: _all_are(cluster, "d~/:chain#0", "cancelled"))
        await until(lambda: _counted(cluster, {"failed": 1, "cancelled": 4, "waiting": 2}))


async def test_a_child_that_is_running_is_stopped_at_once_when_its_parent_ends(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, workflows, families, config=NEVER_POLLS):
        handle = await client.start(families.leaver, False, True, execution_id="l")
        await until(lambda: "count" in cluster.effects())
        await handle.result(10)
        with pytest.raises(ExecutionCancelled, match="its parent has ended"):
            await client.handle("l~/:busy-child#0").result(10)


# -- a body that ends, or gives up


@pytest.mark.parametrize("fails", [False, True])
async def test_a_body_that_ends_with_children_open_cancels_them_but_not_detached_ones(
    cluster: Cluster, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(cluster.url) as client, worker(client):
        with caplog.at_level(logging.WARNING, "zart"):
            handle = await client.start(families.leaver, fails, execution_id="l")
            ended = await asyncio.gather(handle.result(10), return_exceptions=True)
        assert [str(found) for found in ended] == [
            "execution 'l' failed: LookupError: enough" if fails else "done: False"
        ]
        assert "calls still open, which are cancelled: listener" in caplog.text
        with pytest.raises(ExecutionCancelled, match="its parent has ended"):
            await client.handle("l~/:listener#1").result(10)
        await client.send_event("l~/:listener#0", "said", "hello")
        assert await client.handle("l~/:listener#0").result(10) == "hello"


@pytest.mark.parametrize("max_parked", [0, 1000])
async def test_l12_a_child_whose_call_is_cancelled_is_cancelled_and_its_parent_goes_on(
    cluster: Cluster, max_parked: int
) -> None:
    async with Client(cluster.url) as client, worker(client, max_parked=max_parked):
        handle = await client.start(families.impatient_parent, 0.3, execution_id="i")
        with pytest.raises(ExecutionCancelled, match="its parent has cancelled the call"):
            await until(lambda: _is_there(client.handle("i~/:listener#0"), RunState.CANCELLED))
            await client.handle("i~/:listener#0").result(10)
        await until(lambda: is_state(handle, RunState.WAITING))
        await handle.send_event("said", "hello")
        assert await handle.result(10) == "hello"
        step = next(step for step in (await handle.describe()).steps if step.kind == "child")
        assert (step.name, step.state) == ("listener", StepState.CANCELLED)
    assert cluster.effects() == ["finish"]


async def test_a_detached_child_goes_on_when_its_parent_has_completed(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, worker(client):
        sent = await (await client.start(families.messenger, execution_id="m")).result(10)
        assert sent == "m~/:child#0"
        assert await client.handle(sent, families.child).result(10) == 40
    assert cluster.effects("m") == ["say", "say"]


@pytest.mark.parametrize("max_parked", [0, 1000])
async def test_a_failed_bodys_children_are_cancelled_before_its_handler_which_may_have_its_own(
    cluster: Cluster, max_parked: int
) -> None:
    async with Client(cluster.url) as client, worker(client, max_parked=max_parked):
        handle = await client.start(families.fragile, 4, execution_id="f")
        assert await handle.result(10) == "LookupError: 8"
        with pytest.raises(ExecutionCancelled, match="its parent has ended"):
            await client.handle("f~/:listener#0").result(10)
    recorded = await cluster.rows("SELECT ident FROM zart_steps WHERE kind = 'k' ORDER BY 1")
    assert [row["ident"] for row in recorded] == ["!:double#0"]


async def test_a_child_with_something_to_undo_undoes_it_when_its_parent_is_cancelled(
    cluster: Cluster,
) -> None:
    async with Client(cluster.url) as client, worker(client):
        handle = await client.start(families.agency, execution_id="a")
        child = client.handle("a~/:booking#0")
        await until(lambda: _is_there(child, RunState.WAITING))
        await until(lambda: is_state(handle, RunState.WAITING))
        assert await handle.cancel() is RunState.CANCELLED
        with pytest.raises(ExecutionCancelled, match="its parent has ended"):
            await child.result(10)
    assert [entry["step"] for entry in cluster.entries("a~/:booking#0")] == ["finish", "finish"]


# -- what people see


async def test_parent_and_child_know_each_other(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, worker(client):
        handle = await start_chain(client)
        details = await handle.describe()
        assert details.parent is None
        assert details.children == [BESIDE[0], CHAIN[1]]
        assert details.state is RunState.WAITING
        assert [(wait.kind, wait.name, wait.until) for wait in details.waiting_for] == [
            ("child", "chain", None)
        ]
        shown = [(step.name, step.kind, step.state) for step in details.steps]
        assert shown == [("listener", "child", StepState.COMPLETED), ("chain", "child", StepState.WAITING)]
        assert details.steps[0].result == {"execution_id": BESIDE[0]}
        child = await client.handle(CHAIN[1]).describe()
        assert (child.parent, child.children) == ("t", [BESIDE[1], CHAIN[2]])


async def test_a_childs_record_tells_its_result_and_when_it_lived(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, worker(client):
        handle = await client.start(families.parent, 3, execution_id="p")
        await handle.result(10)
        details = await handle.describe()
    _, step, _ = details.steps
    assert (step.name, step.kind, step.state, step.result) == ("child", "child", StepState.COMPLETED, 30)
    assert step.started_at is not None
    assert step.completed_at is not None
    assert (step.completed_at - step.started_at).total_seconds() >= 0.05
    assert details.children == ["p~/:child#0"]


async def test_a_tree_has_every_descendant_in_its_place(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, worker(client):
        handle = await start_chain(client)
        tree = await handle.tree()
        with pytest.raises(ExecutionNotFound):
            await client.handle("nobody").tree()
    assert _ids(tree) == [
        "t",
        [BESIDE[0]],
        [CHAIN[1], [BESIDE[1]], [CHAIN[2], [CHAIN[3]]]],
    ]
    assert tree.run.state is RunState.WAITING


def _ids(tree: ExecutionTree) -> list[Any]:
    return [tree.run.execution_id, *map(_ids, tree.children)]


async def _is_there(handle: Handle[Any], state: RunState) -> bool:
    try:
        return await is_state(handle, state)
    except ExecutionNotFound:
        return False


async def _all_are(cluster: Cluster, execution_id: str, state: str) -> bool:
    return (await states(cluster)).get(execution_id) == state


async def _counted(cluster: Cluster, wanted: dict[str, int]) -> bool:
    return Counter((await states(cluster)).values()) == wanted
