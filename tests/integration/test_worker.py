"""A worker runs workflows: the main job, on a real database."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from zart_core import ExecutionFailed, RunState, Step, Workflow, sleep, wait_for_event
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio


class Order(BaseModel):
    order_id: str
    amount: float


class Receipt(BaseModel):
    order_id: str
    transaction: str
    tracking: str


async def _pay(order_id: str, amount: float) -> str:
    return f"txn-{order_id}-{amount}"


def _reserve(order_id: str) -> None:
    return None


pay: Step[[str, float], str] = Step(_pay, "pay")
reserve: Step[[str], None] = Step(_reserve, "reserve")


async def _order(order: Order) -> Receipt:
    transaction = await pay(order.order_id, order.amount)
    await reserve(order.order_id)
    await sleep("settle", "50ms")
    tracking = await wait_for_event("shipped", str, timeout="1h")
    return Receipt(order_id=order.order_id, transaction=transaction, tracking=tracking)


order: Workflow[[Order], Receipt] = Workflow(_order, "order")


async def _fails() -> None:
    raise LookupError("nothing there")


fails: Workflow[[], None] = Workflow(_fails, "fails")

CONFIG = WorkerConfig(poll_interval="100ms", lease="2s")


@pytest.mark.parametrize("max_parked", [0, 1000])
async def test_an_order_is_paid_sleeps_waits_and_ships(database_url: str, max_parked: int) -> None:
    config = WorkerConfig(poll_interval="100ms", lease="2s", max_parked=max_parked)
    async with Client(database_url) as client, Worker(client, order, config=config):
        handles = [await client.start(order, Order(order_id=f"o{n}", amount=n)) for n in range(20)]
        for handle in handles:
            await handle.send_event("shipped", "T-1")
        results = await asyncio.gather(*(handle.result(20) for handle in handles))
        assert [r.transaction for r in results] == [f"txn-o{n}-{float(n)}" for n in range(20)]
        assert await handles[0].status() is RunState.COMPLETED


async def test_a_failed_run_tells_its_error(database_url: str) -> None:
    async with Client(database_url) as client, Worker(client, fails, config=CONFIG):
        handle = await client.start(fails)
        with pytest.raises(ExecutionFailed, match="LookupError: nothing there"):
            await handle.result(20)


async def test_a_waiting_run_says_so_and_is_cancelled_at_once(database_url: str) -> None:
    async with Client(database_url) as client, Worker(client, order, config=CONFIG):
        handle = await client.start(order, Order(order_id="o", amount=1))
        async with asyncio.timeout(20):
            while await handle.status() is not RunState.WAITING:
                await asyncio.sleep(0.02)
        await handle.cancel("changed my mind")
        assert await handle.status() is RunState.CANCELLED


async def _quiet() -> str:
    return "done"


quiet: Workflow[[], str] = Workflow(_quiet, "quiet", queue="slow", priority=7)


async def test_a_start_by_name_goes_to_the_workflows_own_queue(database_url: str) -> None:
    config = WorkerConfig(queues=("slow",), poll_interval="100ms", lease="2s")
    async with Client(database_url) as client, Worker(client, quiet, config=config):
        handle = await client.start("quiet")
        assert await handle.result(20) == "done"
        assert (await handle.describe()).run.queue == "slow"
        by_input = await client.start_input("quiet")
        assert await by_input.result(20) == "done"
