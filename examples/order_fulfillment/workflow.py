"""The workflow `order-fulfillment`: validate, pay, reserve, let the warehouse settle, wait for the shipment.

zart worker examples/order_fulfillment/workflow.py
"""

from __future__ import annotations

import asyncio
import logging

from pydantic import BaseModel

from examples.order_fulfillment import payments, settings
from zart_core import context, sleep, wait_for_event
from zart_decorators import durable, step

log = logging.getLogger("orders")


class OrderInput(BaseModel):
    order_id: str
    amount: float


class ShipmentEvent(BaseModel):
    tracking_number: str


class Receipt(BaseModel):
    order_id: str
    transaction_id: str
    tracking_number: str


class CardDeclined(Exception):
    """The customer's bank said no. Asking again would not help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@step("validate-address")
async def validate_address(order_id: str) -> str:
    """Return where the order goes to."""
    return f"1 Harbour Street, parcel {order_id}"


@step("process-payment", retry=f"exponential(3, {settings.RETRY_DELAY})", no_retry_on=(CardDeclined,))
async def process_payment(order_id: str, amount: float) -> str:
    """Charge the customer's card and return the transaction's id.

    The key is the same whenever this step of this run is tried, also by another worker after a crash: a gateway that
    has charged for it answers as it did, and does not charge again.
    """
    answer = await asyncio.to_thread(payments.charge, order_id, amount, key=context().idempotency_key)
    if answer.declined is not None:
        raise CardDeclined(answer.declined)
    return answer.transaction_id


@step("reserve-inventory")
def reserve_inventory(order_id: str) -> None:
    """Put the goods aside. Not async, so it runs in a thread."""
    log.info("goods of order %s are put aside", order_id)


@durable("order-fulfillment", timeout=settings.TIMEOUT)
async def order_fulfillment(order: OrderInput) -> Receipt:
    """See an order through, whatever happens to the processes that do it."""
    await validate_address(order.order_id)
    txn = await process_payment(order.order_id, order.amount)
    await reserve_inventory(order.order_id)
    await sleep("warehouse-settle", settings.SETTLE)
    shipment = await wait_for_event("shipment_ready", ShipmentEvent, timeout=settings.SHIPMENT_WAIT)
    return Receipt(order_id=order.order_id, transaction_id=txn, tracking_number=shipment.tracking_number)
