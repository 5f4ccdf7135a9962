"""Starting executions: idempotent by id, checked before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
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

from tests.support.histories import end, execute, register

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
    assert (details.run.queue, details.tags, details.state) == ("shipping", {"shop": "süd"}, RunState.SCHEDULED)
    assert details.runs == (details.run,)
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


@pytest.mark.parametrize("execution_id", ["", "x" * 256, "a~b", "a\nb", "a\0b", "\ud800", 7])
async def test_an_impossible_id_is_refused(client: Client, execution_id: Any) -> None:
    with pytest.raises(UsageError, match="id must"):
        await client.start(tick, execution_id=execution_id)
    assert not (await client.list_runs()).items


@pytest.mark.parametrize("execution_id", ["x", "ö" * 255, "a/b c:d#e%f", "雪 ☃ 🏔"])  # noqa: RUF001 - any text is an id
async def test_any_other_text_is_an_id(client: Client, execution_id: str) -> None:
    await client.start(tick, execution_id=execution_id)
    assert await client.handle(execution_id).status() is RunState.SCHEDULED


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"priority": 40_000}, "priority must be"),
        ({"priority": True}, "priority must be"),
        ({"queue": ""}, "the name of a queue"),
        ({"at": datetime(2030, 1, 1)}, "with a time zone"),  # noqa: DTZ001 - that is what is refused
        ({"at": datetime.now(UTC), "delay": 1}, "either `delay` or `at`"),
        ({"tags": {"a": 1}}, "tags must be"),
        ({"tags": {"a": "\0"}}, "tags must be"),
        ({"tags": {"a": "x" * 9000}}, "the limit is 8,192"),
        ({"on_conflict": "restart"}, "'return' or 'reject'"),
    ],
)
async def test_an_impossible_option_is_refused(client: Client, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        await client.start(tick, **options)


async def test_an_unknown_option_is_no_argument_of_the_workflow(client: Client) -> None:
    with pytest.raises(TypeError, match=r"no option 'note'.*workflow.call"):
        await client.start(ship, ORDER, note="n")  # type: ignore[call-overload] # that is what is refused


async def test_only_workflows_can_be_started(client: Client) -> None:
    async def plain() -> None: ...

    with pytest.raises(UsageError, match="decorate an async function with @durable"):
        await client.start(plain)
    with pytest.raises(UsageError, match="not to both"):
        await client.start(ship.call(ORDER), "n")  # type: ignore[arg-type] # that is what is refused


@pytest.mark.parametrize("options", [{"delay": "1h"}, {"at": datetime.now(UTC) + timedelta(hours=1)}])
async def test_a_later_start_says_when(client: Client, options: dict[str, Any]) -> None:
    details = await (await client.start(tick, **options)).describe()
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


async def test_by_name_arguments_without_a_registration_are_refused(client: Client, database_url: str) -> None:
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


@pytest.mark.parametrize(
    ("name", "given", "path"),
    [
        ("refund", {"order_id": "7", "amount": "much"}, "order.amount"),
        ("refund", {"order_id": "7", "amount": -1}, "order.amount"),
        ("refund", {"order_id": "7", "amount": 1, "items": [{"sku": "a"}, {"sku": 5}]}, "order.items[1].sku"),
        ("refund", {"order_id": "7", "amount": 1, "items": [{}]}, "order.items[0].sku"),
        ("refund", {"order_id": "7"}, "order.amount"),
        ("refund", None, "order"),
        ("refund", 7, "order"),
        ("ship", {}, "order"),
        ("ship", {"order": {"order_id": "7", "amount": 1}, "note": 3}, "note"),
        ("ship", {"order": {"order_id": "7", "amount": 1}, "colour": "red"}, ""),
        ("ship", [1, 2], ""),
        ("tick", 1, ""),
        ("tick", {"a": 1}, ""),
    ],
)
@pytest.mark.usefixtures("registered")
async def test_input_of_the_wrong_shape_is_refused_with_its_path(
    client: Client, name: str, given: Any, path: str
) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        await client.start_input(name, given)
    assert caught.value.path == path  # type: ignore[attr-defined] # a fact of the subclass
    assert str(caught.value).startswith(f"{path or 'input'}: ")
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
