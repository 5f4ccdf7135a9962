"""Evidence as it is when all is well, to plant violations in."""

from __future__ import annotations

import pytest
from examples.order_fulfillment.demonstration.evidence import Ending, Evidence, Kill
from examples.order_fulfillment.ledger import Entry, Outcome
from examples.order_fulfillment.orders import Order

GOOD, CAUGHT = Order("good", 10.0), Order("caught", 20.0)
DECLINED = Order("declined", 30.0, declined="stolen")


def entry(order: Order, outcome: Outcome, attempt: int = 1) -> Entry:
    """A call for `order`."""
    key, paid = f"key-{order.order_id}", outcome in {Outcome.CHARGED, Outcome.REPEATED}
    transaction = f"txn-{order.order_id}" if paid else None
    return Entry("2030-01-01T00:00:00Z", order.order_id, order.amount, key, attempt, outcome, transaction)


def completed(order: Order, **facts: str) -> Ending:
    """The end of an order that was paid and shipped."""
    receipt = {
        "order_id": order.order_id,
        "transaction_id": f"txn-{order.order_id}",
        "tracking_number": "1Z",
    }
    return Ending("completed", {**receipt, **facts})


@pytest.fixture
def evidence() -> Evidence:
    """One payment was recorded before the kill, one was caught between charge and record, one card declined."""
    return Evidence(
        orders=[GOOD, CAUGHT, DECLINED],
        ledger=[
            entry(GOOD, Outcome.CHARGED),
            entry(CAUGHT, Outcome.CHARGED),
            entry(CAUGHT, Outcome.REPEATED, 2),
            entry(DECLINED, Outcome.DECLINED),
        ],
        kill=Kill(2, frozenset({"good"})),
        endings={
            "good": completed(GOOD),
            "caught": completed(CAUGHT),
            "declined": Ending("failed", None, "CardDeclined"),
        },
        tracking={"good": "1Z", "caught": "1Z"},
    )
