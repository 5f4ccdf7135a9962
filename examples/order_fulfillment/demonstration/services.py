"""The three processes of the shop: gateway, API, worker."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from examples.order_fulfillment.demonstration.shop import is_ready, zart
from examples.order_fulfillment.orders import ORDERS
from examples.stage.children import Child, Children
from examples.stage.place import Place

Options: TypeAlias = dict[str, str | Path]

WORKFLOW_FILE = Path("examples", "order_fulfillment", "workflow.py")
LEASE = "2s"
_GATEWAY = (sys.executable, "-m", "examples.order_fulfillment.gateway")
_LATENCY = "0.05"
_TIMES = {"ORDER_RETRY_DELAY": "200ms", "ORDER_SETTLE": "1s"}
_SERVING = re.compile(r"serving on (http://\S+)")


@dataclass(slots=True)
class Services:
    """Starts them and waits until they are ready."""

    place: Place
    children: Children
    queue: str
    _settings: dict[str, str] = field(default_factory=lambda: dict(_TIMES))

    def start_gateway(self) -> None:
        """Start the payment gateway; workers that start later know where it is."""
        port_file = self.place.directory / "gateway.port"
        options: Options = {
            "--ledger": self.place.ledger,
            "--cards": ORDERS,
            "--port-file": port_file,
            "--latency": _LATENCY,
        }
        gateway = self.children.start("gateway", [*_GATEWAY, *_words(options)])
        port = gateway.wait_for(lambda: _text_of(port_file), "its port")
        self._settings["ORDER_GATEWAY_URL"] = f"http://127.0.0.1:{port}"

    def start_api(self) -> Child:
        """Start the API, at any free port."""
        return self.children.start("API", zart("api", "--host", "127.0.0.1", "--port", "0"))

    def url_of(self, api: Child) -> str:
        """Return the URL of the API, once it is ready."""
        told = api.wait_for(lambda: _SERVING.search(api.log.read_text(errors="replace")), "its address")
        url = told[1]
        api.wait_for(lambda: is_ready(url), f"{url}/readyz")
        return url

    def start_worker(self, name: str, *, trap: str | None = None) -> Child:
        """Start a worker; with `trap` it kills itself there, by SIGKILL."""
        armed = {"ZART_TESTING": "1", "ZART_CRASH_AT": trap} if trap else {}
        options: Options = {"--queue": self.queue, "--lease": LEASE, "--ready-file": self._ready_file(name)}
        command = zart("worker", WORKFLOW_FILE, *_words(options))
        return self.children.start(name, command, **self._settings, **armed)

    def wait_for_worker(self, worker: Child) -> None:
        """Wait until a worker is ready."""
        worker.wait_for(lambda: _text_of(self._ready_file(worker.name)), "it was ready")

    def _ready_file(self, name: str) -> Path:
        return self.place.directory / f"{name}.ready"


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="ascii").strip() if path.exists() else None


def _words(options: Options) -> list[str | Path]:
    return [word for option in options.items() for word in option]
