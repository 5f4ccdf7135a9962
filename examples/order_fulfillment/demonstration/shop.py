"""Zart's doors as the shop uses them: the command line, the HTTP API, and the database through a client."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from examples.order_fulfillment.demonstration.evidence import Ending
from examples.order_fulfillment.orders import Order
from examples.stage.children import Children
from examples.stage.failure import DemoFailed
from zart_core import StepState
from zart_scheduler import SyncClient

T = TypeVar("T")

WORKFLOW = "order-fulfillment"
PAYMENT = "process-payment"
ZART = (sys.executable, "-m", "zart_cli")
_AT_ONCE = 4
_PATIENCE = 60
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def zart(*words: str | Path) -> list[str | Path]:
    """Return the command line of `zart WORDS`."""
    return [*ZART, *words]


@dataclass(slots=True)
class Shop:
    """Orders go in, shipments are announced, results come out.

    Its orders have a queue of their own, so that those which an earlier demonstration left in a shared database are
    neither found nor worked on.
    """

    children: Children
    api: str = ""
    name: str = field(default_factory=lambda: f"demo-{uuid.uuid4().hex[:8]}")

    def execution_id(self, order: Order) -> str:
        """Return the id under which an order is seen through: with the same id it can be started only once."""
        return f"{self.name}-{order.order_id}"

    def start(self, orders: Iterable[Order], done: Callable[[], None]) -> None:
        """Start orders with `zart runs start`, four at once."""
        _all_of(orders, self._start, done, at_once=_AT_ONCE)

    def announce_shipments(
        self, tracking: dict[str, str], orders: list[Order], done: Callable[[], None]
    ) -> None:
        """POST the event `shipment_ready` for each order."""

        def announce(order: Order) -> None:
            path = f"executions/{quote(self.execution_id(order))}/events/shipment_ready"
            self._post(path, {"tracking_number": tracking[order.order_id]})

        _all_of(orders, announce, done, at_once=_AT_ONCE)

    def endings(self, orders: list[Order], done: Callable[[], None]) -> dict[str, Ending]:
        """Wait until all executions have ended and return how, by order id."""
        return dict(_all_of(orders, self._ending, done, at_once=len(orders)))

    def _start(self, order: Order) -> None:
        data = json.dumps({"order_id": order.order_id, "amount": order.amount})
        words = (
            "runs",
            "start",
            WORKFLOW,
            "-d",
            data,
            "--id",
            self.execution_id(order),
            "--queue",
            self.name,
        )
        self.children.run(zart(*words))

    def _ending(self, order: Order) -> tuple[str, Ending]:
        path = f"executions/{quote(self.execution_id(order))}/result?wait={_PATIENCE}s"
        status, answer = self._get(path)
        if status != HTTPStatus.OK:
            raise DemoFailed(f"order {order.order_id} did not end within {_PATIENCE} s: it is {answer}")
        failure = answer.get("failure") or {}
        return order.order_id, Ending(answer["state"], answer.get("result"), failure.get("type"))

    def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        return _ask(urllib.request.Request(f"{self.api}/v1/{path}"))

    def _post(self, path: str, payload: object) -> None:
        headers = {"Content-Type": "application/json"}
        _ask(urllib.request.Request(f"{self.api}/v1/{path}", json.dumps(payload).encode(), headers))


def recorded_payments(client: SyncClient, shop: Shop, orders: Iterable[Order]) -> frozenset[str]:
    """Return the orders whose payment has a record, whether it was charged or declined."""
    final = {StepState.COMPLETED, StepState.FAILED}

    def is_recorded(order: Order) -> bool:
        steps = client.handle(shop.execution_id(order)).describe().steps
        return any(step.name == PAYMENT and step.state in final for step in steps)

    return frozenset(order.order_id for order in orders if is_recorded(order))


def is_ready(api: str) -> bool | None:
    """Return True if the API is ready to serve, else None."""
    try:
        with _opener.open(f"{api}/readyz", timeout=_PATIENCE):
            return True
    except OSError:
        return None


def _ask(request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
    try:
        with _opener.open(request, timeout=2 * _PATIENCE) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            raise DemoFailed(
                f"{request.method} {request.full_url}: {error.code} {error.read().decode()}"
            ) from None
    except OSError as error:
        raise DemoFailed(f"{request.full_url}: {error}") from None


def _all_of(
    orders: Iterable[Order], action: Callable[[Order], T], done: Callable[[], None], *, at_once: int
) -> list[T]:
    """Return what `action` returns for each order, several at once; the first failure ends it all."""
    pool = ThreadPoolExecutor(at_once)
    try:
        futures: list[Future[T]] = [pool.submit(action, order) for order in orders]
        for future in as_completed(futures):
            future.result()
            done()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
