"""A payment gateway to practise with: a process and a ledger of its own, idempotency keys as real ones honour them.

    python -m examples.order_fulfillment.gateway --ledger /tmp/ledger.jsonl --port 8099

`POST /charges` with `{"order_id", "amount"}` and an `Idempotency-Key` answers 201 with `{"transaction_id"}`, 402 with
`{"reason"}`, or 503. What it has decided for a key it says again, however often it is asked. A 503 decides nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from examples.order_fulfillment.ledger import Entry, Ledger, Outcome, read_ledger
from examples.order_fulfillment.orders import ORDERS, Order, read_orders

_LONGEST_BODY = 10_000
_DECIDED = (Outcome.CHARGED, Outcome.DECLINED)


class Gateway:
    """Decides calls, one after the other; knows from its ledger what it decided before."""

    def __init__(self, ledger: Ledger, known: list[Entry], orders: list[Order]) -> None:
        self._ledger = ledger
        self._cards = {order.order_id: order for order in orders}
        self._decided = {entry.key: entry for entry in known if entry.outcome in _DECIDED}
        self._calls: dict[str, int] = {}
        for entry in known:
            self._calls[entry.order_id] = entry.attempt
        self._lock = threading.Lock()

    def charge(self, order_id: str, amount: float, key: str) -> Entry:
        """Decide one call; what it decided is in the ledger when this returns."""
        # Two calls with one key must not both find it unknown.
        with self._lock:
            attempt = self._calls[order_id] = self._calls.get(order_id, 0) + 1
            call = Entry(datetime.now(UTC).isoformat(), order_id, amount, key, attempt, Outcome.UNAVAILABLE)
            decided = self._decide(call)
            self._ledger.append(decided)
            if decided.outcome in _DECIDED:
                self._decided[key] = decided
            return decided

    def _decide(self, call: Entry) -> Entry:
        before = self._decided.get(call.key)
        if before is not None:
            if (before.order_id, before.amount) != (call.order_id, call.amount):
                return replace(call, outcome=Outcome.CONFLICT)
            return replace(
                call,
                outcome=Outcome.REPEATED,
                transaction_id=before.transaction_id,
                reason=before.reason,
            )
        card = self._cards.get(call.order_id, Order(call.order_id, call.amount))
        if call.attempt <= card.unavailable:
            return call
        if card.declined is not None:
            return replace(call, outcome=Outcome.DECLINED, reason=card.declined)
        return replace(call, outcome=Outcome.CHARGED, transaction_id=f"txn-{uuid.uuid4().hex[:12]}")


class Server(ThreadingHTTPServer):
    """Serves a gateway on loopback. `latency` in seconds passes before and after it decides, as on a real network."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, gateway: Gateway, latency: float) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.gateway, self.latency = gateway, latency


class Handler(BaseHTTPRequestHandler):
    """One call."""

    timeout = 10.0

    def do_POST(self) -> None:
        try:
            status, body = self._answer()
        except (ValueError, TypeError, KeyError) as error:
            status, body = HTTPStatus.BAD_REQUEST, {"reason": f"not a charge: {error!r}"}
        try:
            self._reply(status, body)
        except OSError:
            self.log_message("the caller is gone")

    def _answer(self) -> tuple[HTTPStatus, dict[str, Any]]:
        server = self.server
        assert isinstance(server, Server)
        if self.path != "/charges":
            return HTTPStatus.NOT_FOUND, {"reason": "there is only POST /charges"}
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= _LONGEST_BODY:
            raise ValueError(f"a body of {length} bytes")
        asked = json.loads(self.rfile.read(length))
        key = self.headers.get("Idempotency-Key")
        if not key:
            raise ValueError("no Idempotency-Key")
        time.sleep(server.latency)
        entry = server.gateway.charge(str(asked["order_id"]), float(asked["amount"]), key)
        time.sleep(server.latency)
        return _reply_to(entry)

    def _reply(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _reply_to(entry: Entry) -> tuple[HTTPStatus, dict[str, Any]]:
    if entry.transaction_id is not None:
        return HTTPStatus.CREATED, {"transaction_id": entry.transaction_id}
    if entry.outcome is Outcome.UNAVAILABLE:
        return HTTPStatus.SERVICE_UNAVAILABLE, {"reason": "try again later"}
    if entry.outcome is Outcome.CONFLICT:
        return HTTPStatus.UNPROCESSABLE_ENTITY, {"reason": "this key was used for another charge"}
    return HTTPStatus.PAYMENT_REQUIRED, {"reason": entry.reason}


def main() -> None:
    parser = argparse.ArgumentParser(description="A payment gateway to practise with, on loopback.")
    parser.add_argument("--ledger", type=Path, required=True, help="the file to record every call in")
    parser.add_argument("--cards", type=Path, default=ORDERS, help="how the cards of which orders behave")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--port-file", type=Path, help="write the port there when it listens")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds each way")
    chosen = parser.parse_args()
    known = read_ledger(chosen.ledger)
    with Ledger(chosen.ledger) as ledger:
        gateway = Gateway(ledger, known, read_orders(chosen.cards))
        with Server(chosen.port, gateway, chosen.latency) as server:
            print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
            if chosen.port_file is not None:
                _write_whole(chosen.port_file, f"{server.server_port}\n")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print("stopped")


def _write_whole(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="ascii")
    aside.replace(path)


if __name__ == "__main__":
    main()
