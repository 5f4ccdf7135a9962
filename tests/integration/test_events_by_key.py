"""Events by correlation (semantics, section 4): one broadcast reaches all who wait for its name and key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel
from tests.support.cluster import Cluster, until

from zart_core import (
    EventReceipt,
    EventTimeout,
    PayloadInvalid,
    PayloadTooLarge,
    RunState,
    StoreConflict,
    UsageError,
    wait_for_event,
)
from zart_decorators import durable
from zart_scheduler import Client, Handle, SyncClient, Worker, WorkerConfig

pytestmark = pytest.mark.anyio


class Price(BaseModel):
    amount: int


@durable
async def one(key: str) -> int:
    return (await wait_for_event("price", Price, key=key)).amount


@durable
async def two_at_once(key: str) -> list[int]:
    prices = await asyncio.gather(*(wait_for_event("price", Price, key=key) for _ in range(2)))
    return [price.amount for price in prices]


@durable
async def one_after_another(key: str, patience: float) -> list[int | None]:
    found: list[int | None] = []
    for _ in range(2):
        try:
            found.append((await wait_for_event("price", Price, key=key, timeout=patience)).amount)
        except EventTimeout:
            found.append(None)
    return found


@durable
async def without_key() -> Any:
    return await wait_for_event("price")


@durable
async def any_shape(key: str) -> str:
    try:
        await wait_for_event("price", Price, key=key)
    except PayloadInvalid as error:
        return f"invalid: {'amount' in str(error)}"
    return "valid"


@pytest.fixture(params=[1000, 0], ids=["cached", "evicted"])
def config(request: pytest.FixtureRequest) -> WorkerConfig:
    return WorkerConfig(lease="60s", poll_interval="100ms", max_parked=request.param)


@pytest.fixture
async def client(cluster: Cluster, config: WorkerConfig) -> AsyncIterator[Client]:
    sources = (one, two_at_once, one_after_another, without_key, any_shape)
    async with Client(cluster.url) as client, Worker(client, *sources, config=config):
        yield client


async def _waiting(*handles: Handle[Any]) -> None:
    for handle in handles:
        await until(lambda handle=handle: _is_waiting(handle))  # type: ignore[misc] # mypy cannot infer a default


async def _is_waiting(handle: Handle[Any]) -> bool:
    return await handle.status() is RunState.WAITING


async def test_one_broadcast_carries_on_all_who_wait_for_its_key(client: Client) -> None:
    mine = [await client.start(one, "sku-1") for _ in range(5)]
    double, other, plain = (
        await client.start(two_at_once, "sku-1"),
        await client.start(one, "sku-2"),
        await client.start(without_key),
    )
    await _waiting(*mine, double, other, plain)

    receipt = await client.broadcast_event("price", Price(amount=12), key="sku-1")

    assert receipt == EventReceipt(receipt.event_id, duplicate=False, waiting=True, matched=7)
    assert [await handle.result(20) for handle in mine] == [12] * 5
    assert await double.result(20) == [12, 12]
    assert (await client.broadcast_event("price", Price(amount=3), key="sku-2")).matched == 1
    assert await other.result(20) == 3
    assert (await client.broadcast_event("price", Price(amount=3), key="sku-2")).matched == 0
    assert await plain.status() is RunState.WAITING


async def test_what_was_broadcast_before_is_not_taken_unless_it_is_retained(client: Client) -> None:
    await client.broadcast_event("price", {"amount": 1}, key="sku")
    missed = await client.start(one_after_another, "sku", 0.3)
    assert await missed.result(20) == [None, None]

    await client.broadcast_event("price", {"amount": 2}, key="sku", retain="1h")
    kept = await client.start(one_after_another, "sku", 0.3)
    assert await kept.result(20) == [2, None]  # once per execution
    assert await (await client.start(one, "sku")).result(20) == 2


async def test_a_keyed_wait_takes_an_event_sent_to_its_execution_too(client: Client) -> None:
    handle = await client.start(one, "sku")
    await _waiting(handle)
    assert (await handle.send_event("price", {"amount": 5})).matched == 1
    assert await handle.result(20) == 5


async def test_a_broadcast_in_a_transaction_exists_if_and_only_if_that_commits(
    client: Client, cluster: Cluster
) -> None:
    handle = await client.start(one, "sku")
    await _waiting(handle)
    async with await psycopg.AsyncConnection.connect(cluster.url) as conn:
        await client.broadcast_event("price", {"amount": 1}, key="sku", conn=conn)
        await conn.rollback()
        receipt = await client.broadcast_event("price", {"amount": 2}, key="sku", conn=conn)
        assert (receipt.matched, receipt.waiting) == (0, False)
        await conn.commit()
    assert await handle.result(20) == 2


async def test_a_broadcast_of_a_wrong_shape_raises_in_the_body(client: Client) -> None:
    handle = await client.start(any_shape, "sku")
    await _waiting(handle)
    await client.broadcast_event("price", {"sum": 1}, key="sku")
    assert await handle.result(20) == "invalid: True"


async def test_a_sender_that_dies_after_the_commit_loses_nothing(client: Client, cluster: Cluster) -> None:
    handle = await client.start(one, "sku")
    await _waiting(handle)
    async with await psycopg.AsyncConnection.connect(cluster.url, autocommit=True) as conn:
        await conn.execute(
            "SELECT zart_broadcast_v1('price', 'sku', NULL, %s, NULL, true)", (b'{"amount": 4}',)
        )
    assert await handle.result(20) == 4


async def test_a_key_of_a_sender_is_accepted_once_for_each_topic(client: Client) -> None:
    first = await client.broadcast_event("price", {"amount": 1}, key="a", idempotency_key="k")
    again = await client.broadcast_event("price", {"amount": 1}, key="a", idempotency_key="k")
    other = await client.broadcast_event("price", {"amount": 2}, key="b", idempotency_key="k")
    assert (first.duplicate, again.duplicate, other.duplicate) == (False, True, False)
    assert again.event_id == first.event_id
    with pytest.raises(StoreConflict, match="a key belongs to one event"):
        await client.broadcast_event("price", {"amount": 9}, key="a", idempotency_key="k")


async def test_what_cannot_be_broadcast_is_refused(client: Client) -> None:
    for name, key, idempotency_key in (
        ("", "k", None),
        ("n", "", None),
        ("n", "k" * 256, None),
        ("n", "k", ""),
    ):
        with pytest.raises(UsageError):
            await client.broadcast_event(name, key=key, idempotency_key=idempotency_key)
    with pytest.raises(PayloadInvalid):
        await client.broadcast_event("n", object(), key="k")
    with pytest.raises(PayloadTooLarge):
        await client.broadcast_event("n", "x" * (17 * 2**20), key="k")


async def test_an_execution_shows_what_it_had_of_broadcasts_among_its_events(client: Client) -> None:
    handle = await client.start(one, "sku")
    await _waiting(handle)
    await handle.send_event("other", 1)
    receipt = await client.broadcast_event("price", {"amount": 4}, key="sku")
    await handle.result(20)

    sent, shared = (await handle.describe()).events
    assert (sent.name, sent.key, sent.state) == ("other", None, "pending")
    assert (shared.event_id, shared.name, shared.key) == (receipt.event_id, "price", "sku")
    assert (shared.state, shared.consumed_by, shared.payload) == ("consumed", "price", {"amount": 4})


async def test_the_blocking_client_broadcasts_too(client: Client, cluster: Cluster) -> None:
    handle = await client.start(one, "sku")
    await _waiting(handle)

    def broadcast() -> tuple[int, int]:
        with SyncClient(cluster.url) as sync, psycopg.connect(cluster.url) as conn:
            inside = sync.broadcast_event("price", {"amount": 1}, key="other", conn=conn).matched
            return inside, sync.broadcast_event("price", {"amount": 8}, key="sku").matched

    assert await asyncio.to_thread(broadcast) == (0, 1)
    assert await handle.result(20) == 8


async def test_a_thousand_waits_are_met_before_the_sender_returns(cluster: Cluster) -> None:
    config = WorkerConfig(lease="60s", poll_interval="100ms", concurrency=50, max_parked=0)
    async with Client(cluster.url) as client, Worker(client, one, config=config):
        await client.start(one, "sku", execution_id="e-0")
        await until(lambda: _waits(cluster, 1))
    await cluster.value(_CROWD)  # as many more parked runs, without a worker's work
    async with Client(cluster.url) as client:
        assert (await client.broadcast_event("price", {"amount": 1}, key="sku")).matched == 1200
        assert await cluster.value("SELECT count(*) FROM zart_tasks WHERE state = 'r'") == 1200


_CROWD = """
WITH runs AS (SELECT gen_random_uuid() AS id, n FROM generate_series(1, 1199) n),
     tasks AS (INSERT INTO zart_tasks (task_id, run_id, execution_id, queue, workflow, version, state, epoch)
               SELECT r.id, r.id, 'e-' || r.n, t.queue, t.workflow, t.version, 'w', 1 FROM runs r, zart_tasks t),
     waits AS (INSERT INTO zart_waits (run_id, ident, execution_id, seq, name, key, topic, born)
               SELECT r.id, w.ident, 'e-' || r.n, 1, w.name, w.key, w.topic, nextval('zart_event_ids')
               FROM runs r, zart_waits w)
SELECT count(*) FROM runs
"""


async def _waits(cluster: Cluster, count: int) -> bool:
    return bool(await cluster.value("SELECT count(*) FROM zart_tasks WHERE state = 'w'") == count)
