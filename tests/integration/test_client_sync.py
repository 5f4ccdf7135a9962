"""The blocking client: the same names and answers, from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.histories import end, register

from zart_core import (
    ConfigurationError,
    ExecutionNotFound,
    RunState,
    StoreUnavailable,
    UsageError,
    WaitTimeout,
)
from zart_decorators import durable
from zart_scheduler import SyncClient, SyncHandle, call


@durable
async def ship(order_id: str) -> str:
    return order_id


@pytest.fixture
def client(database_url: str) -> Iterator[SyncClient]:
    with SyncClient(database_url) as client:
        yield client


def test_it_starts_tells_and_waits(client: SyncClient, database_url: str) -> None:
    handle = client.start(ship, "7", execution_id="x", tags={"a": "b"})
    assert (handle.execution_id, handle.existing, handle.status()) == ("x", False, RunState.SCHEDULED)
    assert client.start(ship.call("7"), execution_id="x").existing is True
    assert handle.send_event("paid", 1).duplicate is False
    assert client.send_event("x", "paid", 1, idempotency_key="k").duplicate is False
    assert [event.payload for event in handle.describe().events] == [1, 1]
    with pytest.raises(WaitTimeout):
        handle.result(timeout="20ms")
    end(database_url, "x", "completed", "done")
    assert handle.result() == "done"
    assert client.handle("x", ship).result() == "done"
    assert [run.state for run in handle.runs()] == [RunState.COMPLETED]
    assert [run.execution_id for run in client.list_runs(tags={"a": "b"})] == ["x"]


def test_it_starts_by_name_and_by_input(client: SyncClient, database_url: str) -> None:
    register(database_url, "ship", ("order_id",), schema=ship.input_schema())
    assert [found.workflow for found in client.workflows()] == ["ship"]
    assert client.start("ship", "7", execution_id="a").existing is False
    assert client.start(call("ship", order_id="7"), execution_id="a").existing is True
    assert client.start_input("ship", "7", execution_id="a").existing is True
    assert client.start(ship, "8").cancel("no") is RunState.CANCELLED


def test_it_may_be_called_where_another_loop_runs(client: SyncClient) -> None:
    async def inside() -> bool | None:
        return client.start(ship, "7").existing

    assert asyncio.run(inside()) is False


def test_threads_may_share_it(client: SyncClient) -> None:
    def start(number: int) -> SyncHandle[str]:
        return client.start(ship, str(number % 5), execution_id=str(number % 5))

    with ThreadPoolExecutor(8) as threads:
        handles = list(threads.map(start, range(40)))
    assert [handle.existing for handle in handles].count(False) == 5


def test_it_works_only_while_it_is_open(database_url: str) -> None:
    client = SyncClient(database_url)
    with pytest.raises(UsageError, match="not open"):
        client.start(ship, "7")
    with client:
        handle = client.start(ship, "7")
    with pytest.raises(UsageError, match="not open"):
        handle.status()
    assert "zart-client" not in {thread.name for thread in threading.enumerate()}


def test_it_can_be_opened_again(database_url: str) -> None:
    client = SyncClient(database_url)
    for number in range(2):
        with client:
            assert client.start(ship, "7", execution_id=str(number)).status() is RunState.SCHEDULED
            with pytest.raises(WaitTimeout):
                client.handle(str(number)).result("10ms")


def test_it_refuses_to_wait_for_itself(client: SyncClient) -> None:
    async def from_its_own_thread() -> None:
        with pytest.raises(UsageError, match="own thread"):
            client.handle("x").status()

    client._background.call(from_its_own_thread())


def test_an_interrupt_gives_the_wait_up(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = client.start(ship, "7")
    outcomes: list[str] = []

    def wait(self: object, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("concurrent.futures.Future.result", wait)
        try:
            handle.result()
        except KeyboardInterrupt:
            outcomes.append("interrupted")
    assert outcomes == ["interrupted"]
    assert handle.status() is RunState.SCHEDULED
    waiter = client._access._waiter
    assert waiter is not None
    assert waiter._watches == {}


def test_what_fails_to_open_leaves_no_thread() -> None:
    client = SyncClient("postgresql://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable) as caught, client:
        pass
    assert "secret" not in str(caught.value)
    assert "zart-client" not in {thread.name for thread in threading.enumerate()}


def test_errors_come_as_they_are(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExecutionNotFound):
        client.handle("nobody").result()
    with pytest.raises(UsageError, match="made by @durable"):
        client.handle("x", print)  # type: ignore[arg-type] # that is what is refused
    monkeypatch.delenv("ZART_DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match="ZART_DATABASE_URL or DATABASE_URL"):
        SyncClient()
