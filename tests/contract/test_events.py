"""Events: the same whether executions are kept in PostgreSQL or in memory."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract import flows
from tests.contract.conftest import World
from zart_core import (
    ExecutionNotFound,
    PayloadInvalid,
    RunFinished,
    RunState,
    StoreConflict,
    UsageError,
    WaitTimeout,
)

pytestmark = pytest.mark.anyio


async def test_events_before_their_wait_are_kept_in_the_order_of_acceptance(world: World) -> None:
    handle = await world.start(flows.hears, ["b", "a", "a"], delay="150ms")
    receipts = [await handle.send_event(name, value) for name, value in (("a", "1"), ("a", "2"), ("b", "3"))]
    assert [(r.waiting, r.matched, r.duplicate) for r in receipts] == [(False, 0, False)] * 3
    assert len({r.event_id for r in receipts}) == 3
    assert await handle.result(20) == ["3", "1", "2"]
    events = (await handle.describe()).events
    assert [(e.name, e.payload, e.state, e.consumed_by) for e in events] == [
        ("a", "1", "consumed", "a"),
        ("a", "2", "consumed", "a"),
        ("b", "3", "consumed", "b"),
    ]


async def test_an_event_that_is_waited_for_says_so_and_brings_the_result(world: World) -> None:
    handle = await world.start(flows.ships, flows.Order(order_id="o"), execution_id="e")
    await world.until(handle, RunState.WAITING)
    (wait,) = (await handle.describe()).waiting_for
    assert (wait.kind, wait.name, wait.until) == ("event", "shipped", None)
    receipt = await world.send_event("e", "shipped", flows.Shipment(tracking="T1"))
    assert (receipt.waiting, receipt.matched, receipt.duplicate) == (True, 1, False)
    assert await handle.result(20) == flows.Receipt("o", "T1")
    assert await world.handle("e").result(20) == {"order_id": "o", "tracking": "T1"}
    assert flows.effects == ["o"]


async def test_an_event_comes_while_a_step_runs(world: World) -> None:
    handle = await world.start(flows.busy_hearing)
    while not (await handle.describe()).waiting_for:
        await asyncio.sleep(0.01)
    assert await handle.status() is RunState.RUNNING
    assert (await handle.send_event("word", "heard")).waiting is True
    async with asyncio.timeout(20):
        while flows.effects != ["heard"]:
            await asyncio.sleep(0.01)
    flows.gate.set()
    await handle.result(20)
    assert flows.effects == ["heard", "passed"]


async def test_an_event_with_a_key_is_accepted_once_also_after_the_end(world: World) -> None:
    handle = await world.start(flows.hears, ["a", "b"])
    first = await handle.send_event("a", "1", idempotency_key="k")
    again = await handle.send_event("a", "1", idempotency_key="k")
    assert (again.duplicate, again.event_id) == (True, first.event_id)
    for name, payload in (("a", "2"), ("b", "1")):
        with pytest.raises(StoreConflict, match="used before"):
            await handle.send_event(name, payload, idempotency_key="k")
    await handle.send_event("b", "2")
    assert await handle.result(20) == ["1", "2"]
    assert (await handle.send_event("a", "1", idempotency_key="k")).duplicate is True


async def test_a_timeout_is_the_outcome_of_the_wait_and_consumes_nothing(world: World) -> None:
    quiet = await world.start(flows.hears, ["a"], "30ms")
    assert await quiet.result(20) == [None]
    handle = await world.start(flows.late_hearing)
    while not flows.effects:
        with pytest.raises(WaitTimeout):
            await handle.result("20ms")
    await handle.send_event("word", "late")
    await handle.send_event("go", "")
    assert await handle.result(20) == ["give up", "late"]


async def test_a_payload_of_the_wrong_shape_is_told_to_the_body(world: World) -> None:
    handle = await world.start(flows.hears, ["a", "a"])
    await handle.send_event("a", {"no": "text"})
    await handle.send_event("a", "text")
    assert await handle.result(20) == ["invalid", "text"]


async def test_what_cannot_be_sent_is_refused(world: World) -> None:
    handle = await world.start(flows.echo, "a")
    await handle.result(20)
    with pytest.raises(RunFinished, match="is completed and takes nothing more"):
        await handle.send_event("a")
    with pytest.raises(ExecutionNotFound):
        await world.send_event("nothing", "a")
    with pytest.raises(PayloadInvalid):
        await handle.send_event("a", object())
    for name, key in (("", None), ("a", ""), ("a\n", None)):
        with pytest.raises(UsageError):
            await handle.send_event(name, idempotency_key=key)
