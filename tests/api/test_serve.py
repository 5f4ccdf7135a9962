"""The server: where it listens, how it stops, and what survives its death."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import IO

import httpx2
import pytest
from tests.support.problems import problem

from zart_api import serve_async
from zart_core import ConfigurationError
from zart_scheduler import Client

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("registered")]

START = {"workflow": "fulfil", "input": {"order_id": "A", "amount": 1}, "execution_id": "a/b"}
PROGRAM = "import zart_api; zart_api.serve('127.0.0.1', 0, on_ready=lambda url: print(url, flush=True))"


@dataclass
class Serving:
    """A server in this event loop."""

    stop: asyncio.Event
    url: str = ""


@asynccontextmanager
async def serving(
    client: Client, host: str = "127.0.0.1", *, insecure: bool = False
) -> AsyncIterator[Serving]:
    server, ready = Serving(asyncio.Event()), asyncio.Event()

    def on_ready(url: str) -> None:
        server.url = url
        ready.set()

    async with asyncio.timeout(100):
        task = asyncio.create_task(
            serve_async(host, 0, stop=server.stop, client=client, insecure=insecure, on_ready=on_ready)
        )
        task.add_done_callback(lambda _: ready.set())
        await ready.wait()
        try:
            if not task.done():
                yield server
        finally:
            server.stop.set()
            await task


@contextmanager
def process(database_url: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Serve in a process of its own; gives the process, and its output with the URL as its first line."""
    env = {**os.environ, "ZART_DATABASE_URL": database_url, **environment}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server, server.stdout
        finally:
            server.kill()


async def test_it_tells_its_url_and_routes_encoded_ids(client: Client) -> None:
    async with serving(client) as server, httpx2.AsyncClient(base_url=server.url) as http:
        started = await http.post("/v1/executions", json=START)
        assert (started.status_code, started.headers["location"]) == (201, "/v1/executions/a%2Fb")
        assert (await http.get(started.headers["location"])).json()["execution_id"] == "a/b"
        assert (await http.get("/v1/executions/a%2Fb/result")).status_code == 202
        assert (await http.head("/v1/executions/a%2Fb")).status_code == 200
        assert "server" not in started.headers


async def test_it_leaves_signals_alone(client: Client) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serving(client):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_it_stops_at_once_although_requests_wait_for_results(client: Client) -> None:
    async with serving(client) as server, httpx2.AsyncClient(base_url=server.url, timeout=30) as http:
        await http.post("/v1/executions", json=START)
        waiting = asyncio.create_task(http.get("/v1/executions/a%2Fb/result?wait=50s"))
        while "zart-result" not in {task.get_name() for task in asyncio.all_tasks()}:
            assert (await http.get("/livez")).status_code == 200
        server.stop.set()
        answer = await asyncio.wait_for(waiting, 20)
        assert (answer.status_code, answer.json()) == (202, {"state": "scheduled"})


async def test_without_keys_it_answers_to_local_names_only(client: Client) -> None:
    async with serving(client) as server, httpx2.AsyncClient(base_url=server.url) as http:
        problem(await http.get("/v1/executions", headers={"Host": "evil.example"}), 403, "ZART-H403")
        assert (await http.get("/v1/executions", headers={"Host": "localhost"})).status_code == 200
        assert (await http.get("/livez", headers={"Host": "evil.example"})).status_code == 200


async def test_beyond_loopback_it_does_not_listen_without_keys(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="ZART_API_KEYS"):
        async with serving(client, "0.0.0.0"):
            pass
    async with (
        serving(client, "0.0.0.0", insecure=True) as server,
        httpx2.AsyncClient(base_url=server.url) as http,
    ):
        assert (await http.get("/v1/executions")).status_code == 200
    monkeypatch.setenv("ZART_API_KEYS", "zk_0123456789abcdef")
    async with serving(client, "0.0.0.0") as server, httpx2.AsyncClient(base_url=server.url) as http:
        problem(await http.get("/v1/executions"), 401)


async def test_a_port_that_is_taken_is_an_error_that_says_so(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}: Address already in use"):
            await serve_async("127.0.0.1", port, stop=asyncio.Event(), client=client)


async def test_a_signal_stops_the_process_with_exit_code_0(database_url: str) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT)
    with ExitStack() as stack:
        servers = [stack.enter_context(process(database_url)) for _ in numbers]
        for (server, output), number in zip(servers, numbers, strict=True):
            assert httpx2.get(f"{output.readline().strip()}/readyz").status_code == 200
            server.send_signal(number)
        assert [server.wait(20) for server, _ in servers] == [0, 0]


async def test_what_was_accepted_before_the_servers_death_is_kept_and_done_once(
    client: Client, database_url: str
) -> None:
    event, key = "/v1/executions/a%2Fb/events/shipped", {"Idempotency-Key": "7"}
    with ExitStack() as stack:
        mortal = {"ZART_TESTING": "1", "ZART_CRASH_AT": "after-accept"}
        servers = [stack.enter_context(process(database_url, **mortal)) for _ in range(2)]
        for (server, output), (path, body) in zip(
            servers, (("/v1/executions", START), (event, "TRK")), strict=True
        ):
            with pytest.raises(httpx2.TransportError):
                httpx2.post(output.readline().strip() + path, json=body, headers=key)
            assert server.wait(20) == -signal.SIGKILL
    async with serving(client) as local, httpx2.AsyncClient(base_url=local.url) as http:
        started = await http.post("/v1/executions", json=START)
        assert (started.status_code, started.headers["zart-existing"]) == (200, "true")
        assert len((await http.get("/v1/executions")).json()["items"]) == 1
        sent = await http.post(event, json="TRK", headers=key)
        assert (sent.status_code, sent.headers["idempotency-replayed"]) == (202, "true")
        (kept,) = (await http.get("/v1/executions/a%2Fb/events?include=payloads")).json()["items"]
        assert (kept["payload"], kept["event_id"]) == ("TRK", sent.json()["event_id"])
