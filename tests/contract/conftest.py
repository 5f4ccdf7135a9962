"""One environment for each store, with the methods that a client and a test environment share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import pytest

from tests.contract import flows
from zart_core import EventReceipt, ExecutionDetails, Page, RunState, RunSummary
from zart_core.testing import TestRun
from zart_scheduler import Client, Worker, WorkerConfig

STORES = ["memory", "postgresql"]
PATIENCE = 20.0


class AnyHandle(Protocol):
    """What the handles of both have."""

    execution_id: str
    existing: bool | None

    async def result(self, timeout: float | str | None = None) -> Any: ...
    async def status(self) -> RunState: ...
    async def describe(self) -> ExecutionDetails: ...
    async def state(self, key: str) -> Any: ...
    async def runs(self) -> list[RunSummary]: ...
    async def send_event(
        self, name: str, payload: Any = None, *, idempotency_key: str | None = None
    ) -> EventReceipt: ...
    async def cancel(self, reason: str | None = None) -> RunState: ...


class World:
    """A client with a worker, or a test environment; and what they do not share."""

    def __init__(self, client: Any) -> None:
        self.start: Callable[..., Awaitable[AnyHandle]] = client.start
        self.handle: Callable[..., AnyHandle] = client.handle
        self.send_event: Callable[..., Awaitable[EventReceipt]] = client.send_event
        self.list_runs: Callable[..., Awaitable[Page[RunSummary]]] = client.list_runs

    async def until(self, handle: AnyHandle, state: RunState) -> None:
        """Wait until the execution is in that state."""
        async with asyncio.timeout(PATIENCE):
            while await handle.status() is not state:
                await asyncio.sleep(0.01)


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    flows.effects.clear()
    flows.passes = 0
    flows.gate = asyncio.Event()
    if request.param == "memory":
        async with TestRun(flows) as env:
            yield World(env)
        return
    config = WorkerConfig(poll_interval="50ms", max_parked=0, queues=("default", "dock"))
    url = request.getfixturevalue("database_url")
    async with Client(url) as client, Worker(client, flows, config=config):
        yield World(client)
