"""The order workflow without processes: its input, its receipt, and its decline by type."""

from __future__ import annotations

import pytest
from examples.order_fulfillment import payments
from examples.order_fulfillment.orders import read_orders
from examples.order_fulfillment.payments import Answer
from examples.order_fulfillment.workflow import CardDeclined, OrderInput, Receipt, order_fulfillment

from zart_core import ExecutionFailed
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

_CONFIG = WorkerConfig(poll_interval="100ms")


async def test_a_decline_fails_the_run_with_the_workflows_own_error(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments, "charge", lambda *_, **__: Answer(declined="card expired"))
    async with Client(database_url) as client, Worker(client, order_fulfillment, config=_CONFIG):
        handle = await client.start(order_fulfillment, OrderInput(order_id="7", amount=12.5))
        with pytest.raises(ExecutionFailed) as caught:
            await handle.result(30)
        failure = caught.value.failure
        assert isinstance(failure.exception, CardDeclined)
        assert (failure.type, failure.exception.reason) == ("CardDeclined", "card expired")


def test_there_are_enough_orders_of_every_kind() -> None:
    orders = read_orders()
    assert len(orders) >= 20
    assert len({order.order_id for order in orders}) == len(orders)
    assert sum(order.declined is not None for order in orders) >= 3
    assert sum(order.unavailable > 0 for order in orders) >= 3
    assert all(order.unavailable <= 3 for order in orders), "more than the retries of the payment step"


def test_its_face_is_the_documented_one() -> None:
    assert order_fulfillment.name == "order-fulfillment"
    assert set(OrderInput.model_fields) == {"order_id", "amount"}
    assert set(Receipt.model_fields) == {"order_id", "transaction_id", "tracking_number"}
