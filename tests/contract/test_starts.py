"""Starts: the same whether executions are kept in PostgreSQL or in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contract import flows
from tests.contract.conftest import World
from zart_core import (
    ExecutionConflict,
    ExecutionNotFound,
    Invocation,
    PayloadInvalid,
    RunState,
    UsageError,
    WorkflowNotFound,
)

pytestmark = pytest.mark.anyio


async def test_a_start_of_the_same_id_and_input_gives_the_execution_that_is_there(world: World) -> None:
    first = await world.start(flows.echo, "a", execution_id="e")
    assert (first.existing, await first.result(20)) == (False, "a")
    again = await world.start(flows.echo, "a", execution_id="e")
    assert (again.existing, await again.result(20)) == (True, "a")
    assert len(await again.runs()) == 1


async def test_another_start_of_the_same_id_is_a_conflict(world: World) -> None:
    await world.start(flows.echo, "a", execution_id="e")
    starts: list[tuple[Any, str, dict[str, Any], str]] = [
        (flows.echo, "b", {}, "it was started with another input for workflow 'echo'; use another id"),
        (flows.echo_again, "a", {}, "it runs workflow 'echo', not 'echo-again'"),
        (flows.echo, "a", {"on_conflict": "reject"}, "it was started before, and on_conflict is 'reject'"),
    ]
    for workflow, text, options, reason in starts:
        with pytest.raises(ExecutionConflict) as caught:
            await world.start(workflow, text, execution_id="e", **options)
        assert str(caught.value).endswith(reason)


async def test_an_impossible_option_is_refused(world: World) -> None:
    options: list[dict[str, Any]] = [
        {"execution_id": "a~b"},
        {"execution_id": ""},
        {"at": datetime(2030, 1, 1)},  # noqa: DTZ001 - that is what is refused
        {"at": datetime(2030, 1, 1, tzinfo=UTC), "delay": 1},
        {"priority": 10**6},
        {"tags": {"a": 1}},
    ]
    for impossible in options:
        with pytest.raises(UsageError):
            await world.start(flows.echo, "a", **impossible)
    with pytest.raises(TypeError):
        await world.start(flows.echo, "a", sooner=True)
    assert not (await world.list_runs()).items


async def test_arguments_of_the_wrong_shape_start_nothing(world: World) -> None:
    with pytest.raises(PayloadInvalid, match="order_id"):
        await world.start(flows.ships, {"amount": 1})
    with pytest.raises(TypeError):
        await world.start(flows.echo)
    assert not (await world.list_runs()).items


async def test_a_workflow_is_started_by_name(world: World) -> None:
    assert await (await world.start("echo", "ab", 2)).result(20) == "abab"
    assert await (await world.start(Invocation("echo", (), {"text": "c"}))).result(20) == "c"
    by_name = await world.start("ships", {"order_id": "o"})
    assert (await by_name.runs())[0].queue == "dock"
    with pytest.raises(WorkflowNotFound):
        await world.start("nobody-knows", 1)
    with pytest.raises(PayloadInvalid, match="takes 2 arguments, 3 were given"):
        await world.start("echo", "a", 1, 2)


async def test_by_name_and_by_code_are_the_same_start(world: World) -> None:
    await world.start(flows.ships, flows.Order(order_id="o"), execution_id="e")
    again = await world.start("ships", {"order_id": "o"}, execution_id="e")
    assert again.existing is True


async def test_a_delayed_start_is_scheduled_until_its_time(world: World) -> None:
    later = await world.start(flows.echo, "a", delay="1h")
    assert await later.status() is RunState.SCHEDULED
    details = await later.describe()
    (wait,) = details.waiting_for
    assert (wait.kind, wait.name) == ("timer", "start")
    assert wait.until is not None
    assert (wait.until - details.run.created_at).total_seconds() == pytest.approx(3600, abs=5)
    assert await (await world.start(flows.echo, "b", delay="30ms")).result(20) == "b"
    assert await (await world.start(flows.echo, "c", at=datetime(2020, 1, 1, tzinfo=UTC))).result(20) == "c"


async def test_what_does_not_exist_is_not_found(world: World) -> None:
    nothing = world.handle("nothing")
    for ask in (nothing.status, nothing.describe, nothing.runs, nothing.cancel, nothing.result):
        with pytest.raises(ExecutionNotFound):
            await ask()
