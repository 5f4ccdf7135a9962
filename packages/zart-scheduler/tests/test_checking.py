import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, Field
from referencing.exceptions import Unresolvable

from zart_core import PayloadInvalid, PayloadTooLarge, Workflow
from zart_core.spi import MISSING
from zart_scheduler.checking import InputInvalid, stored_input, unchecked_input
from zart_scheduler.store.workflows import RegisteredWorkflow


class Item(BaseModel):
    sku: str
    count: int = 1


class Order(BaseModel):
    order_id: str
    amount: float = Field(ge=0)
    items: list[Item] = []


async def _ship(order: Order, note: str = "") -> None: ...
async def _refund(order: Order) -> None: ...
async def _greet(name: str = "you") -> None: ...
async def _tick() -> None: ...


def _registered(fn: Any) -> RegisteredWorkflow:
    workflow: Workflow[Any, Any] = Workflow(fn)
    parameters = workflow.parameters
    return RegisteredWorkflow(
        workflow.name,
        "1",
        parameters.names,
        parameters.required,
        workflow.input_schema(),
        None,
        current=True,
        queue=workflow.queue,
        priority=workflow.priority,
        last_seen_at=datetime.now(UTC),
    )


SHIP, REFUND, GREET, TICK = (_registered(fn) for fn in (_ship, _refund, _greet, _tick))


@pytest.mark.parametrize(
    ("workflow", "given", "path"),
    [
        (REFUND, {"order_id": "7", "amount": "much"}, "order.amount"),
        (REFUND, {"order_id": "7", "amount": -1}, "order.amount"),
        (REFUND, {"order_id": "7", "amount": 1, "items": [{"sku": "a"}, {"sku": 5}]}, "order.items[1].sku"),
        (REFUND, {"order_id": "7", "amount": 1, "items": [{}]}, "order.items[0].sku"),
        (REFUND, {"order_id": "7"}, "order.amount"),
        (REFUND, None, "order"),
        (REFUND, 7, "order"),
        (REFUND, MISSING, "order"),
        (SHIP, {}, "order"),
        (SHIP, MISSING, "order"),
        (SHIP, {"order": {"order_id": "7", "amount": 1}, "note": 3}, "note"),
        (SHIP, {"order": {"order_id": "7", "amount": 1}, "colour": "red"}, ""),
        (SHIP, [1, 2], ""),
        (GREET, 7, "name"),
        (TICK, 1, ""),
        (TICK, {"a": 1}, ""),
    ],
)
def test_input_of_the_wrong_shape_is_refused_with_its_path(
    workflow: RegisteredWorkflow, given: Any, path: str
) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        stored_input(workflow, given)
    assert isinstance(caught.value, InputInvalid)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path or 'input'}: ")


@pytest.mark.parametrize(
    ("workflow", "given", "stored"),
    [
        (REFUND, {"order_id": "7", "amount": 2}, b'{"order":{"amount":2,"order_id":"7"}}'),
        (SHIP, {"order": {"order_id": "7", "amount": 2}}, b'{"order":{"amount":2,"order_id":"7"}}'),
        (GREET, "me", b'{"name":"me"}'),
        (GREET, MISSING, b"{}"),
        (TICK, MISSING, b"{}"),
        (TICK, None, b"{}"),
        (TICK, {}, b"{}"),
    ],
)
def test_input_is_the_only_parameter_or_an_object_by_name(
    workflow: RegisteredWorkflow, given: Any, stored: bytes
) -> None:
    assert stored_input(workflow, given) == stored


def test_an_error_survives_pickle_and_copy() -> None:
    error = InputInvalid("order.amount", "is required")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (again.path, again.message, str(again)) == (
            "order.amount",
            "is required",
            "order.amount: is required",
        )


def test_a_long_message_is_cut() -> None:
    with pytest.raises(InputInvalid) as caught:
        stored_input(REFUND, "x" * 5000)
    assert len(str(caught.value)) < 400


def test_a_schema_is_never_fetched() -> None:
    remote = REFUND._replace(input_schema={"$ref": "http://127.0.0.1:1/schema.json"})
    with pytest.raises(Unresolvable):
        stored_input(remote, 1)


def test_without_a_schema_only_the_names_are_checked() -> None:
    bare = SHIP._replace(input_schema=None)
    assert stored_input(bare, {"order": 1}) == b'{"order":1}'
    with pytest.raises(InputInvalid, match="colour"):
        stored_input(bare, {"colour": 1})


def test_too_much_input_is_refused() -> None:
    with pytest.raises(PayloadTooLarge, match="input takes"):
        stored_input(GREET, "x" * (17 * 2**20))


def test_the_input_of_an_unknown_workflow_is_an_object_by_name() -> None:
    assert unchecked_input({"b": 1, "a": 2}) == b'{"a":2,"b":1}'
    assert unchecked_input(MISSING) == b"{}"
    assert unchecked_input(None) == b"{}"
    for given in ([1], "a", 7, True):
        with pytest.raises(InputInvalid, match="object by parameter name"):
            unchecked_input(given)
