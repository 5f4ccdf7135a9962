"""The API over a real database: `http` asks it, `client` looks behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from zart_api import create_app
from zart_core import Step, Workflow, publish, sleep, wait_for_event
from zart_scheduler import Client, Worker, WorkerConfig
from zart_scheduler.store import workflows
from zart_scheduler.store.statement import run_sync


class Order(BaseModel):
    order_id: str
    amount: float


class CardDeclined(Exception):
    pass


async def _charge(order_id: str, amount: float) -> str:
    if amount > 1000:
        raise CardDeclined(f"no funds for {order_id}")
    return f"txn-{order_id}"


charge: Step[[str, float], str] = Step(_charge, "charge")


async def _fulfil(order: Order) -> str:
    transaction = await charge(order.order_id, order.amount)
    tracking = await wait_for_event("shipped", str, timeout="1h")
    return f"{transaction} {tracking}"


async def _watch(sku: str) -> float:
    await publish("watching/of", {"sku": sku})
    return float(await wait_for_event("price", float, key=sku))


async def _transfer(source: str, target: str, amount: float = 1.0) -> None:
    await sleep("settle", "1h")


fulfil: Workflow[[Order], str] = Workflow(_fulfil, "fulfil")
transfer: Workflow[..., None] = Workflow(_transfer, "transfer")
watch: Workflow[[str], float] = Workflow(_watch, "watch")
SOURCES: tuple[Workflow[..., Any], ...] = (fulfil, transfer, watch)
CONFIG = WorkerConfig(poll_interval="50ms", lease="2s", concurrency=10, connections=2)


@pytest.fixture(autouse=True)
def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZART_API_KEYS", "ZART_API_HOST", "ZART_API_PORT", "ZART_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with Client(database_url) as client:
        yield client


@pytest.fixture
def registered(database_url: str) -> None:
    """Workers know the workflows above; none works now."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for workflow in SOURCES:
            parameters = workflow.parameters
            statement = workflows.upsert(
                workflow.name,
                workflow.version,
                parameters=parameters.names,
                required=parameters.required,
                input_schema=workflow.input_schema(),
                result_schema=workflow.result_schema(),
                current=workflow.current,
            )
            run_sync(connection, statement)


@pytest.fixture
async def worker(client: Client) -> AsyncIterator[Worker]:
    async with Worker(client, *SOURCES, config=CONFIG) as worker:
        yield worker


@pytest.fixture
def app(client: Client) -> FastAPI:
    return create_app(client=client)


@pytest.fixture
def asking() -> Callable[[FastAPI], httpx2.AsyncClient]:
    """Make an HTTP client that asks an app in this process."""
    return lambda app: httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://zart.test"
    )


@pytest.fixture
async def http(
    app: FastAPI, asking: Callable[[FastAPI], httpx2.AsyncClient]
) -> AsyncIterator[httpx2.AsyncClient]:
    async with asking(app) as http:
        yield http
