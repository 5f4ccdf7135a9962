"""A directory of invented breweries on loopback. Now and then it is busy, as such services are."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CITIES = ("Bruges", "Porto", "Tampere")
KINDS = ("micro", "brewpub", "regional")
BREWERIES = [
    {"id": f"b{n}", "name": f"Brewery No. {n}", "city": CITIES[n % 3], "kind": KINDS[n // 3 % 3]}
    for n in range(90)
]
RATINGS = {f"b{n}": {"stars": n * 7 % 41 / 10 + 1, "reviews": n} for n in range(90)}


class Directory(ThreadingHTTPServer):
    """Serves pages and ratings; is busy the first time that page 2 and the rating of brewery 0 are asked for."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.most_at_once = 0
        self._under_way = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str) -> Any:
        """Return what there is at `path`, or None if the service is busy."""
        with self._lock:
            is_first, self._under_way = path not in self.asked, self._under_way + 1
            self.asked.append(path)
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            time.sleep(0.02)
            return None if is_first and _is_busy(path) else _find(path)
        finally:
            with self._lock:
                self._under_way -= 1


def _is_busy(path: str) -> bool:
    return "page=2&" in path or path.startswith("/breweries/b0/")


def _find(path: str) -> Any:
    if path.endswith("/rating"):
        return RATINGS[path.split("/")[2]]
    query = parse_qs(urlsplit(path).query)
    page, size = int(query["page"][0]), int(query["per_page"][0])
    return BREWERIES[(page - 1) * size : page * size]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        directory = self.server
        assert isinstance(directory, Directory)
        found = directory.answer(self.path)
        body = json.dumps(found).encode()
        self.send_response(503 if found is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@contextmanager
def serve() -> Iterator[Directory]:
    """Serve until the block is left."""
    with Directory() as directory:
        threading.Thread(target=directory.serve_forever, daemon=True).start()
        yield directory
        directory.shutdown()
