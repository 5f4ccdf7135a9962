"""What people read: the same whether executions are kept in PostgreSQL or in memory."""

from __future__ import annotations

import pytest

from tests.contract import flows
from tests.contract.conftest import World
from zart_core import ExecutionNotFound, RunState, UsageError, WaitTimeout

pytestmark = pytest.mark.anyio


async def test_details_tell_each_call_of_the_run(world: World) -> None:
    handle = await world.start(flows.mixed, execution_id="e", tags={"team": "a"})
    await handle.result(20)
    details = await handle.describe()
    assert [(s.name, s.scope, s.kind, s.key, s.state, s.attempt) for s in details.steps] == [
        ("do-in-a-thread", "", "step", None, "completed", 1),
        ("draw", "", "capture", None, "completed", 1),
        ("new_uuid", "", "capture", None, "completed", 1),
        ("pause", "", "sleep", None, "completed", 1),
        ("made", "", "capture", None, "completed", 1),
    ]
    assert details.steps[0].result == ["do-in-a-thread", 1]
    assert (details.execution_id, details.workflow, details.version) == ("e", "mixed", "1")
    assert (details.state, details.input, details.tags) == ("completed", {}, {"team": "a"})
    assert details.result == await handle.result(20)
    assert (details.failure, details.waiting_for, details.events, details.divergence) == (None, [], [], None)
    assert details.runs == [details.run]
    run = details.run
    assert run.started_at is not None
    assert run.completed_at is not None
    assert run.created_at <= run.started_at <= run.completed_at
    for step in details.steps:
        assert step.completed_at is not None
        assert run.started_at <= step.completed_at <= run.completed_at


async def test_open_waits_are_steps_too(world: World) -> None:
    handle = await world.start(flows.hears, ["a"], "1h")
    await world.until(handle, RunState.WAITING)
    details = await handle.describe()
    (step,) = details.steps
    assert (step.name, step.kind, step.state, step.completed_at) == ("a", "event", "waiting", None)
    (wait,) = details.waiting_for
    assert wait.until is not None
    assert details.worker is None
    assert details.input == {"names": ["a"], "timeout": "1h"}


async def test_what_a_run_has_published_is_read_by_its_name(world: World) -> None:
    handle = await world.start(flows.reports)
    await world.until(handle, RunState.WAITING)
    assert await handle.state("progress") == {"done": 2}
    assert await handle.state("regress") is None
    assert [(step.name, step.kind) for step in (await handle.describe()).steps] == [
        ("progress", "state"),
        ("progress", "state"),
        ("go", "event"),
    ]
    await handle.send_event("go", "")
    await handle.result(20)
    with pytest.raises(ExecutionNotFound):
        await world.handle("nothing").state("progress")


async def test_records_that_no_call_has_met_are_told(world: World) -> None:
    handle = await world.start(flows.forgetful)
    assert await handle.result(20) == "done"
    assert (await handle.describe()).orphans == ["do"]


async def test_a_wait_for_a_result_has_an_end(world: World) -> None:
    handle = await world.start(flows.hears, ["a"])
    for patience in (0, 0.05):
        with pytest.raises(WaitTimeout) as caught:
            await handle.result(patience)
        assert caught.value.execution_id == handle.execution_id
    await world.until(handle, RunState.WAITING)


async def test_lists_are_filtered_and_paged(world: World) -> None:
    for number in range(3):
        handle = await world.start(flows.echo, "a", execution_id=f"echo-{number}", tags={"n": str(number)})
        await handle.result(20)
    waiting = await world.start(flows.ships, flows.Order(order_id="o"), execution_id="ship")
    await world.until(waiting, RunState.WAITING)

    async def ids(**options: object) -> list[str]:
        return [run.execution_id for run in await world.list_runs(**options)]

    assert await ids() == ["ship", "echo-2", "echo-1", "echo-0"]
    assert await ids(state="completed") == ["echo-2", "echo-1", "echo-0"]
    assert await ids(state=RunState.WAITING) == ["ship"]
    assert await ids(workflow="echo", tags={"n": "1"}) == ["echo-1"]
    assert await ids(queue="dock") == await ids(search="SHIP") == ["ship"]
    first = (await waiting.runs())[0].created_at
    assert "ship" in await ids(since=first)
    page = await world.list_runs(limit=3)
    assert page.next_cursor is not None
    rest = await world.list_runs(limit=3, cursor=page.next_cursor)
    assert [run.execution_id for run in [*page, *rest]] == await ids()
    assert rest.next_cursor is None
    for bad in ({"limit": 0}, {"state": "gone"}, {"cursor": "x"}):
        with pytest.raises(UsageError):
            await ids(**bad)
