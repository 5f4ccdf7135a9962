"""Starting executions: idempotent by id, checked before anything is sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from tests.support.histories import end, execute, register

from zart_core import (
    ExecutionConflict,
    Invocation,
    PayloadInvalid,
    RunState,
    UsageError,
    WorkflowNotFound,
)
from zart_decorators import durable
from zart_scheduler import Client, call

pytestmark = pytest.mark.anyio


class Item(BaseModel):
    sku: str
    count: int = 1


class Order(BaseModel):
    order_id: str
    amount: float = Field(ge=0)
    items: list[Item] = []


@durable("ship", queue="shipping", priority=7, version="3")
async def ship(order: Order, note: str = "") -> str:
    return order.order_id + note


@durable
async def refund(order: Order) -> None: ...


@durable
async def tick() -> None: ...


ORDER = Order(order_id="7", amount=2)


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with Client(database_url) as client:
        yield client


async def test_a_started_execution_is_recorded_as_it_was_asked_for(client: Client) -> None:
    handle = await client.start(ship, ORDER, "fast", execution_id="ord-7", tags={"shop": "süd"})
    assert handle.existing is False
    details = await handle.describe()
    assert (details.execution_id, details.workflow, details.version) == ("ord-7", "ship", "3")
    assert details.input == {"order": {"amount": 2.0, "order_id": "7"}, "note": "fast"}
    assert (details.run.queue, details.tags, details.state) == (
        "shipping",
        {"shop": "süd"},
        RunState.SCHEDULED,
    )
    assert details.runs == [details.run]
    assert [run.run_id for run in await handle.runs()] == [details.run.run_id]


async def test_without_an_id_every_start_is_another_execution(client: Client) -> None:
    first, second = await client.start(tick), await client.start(tick)
    assert first.execution_id != second.execution_id
    assert UUID(first.execution_id).version == 4


async def test_the_same_start_again_gives_the_existing_execution(client: Client) -> None:
    await client.start(ship, ORDER, execution_id="x")
    again = await client.start(ship.call(order=ORDER), execution_id="x", queue="other")
    assert again.existing is True
    assert len((await client.list_runs()).items) == 1


async def test_defaults_do_not_take_part_in_the_comparison(client: Client) -> None:
    await client.start(ship, ORDER, execution_id="x")
    with pytest.raises(ExecutionConflict, match="another input"):
        await client.start(ship, ORDER, "", execution_id="x")


async def test_another_input_or_workflow_is_a_conflict(client: Client) -> None:
    await client.start(ship, ORDER, execution_id="x")
    with pytest.raises(ExecutionConflict, match="started with another input"):
        await client.start(ship, Order(order_id="8", amount=2), execution_id="x")
    with pytest.raises(ExecutionConflict, match="runs workflow 'ship', not 'refund'"):
        await client.start(refund, ORDER, execution_id="x")


async def test_reject_refuses_what_is_there_already(client: Client) -> None:
    handle = await client.start(tick, execution_id="x", on_conflict="reject")
    assert handle.existing is False
    with pytest.raises(ExecutionConflict, match="started before"):
        await client.start(tick, execution_id="x", on_conflict="reject")


async def test_a_finished_execution_is_not_started_again(client: Client, database_url: str) -> None:
    await client.start(tick, execution_id="x")
    end(database_url, "x", "completed")
    again = await client.start(tick, execution_id="x")
    assert again.existing is True
    assert await again.status() is RunState.COMPLETED
    assert len(await again.runs()) == 1


async def test_of_many_starts_at_once_exactly_one_makes_the_execution(client: Client) -> None:
    handles = await asyncio.gather(*(client.start(ship, ORDER, execution_id="x") for _ in range(50)))
    assert [handle.existing for handle in handles].count(False) == 1
    assert len((await client.list_runs(all_runs=True)).items) == 1


async def test_an_impossible_id_or_option_starts_nothing(client: Client) -> None:
    impossible: list[Any] = [{"execution_id": "a~b"}, {"priority": 40_000}, {"tags": {"a": 1}}]
    for options in impossible:
        with pytest.raises(UsageError):
            await client.start(tick, **options)
    assert not (await client.list_runs()).items


async def test_any_other_text_is_an_id(client: Client) -> None:
    for execution_id in ("x", "ö" * 255, "a/b c:d#e%f", "雪 ☃ 🏔", "'; DROP TABLE zart_runs; --"):
        await client.start(tick, execution_id=execution_id)
        assert await client.handle(execution_id).status() is RunState.SCHEDULED
        assert [run.execution_id for run in await client.list_runs(limit=1)] == [execution_id]


async def test_an_unknown_option_is_no_argument_of_the_workflow(client: Client) -> None:
    with pytest.raises(TypeError, match=r"no option 'note'.*workflow.call"):
        await client.start(ship, ORDER, note="n")  # type: ignore[call-overload] # that is what is refused


async def test_only_workflows_can_be_started(client: Client) -> None:
    async def plain() -> None: ...

    with pytest.raises(UsageError, match="decorate an async function with @durable"):
        await client.start(plain)
    with pytest.raises(UsageError, match="not to both"):
        await client.start(ship.call(ORDER), "n")  # type: ignore[call-overload] # that is what is refused


async def test_a_later_start_says_when(client: Client) -> None:
    for options in ({"delay": "1h"}, {"at": datetime.now(UTC) + timedelta(hours=1)}):
        details = await (await client.start(call("tick"), **options)).describe()
        assert details.state is RunState.SCHEDULED
        timer = details.waiting_for[0]
        assert (timer.kind, timer.name) == ("timer", "start")
        assert timer.until is not None
        assert timedelta(minutes=59) < timer.until - details.run.created_at <= timedelta(hours=1)


async def test_wrong_arguments_are_refused_before_anything_is_sent(client: Client) -> None:
    invalid = Order.model_construct(order_id="7", amount="much")
    with pytest.raises(PayloadInvalid, match=r"order\.amount"):
        await client.start(refund, invalid)
    with pytest.raises(TypeError, match="refund"):
        await client.start(refund)  # type: ignore[arg-type] # that is what is refused
    assert not (await client.list_runs()).items


async def test_by_name_keywords_need_no_registration(client: Client) -> None:
    handle = await client.start(call("nobody-knows-it", order={"a": 1}), queue="q")
    details = await handle.describe()
    assert (details.workflow, details.version, details.run.queue) == ("nobody-knows-it", None, "q")
    assert details.input == {"order": {"a": 1}}
    assert [wait.kind for wait in details.waiting_for] == ["worker"]


async def test_by_name_arguments_get_their_names_from_what_workers_registered(
    client: Client, database_url: str
) -> None:
    register(database_url, "ship", ("order", "note"), required=("order",))
    by_name = await client.start("ship", ORDER, "fast", execution_id="x")
    by_code = await client.start(ship, ORDER, "fast", execution_id="x")
    assert (by_name.existing, by_code.existing) == (False, True)
    with pytest.raises(PayloadInvalid, match="takes 2 arguments, 3 were given"):
        await client.start("ship", 1, 2, 3)
    with pytest.raises(PayloadInvalid, match="note: given by position and by name"):
        await client.start(call("ship", ORDER, "fast", note="slow"))


async def test_by_name_arguments_without_a_registration_are_refused(
    client: Client, database_url: str
) -> None:
    register(database_url, "ship", ("order",))
    register(database_url, "refund", ("order",))
    with pytest.raises(WorkflowNotFound, match=r"'shop'.*known: refund, ship") as caught:
        await client.start("shop", 1)
    assert caught.value.known == ("refund", "ship")


async def test_what_cannot_be_json_is_refused_by_name(client: Client) -> None:
    with pytest.raises(PayloadInvalid, match="input of workflow 'x'"):
        await client.start(call("x", thing=object()))
    with pytest.raises(UsageError, match="the name of a workflow"):
        await client.start("")
    with pytest.raises(UsageError, match="takes a workflow"):
        await client.start(7)  # type: ignore[call-overload] # that is what is refused


async def test_a_call_by_name_is_an_invocation() -> None:
    assert call("x", 1, b=2) == Invocation("x", (1,), {"b": 2})


@pytest.fixture
def registered(database_url: str) -> None:
    register(database_url, "ship", ("order", "note"), required=("order",), schema=ship.input_schema())
    register(database_url, "refund", ("order",), schema=refund.input_schema())
    register(database_url, "tick", (), schema=tick.input_schema())


@pytest.mark.usefixtures("registered")
async def test_input_of_the_wrong_shape_starts_nothing(client: Client) -> None:
    wrong: list[tuple[str, Any, str]] = [
        ("refund", {"order_id": "7", "amount": "much"}, "order.amount"),
        ("ship", {"order": {"order_id": "7", "amount": 1, "items": [{}]}}, "order.items[0].sku"),
        ("tick", 1, "input"),
    ]
    for name, given, path in wrong:
        with pytest.raises(PayloadInvalid, match=re.escape(f"{path}: ")):
            await client.start_input(name, given)
    assert not (await client.list_runs()).items


@pytest.mark.usefixtures("registered")
async def test_missing_input_names_the_required_parameter(client: Client) -> None:
    with pytest.raises(PayloadInvalid, match="order: is required"):
        await client.start_input("ship")


@pytest.mark.usefixtures("registered")
async def test_input_is_the_only_parameter_or_an_object_by_name(client: Client) -> None:
    order = {"order_id": "7", "amount": 2}
    one = await client.start_input("refund", order, execution_id="one")
    assert (await one.describe()).input == {"order": order}
    several = await client.start_input("ship", {"order": order, "note": "n"}, execution_id="several")
    assert (await several.describe()).input == {"order": order, "note": "n"}
    none = await client.start_input("tick", execution_id="none")
    assert (await none.describe()).input == {}
    assert (await client.start_input("tick", None, execution_id="none")).existing is True
    assert (await client.start_input("tick", {}, execution_id="none")).existing is True
    assert (await client.start(refund, ORDER, execution_id="one")).existing is True


@pytest.mark.usefixtures("registered")
async def test_a_name_that_nobody_registered_is_refused_unless_allowed(client: Client) -> None:
    with pytest.raises(WorkflowNotFound, match="known: refund, ship, tick"):
        await client.start_input("shop", {"a": 1})
    handle = await client.start_input("shop", {"a": 1}, allow_unknown=True)
    assert (await handle.describe()).input == {"a": 1}
    with pytest.raises(PayloadInvalid, match="must be an object by parameter name"):
        await client.start_input("shop", [1], allow_unknown=True)


@pytest.mark.usefixtures("registered")
async def test_registered_workflows_are_listed_with_their_schemas(client: Client) -> None:
    listed = await client.workflows()
    assert [(found.workflow, found.parameters) for found in listed] == [
        ("refund", ("order",)),
        ("ship", ("order", "note")),
        ("tick", ()),
    ]
    assert listed[0].input_schema == refund.input_schema()


async def test_run_ids_of_later_starts_sort_later(client: Client, database_url: str) -> None:
    for number in range(20):
        await client.start(tick, execution_id=f"{number:02}")
    by_id = execute(database_url, "SELECT execution_id FROM zart_execution_runs ORDER BY run_id")
    assert [row[0] for row in by_id] == [f"{number:02}" for number in range(20)]
