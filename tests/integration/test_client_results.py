"""Waiting for results: one waiter for all, woken by hints, patient in outages, exact about what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel
from tests.support.histories import block, end, execute

from zart_core import (
    Divergence,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionNotFound,
    IllegalTransition,
    InvalidText,
    PayloadInvalid,
    RunState,
    UsageError,
    WaitTimeout,
)
from zart_decorators import durable
from zart_scheduler import Client
from zart_scheduler.results import ResultWaiter

pytestmark = pytest.mark.anyio


class Receipt(BaseModel):
    order_id: str
    total: float


class CardDeclined(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@durable
async def ship(order_id: str) -> Receipt:
    return Receipt(order_id=order_id, total=1)


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with Client(database_url) as client:
        yield client


async def test_a_result_has_its_declared_type(client: Client, database_url: str) -> None:
    handle = await client.start(ship, "7", execution_id="x")
    end(database_url, "x", "completed", {"order_id": "7", "total": 2.5})
    assert await handle.result() == Receipt(order_id="7", total=2.5)
    assert await client.handle("x", ship).result() == Receipt(order_id="7", total=2.5)


async def test_without_the_workflow_a_result_is_plain_json(client: Client, database_url: str) -> None:
    await client.start(ship, "7", execution_id="x")
    end(database_url, "x", "completed", {"order_id": "7", "total": 2.5})
    assert await client.handle("x").result() == {"order_id": "7", "total": 2.5}


async def test_a_result_of_another_shape_is_told(client: Client, database_url: str) -> None:
    handle = await client.start(ship, "7", execution_id="x")
    end(database_url, "x", "completed", {"order_id": "7"})
    with pytest.raises(PayloadInvalid, match=r"result of execution 'x'.*total"):
        await handle.result()


async def test_a_failure_brings_the_original_exception(client: Client, database_url: str) -> None:
    handle = await client.start(ship, "7", execution_id="x")
    end(database_url, "x", "failed", CardDeclined("no money"))
    with pytest.raises(ExecutionFailed, match="CardDeclined: no money") as caught:
        await handle.result()
    failure = caught.value.failure
    assert (failure.kind, failure.type, failure.message) == ("error", "CardDeclined", "no money")
    assert isinstance(failure.exception, CardDeclined)
    assert caught.value.__cause__ is failure.exception


async def test_a_cancel_before_the_first_claim_is_done_at_once(client: Client) -> None:
    handle = await client.start(ship, "7", execution_id="x")
    assert await handle.cancel("changed my mind") is RunState.CANCELLED
    assert await handle.cancel() is RunState.CANCELLED
    with pytest.raises(ExecutionCancelled, match="'x' was cancelled: changed my mind"):
        await handle.result()
    details = await handle.describe()
    assert (details.state, details.waiting_for) == (RunState.CANCELLED, [])
    assert details.failure is not None
    assert (details.failure.kind, details.failure.message) == ("cancelled", "changed my mind")


async def test_a_cancel_without_a_reason_has_none(client: Client) -> None:
    handle = await client.start(ship, "7", execution_id="x")
    await handle.cancel()
    with pytest.raises(ExecutionCancelled) as caught:
        await handle.result()
    assert caught.value.reason is None


async def test_what_has_ended_otherwise_cannot_be_cancelled(client: Client, database_url: str) -> None:
    handle = await client.start(ship, "7", execution_id="x")
    end(database_url, "x", "completed", None)
    with pytest.raises(IllegalTransition, match="cannot cancel execution 'x': it is completed"):
        await handle.cancel()
    with pytest.raises(ExecutionNotFound):
        await client.handle("nobody").cancel()
    with pytest.raises(UsageError, match="a reason must be"):
        await handle.cancel("x" * 1001)


async def test_a_blocked_run_tells_why(client: Client, database_url: str) -> None:
    handle = await client.start(ship, "7", execution_id="x")
    block(database_url, "x", "the code has changed")
    with pytest.raises(ExecutionBlocked, match="the code has changed") as blocked:
        await handle.result()
    details = await handle.describe()
    assert details.state is RunState.BLOCKED
    assert details.divergence is not None
    assert details.divergence.reason == "the code has changed"
    assert blocked.value.divergence == details.divergence
    assert isinstance(blocked.value.__cause__, Divergence)
    assert blocked.value.__cause__.code == details.divergence.code == "ZART-D005"


async def test_patience_ends_without_harm(client: Client, database_url: str) -> None:
    handle = await client.start(ship, "7", execution_id="x")
    for timeout in (0, "50ms", -1):
        with pytest.raises(WaitTimeout, match="it goes on"):
            await handle.result(timeout)
    assert await handle.status() is RunState.SCHEDULED
    end(database_url, "x", "completed", {"order_id": "7", "total": 1})
    assert (await handle.result(0)).order_id == "7"
    with pytest.raises(InvalidText):
        await handle.result("abc")


async def test_an_unknown_execution_is_told_at_once(client: Client) -> None:
    handle = client.handle("nobody")
    for asked in (handle.result(), handle.result(0), handle.status(), handle.describe(), handle.runs()):
        with pytest.raises(ExecutionNotFound, match="no execution 'nobody'"):
            await asked


async def test_thousands_wait_at_the_price_of_one(client: Client, database_url: str) -> None:
    count = 1500
    execute(
        database_url,
        """
        SELECT count(zart_start_v1(n::text, gen_random_uuid(), 'ship', '1', 'default', 0, ''::bytea, '{}'::bytea,
                                   '{}', NULL, NULL)) FROM generate_series(1, %s) AS n
        """,
        count,
    )
    waits = [asyncio.create_task(client.handle(str(n)).result()) for n in range(1, count + 1)]
    given_up = waits[::3]
    await asyncio.sleep(0)
    for wait in given_up:
        wait.cancel()
    execute(
        database_url, "SELECT count(zart_cancel_v1(n::text, 'over')) FROM generate_series(1, %s) AS n", count
    )
    results = await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 60)
    assert {type(result) for result in results[::3]} == {asyncio.CancelledError}
    assert {type(result) for n, result in enumerate(results) if n % 3} == {ExecutionCancelled}
    assert _waiter(client)._watches == {}


async def test_several_waits_for_one_execution_are_independent(client: Client, database_url: str) -> None:
    handle = await client.start(ship, "7", execution_id="x")
    first, second, third = (asyncio.create_task(client.handle("x").result()) for _ in range(3))
    with pytest.raises(WaitTimeout):
        await handle.result("50ms")
    second.cancel()
    end(database_url, "x", "completed", 1)
    assert list(await asyncio.wait_for(asyncio.gather(first, third), 10)) == [1, 1]
    assert second.cancelled() or second.cancelling()


async def test_a_wait_follows_the_run_that_replaces_the_first(client: Client, database_url: str) -> None:
    await client.start(ship, "7", execution_id="x")
    wait = asyncio.create_task(client.handle("x").result())
    await _looked_at(client, "x")
    execute(
        database_url,
        """
        WITH next AS (
          INSERT INTO zart_execution_runs (run_id, execution_id, run_index, workflow, queue)
          VALUES (gen_random_uuid(), 'x', 1, 'ship', 'default') RETURNING run_id, execution_id),
        old AS (
          UPDATE zart_execution_runs SET state = 'failed', finished_at = now() WHERE execution_id = 'x')
        UPDATE zart_executions e SET current_run_id = next.run_id FROM next WHERE e.execution_id = next.execution_id
        """,
    )
    end(database_url, "x", "completed", "second")
    assert await asyncio.wait_for(wait, 10) == "second"
    assert [run.run_index for run in await client.handle("x").runs()] == [0, 1]
    listed = await client.list_runs()
    assert [run.run_index for run in listed.items] == [1]
    assert len((await client.list_runs(all_runs=True)).items) == 2


async def test_a_hint_wakes_the_waiter_before_its_next_poll(client: Client, database_url: str) -> None:
    await client.start(ship, "7", execution_id="x")
    wait = asyncio.create_task(client.handle("x").result())
    watch = await _looked_at(client, "x")
    await _listening(database_url)
    watch.due += 3600  # no poll will find it
    end(database_url, "x", "completed", 1)
    execute(database_url, "SELECT pg_notify('zart_done', '')")
    assert await asyncio.wait_for(wait, 10) == 1


async def test_without_a_listener_polling_finds_the_end(database_url: str) -> None:
    async with Client(database_url) as client:
        await client.start(ship, "7", execution_id="x")
        wait = asyncio.create_task(client.handle("x").result())
        await _looked_at(client, "x")
        _waiter(client)._tasks[0].cancel()
        end(database_url, "x", "completed", 1)
        assert await asyncio.wait_for(wait, 10) == 1


async def test_a_wait_outlasts_lost_connections(client: Client, database_url: str) -> None:
    await client.start(ship, "7", execution_id="x")
    wait = asyncio.create_task(client.handle("x").result())
    await _looked_at(client, "x")
    await _listening(database_url)
    execute(
        database_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    end(database_url, "x", "completed", 1)
    assert await asyncio.wait_for(wait, 20) == 1


async def test_closing_the_client_ends_its_waits(database_url: str) -> None:
    async with Client(database_url) as client:
        await client.start(ship, "7", execution_id="x")
        wait = asyncio.create_task(client.handle("x").result())
        await _looked_at(client, "x")
    with pytest.raises(UsageError, match="closed"):
        await wait
    with pytest.raises(UsageError, match="not open"):
        await client.handle("x").result()
    with pytest.raises(UsageError, match="not open"):
        await client.handle("x").status()


def _waiter(client: Client) -> ResultWaiter:
    assert client._access._waiter is not None
    return client._access._waiter


async def _looked_at(client: Client, execution_id: str) -> Any:
    """Wait until the waiter has looked at an execution once, and return its watch."""
    deadline = time.monotonic() + 10
    watches = _waiter(client)._watches
    while execution_id not in watches or watches[execution_id].pause <= 0.02:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)
    return watches[execution_id]


async def _listening(database_url: str) -> None:
    """Wait until some connection listens."""
    deadline = time.monotonic() + 10
    listening = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%%'"
    while not execute(database_url, listening):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
