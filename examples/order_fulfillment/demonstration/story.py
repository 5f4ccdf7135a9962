"""The demonstration, act by act."""

from __future__ import annotations

import signal
import subprocess

from examples.order_fulfillment.demonstration.evidence import Evidence, Kill
from examples.order_fulfillment.demonstration.services import Services
from examples.order_fulfillment.demonstration.shop import Shop, recorded_payments, zart
from examples.order_fulfillment.demonstration.waves import Waves
from examples.order_fulfillment.ledger import Entry, read_ledger
from examples.order_fulfillment.orders import Order, read_orders
from examples.stage.children import Child, Children, ending
from examples.stage.failure import DemoFailed
from examples.stage.place import Place
from examples.stage.screen import Screen
from zart_scheduler import SyncClient

_PATIENCE = 60.0


class Story:
    """All that happens between an empty database and the last receipt."""

    def __init__(self, place: Place, children: Children, screen: Screen) -> None:
        self._place, self._children, self._screen = place, children, screen
        self._orders = read_orders()
        self._waves = Waves.of(self._orders)
        self._shop = Shop(children)
        self._services = Services(place, children, self._shop.name)

    def perform(self) -> Evidence:
        """Let it happen, and return what there is to judge.

        Raises:
            DemoFailed: Something did not start, or did not do what it must.
        """
        worker = self._open_shop()
        with SyncClient(self._place.database_url) as client:
            self._take_orders_that_are_paid(client, worker)
            kill = self._take_orders_until_the_worker_dies(client, worker)
        self._replace_worker()
        tracking = self._ship()
        with self._screen.act("results are collected (GET .../result?wait=)", len(self._orders)) as done:
            endings = self._shop.endings(self._orders, done)
        return Evidence(self._orders, self._ledger(), kill, endings, tracking)

    def _open_shop(self) -> Child:
        # The API does not need the tables to start; what starts together is ready sooner.
        api = self._services.start_api()
        with self._screen.act("the database gets its tables (zart migrate)"):
            self._children.run(zart("migrate"))
        with self._screen.act("payment gateway, zart api and zart worker start"):
            self._services.start_gateway()
            worker = self._services.start_worker("worker", trap=self._waves.trap)
            self._shop.api = self._services.url_of(api)
            self._services.wait_for_worker(worker)
        return worker

    def _take_orders_that_are_paid(self, client: SyncClient, worker: Child) -> None:
        orders = self._waves.first
        self._start(orders, "orders come in")
        with self._screen.act("their payments are recorded, or declined"):
            everyone = frozenset(order.order_id for order in orders)
            worker.wait_for(
                lambda: recorded_payments(client, self._shop, orders) == everyone or None,
                "all payments were recorded",
            )

    def _take_orders_until_the_worker_dies(self, client: SyncClient, worker: Child) -> Kill:
        orders = self._waves.during
        self._start(orders, "more come in, to a worker that will die")
        try:
            returncode = worker.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"the worker still lives: it did not reach {self._waves.trap}") from None
        if returncode != -signal.SIGKILL:
            raise DemoFailed(
                f"the worker was to be killed by signal 9, but it ended with {ending(returncode)}"
            )
        # Counted first: whatever has a record was answered before the worker died, so its calls are among these.
        calls = self._ledger()
        kill = Kill(len(calls), recorded_payments(client, self._shop, [*self._waves.first, *orders]))
        self._tell(kill, calls)
        return kill

    def _replace_worker(self) -> None:
        replacement = self._services.start_worker("second-worker")
        self._start(self._waves.last, "more come in while a second worker starts")
        self._services.wait_for_worker(replacement)

    def _ship(self) -> dict[str, str]:
        shipped = [order for order in self._orders if order.declined is None]
        tracking = {order.order_id: f"1Z{order.order_id}" for order in shipped}
        with self._screen.act(
            "shipments are announced (POST .../events/shipment_ready)", len(shipped)
        ) as done:
            self._shop.announce_shipments(tracking, shipped, done)
        return tracking

    def _start(self, orders: list[Order], text: str) -> None:
        with self._screen.act(f"{len(orders)} {text} (zart runs start)", len(orders)) as done:
            self._shop.start(orders, done)

    def _ledger(self) -> list[Entry]:
        return read_ledger(self._place.ledger)

    def _tell(self, kill: Kill, calls: list[Entry]) -> None:
        unrecorded = sorted({e.order_id for e in calls if e.transaction_id} - kill.recorded)
        self._screen.say(f"kill -9: the worker is dead; {len(kill.recorded)} payments have a record")
        self._screen.say(f"charged, but not recorded: order {', '.join(unrecorded) or 'none'}")
