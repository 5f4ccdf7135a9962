"""A service on loopback that fails as it is told."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FlakyService(ThreadingHTTPServer):
    """Knows the price of everything. `failures` says how often it is down before it tells it."""

    daemon_threads = True

    def __init__(self, failures: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.failures = failures
        self.calls: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        service = self.server
        assert isinstance(service, FlakyService)
        item = self.path.rpartition("/")[2]
        service.calls[item] += 1
        is_down = service.calls[item] <= service.failures.get(item, 0)
        body = json.dumps({"price": 10 * len(item)}).encode()
        self.send_response(503 if is_down else 200)
        self.send_header("Content-Length", "0" if is_down else str(len(body)))
        self.end_headers()
        if not is_down:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@contextmanager
def flaky_service(failures: dict[str, int]) -> Iterator[FlakyService]:
    """Serve until the block is left."""
    with FlakyService(failures) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service
        service.shutdown()
