"""Sending events: accepted means recorded, one acceptance per key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel
from tests.support.histories import end, execute, park

from zart_core import (
    EventReceipt,
    ExecutionNotFound,
    PayloadInvalid,
    PayloadTooLarge,
    RunFinished,
    StoreConflict,
    UsageError,
)
from zart_decorators import durable
from zart_scheduler import Client, Handle

pytestmark = pytest.mark.anyio


class Shipment(BaseModel):
    tracking: str
    carrier: str = "post"


@dataclass(frozen=True)
class Point:
    x: int
    y: int


@durable
async def ship() -> None: ...


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with Client(database_url) as client:
        yield client


@pytest.fixture
async def handle(client: Client) -> Handle[None]:
    return await client.start(ship, execution_id="x")


async def _payloads(handle: Handle[None]) -> list[Any]:
    return [event.payload for event in (await handle.describe()).events]


async def test_an_event_before_its_wait_is_kept(client: Client, handle: Handle[None]) -> None:
    receipt = await client.send_event("x", "shipped", Shipment(tracking="T-1"))
    assert receipt == EventReceipt(receipt.event_id, duplicate=False, waiting=False, matched=0)
    (event,) = (await handle.describe()).events
    assert (event.event_id, event.name, event.state) == (receipt.event_id, "shipped", "pending")
    assert event.payload == {"carrier": "post", "tracking": "T-1"}
    assert event.consumed_by is None


async def test_an_open_wait_takes_the_event_at_once(
    client: Client, handle: Handle[None], database_url: str
) -> None:
    run_id = park(database_url, "x")
    execute(
        database_url,
        "INSERT INTO zart_waits (run_id, ident, execution_id, seq, name) VALUES (%s, ':shipped#0', 'x', 1, 'shipped')",
        run_id,
    )
    receipt = await handle.send_event("shipped", "T-1")
    assert (receipt.waiting, receipt.matched) == (True, 1)
    second = await handle.send_event("shipped", "T-2")
    assert (second.waiting, second.matched) == (False, 0)
    first_event, second_event = (await handle.describe()).events
    assert (first_event.state, first_event.consumed_by) == ("consumed", "shipped")
    assert second_event.state == "pending"


async def test_a_key_is_accepted_once_per_execution(client: Client, handle: Handle[None]) -> None:
    await client.start(ship, execution_id="y")
    first = await handle.send_event("paid", {"a": 1, "b": 2}, idempotency_key="k")
    again = await handle.send_event("paid", {"b": 2, "a": 1}, idempotency_key="k")
    other = await client.send_event("y", "paid", {"a": 1, "b": 2}, idempotency_key="k")
    assert (first.duplicate, again.duplicate, other.duplicate) == (False, True, False)
    assert again.event_id == first.event_id
    assert await _payloads(handle) == [{"a": 1, "b": 2}]


async def test_a_key_used_for_another_event_is_a_conflict(handle: Handle[None]) -> None:
    await handle.send_event("paid", 1, idempotency_key="k")
    with pytest.raises(StoreConflict, match="a key belongs to one event"):
        await handle.send_event("paid", 2, idempotency_key="k")
    with pytest.raises(StoreConflict):
        await handle.send_event("refunded", 1, idempotency_key="k")
    assert await _payloads(handle) == [1]


async def test_without_a_key_every_sending_is_an_event(handle: Handle[None]) -> None:
    for _ in range(3):
        await handle.send_event("paid", 1)
    assert await _payloads(handle) == [1, 1, 1]


async def test_an_unknown_execution_gets_nothing(client: Client) -> None:
    with pytest.raises(ExecutionNotFound, match="no execution 'nobody'"):
        await client.send_event("nobody", "paid")


async def test_a_finished_execution_takes_nothing_more_but_knows_its_duplicates(
    handle: Handle[None], database_url: str
) -> None:
    await handle.send_event("paid", 1, idempotency_key="k")
    end(database_url, "x", "completed")
    with pytest.raises(RunFinished, match="'x' is completed"):
        await handle.send_event("paid", 1)
    assert (await handle.send_event("paid", 1, idempotency_key="k")).duplicate is True


async def test_a_payload_is_stored_as_json(handle: Handle[None]) -> None:
    payloads = {
        None: None,
        "a\0b ☃": "a\0b ☃",
        10**30: 10**30,
        (1.5, float("inf")): [1.5, float("inf")],
        Point(1, 2): {"x": 1, "y": 2},
        b"\xff": "_w==",
    }
    for payload in payloads:
        await handle.send_event("paid", payload)
    assert await _payloads(handle) == list(payloads.values())


async def test_a_payload_that_cannot_be_stored_is_refused(handle: Handle[None]) -> None:
    with pytest.raises(PayloadInvalid, match="payload of event 'paid'"):
        await handle.send_event("paid", object())
    with pytest.raises(PayloadInvalid, match="payload of event 'paid'"):
        await handle.send_event("paid", "not UTF-8: \ud800")
    with pytest.raises(PayloadTooLarge, match="payload of event 'paid'"):
        await handle.send_event("paid", "x" * (17 * 2**20))
    assert await _payloads(handle) == []


async def test_impossible_names_and_keys_are_refused(handle: Handle[None]) -> None:
    for name, key in (("", None), ("x" * 256, None), ("a\nb", None), ("a", ""), ("a", "k" * 256)):
        with pytest.raises(UsageError):
            await handle.send_event(name, idempotency_key=key)
    assert await _payloads(handle) == []
