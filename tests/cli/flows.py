"""Workflows that the tests of the command run."""

from pydantic import BaseModel

from zart_core import sleep, wait_for_event
from zart_decorators import durable, step


class Order(BaseModel):
    order_id: str
    amount: float


class Shipment(BaseModel):
    tracking_number: str


class CardDeclined(Exception):
    pass


_tries: dict[str, int] = {}


@step("pay", retry="fixed(2, 10ms)", no_retry_on=(CardDeclined,))
async def pay(order_id: str, amount: float) -> str:
    _tries[order_id] = _tries.get(order_id, 0) + 1
    if amount > 1000:
        raise CardDeclined("limit exceeded")
    if _tries[order_id] == 1:
        raise ConnectionError("gateway is busy")
    return f"txn-{order_id}"


@durable("order")
async def order(order: Order) -> dict[str, str]:
    txn = await pay(order.order_id, order.amount)
    shipment = await wait_for_event("shipped", Shipment, timeout="1h")
    return {"txn": txn, "tracking": shipment.tracking_number}


@durable("watch")
async def watch(sku: str) -> float:
    return await wait_for_event("price", float, key=sku)


@durable("nap")
async def nap() -> None:
    await sleep("nap", "1h")


@durable("add")
async def add(a: int, b: int = 2) -> int:
    return a + b


@durable("batch")
async def batch(numbers: list[int]) -> None:
    for number in numbers:
        await add(number)
    await nap()
