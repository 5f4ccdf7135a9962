"""Listening: never beyond loopback without a key, and stopping without cutting off who is being served."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from fastapi import FastAPI

from zart_api import listening
from zart_api.app import build_app
from zart_api.auth import Authenticate, Guard
from zart_api.connection import Connection
from zart_api.deps import Services
from zart_scheduler import Client

_DRAIN: Final = 10
"""Seconds that requests under way may take to finish when the server stops."""


def serve(
    host: str | None = None,
    port: int | None = None,
    *,
    database_url: str | None = None,
    client: Client | None = None,
    insecure: bool = False,
    authenticate: Authenticate | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the API until SIGINT or SIGTERM. See `serve_async` for the arguments and errors."""
    asyncio.run(
        _serve_until_signal(
            host,
            port,
            database_url=database_url,
            client=client,
            insecure=insecure,
            authenticate=authenticate,
            on_ready=on_ready,
        )
    )


async def serve_async(
    host: str | None = None,
    port: int | None = None,
    *,
    stop: asyncio.Event,
    database_url: str | None = None,
    client: Client | None = None,
    insecure: bool = False,
    authenticate: Authenticate | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the API in the running event loop until `stop` is set; signals are left alone.

    It begins to listen whether or not the database can be reached: until it can, /readyz answers 503. When it stops,
    /readyz answers 503, waiting requests are answered at once, and others get 10 s to finish.

    Args:
        host: Name or address to listen at. Default: ZART_API_HOST, else 127.0.0.1.
        port: Port to listen at; 0 takes a free one. Default: ZART_API_PORT, else 8080.
        stop: Ends the serving.
        database_url: Where to connect, as `Client` takes it.
        client: An open client to use instead, which its owner closes.
        insecure: Listen beyond loopback although nobody is asked for a key.
        authenticate: As for `create_app`.
        on_ready: Called with the URL when the server listens.

    Raises:
        ConfigurationError: The host is not loopback and there is neither a key nor `authenticate` nor `insecure`;
            the address cannot be listened at; or the database's URL or a key is missing or malformed.
    """
    found = listening.addresses(host, port)
    guard = listening.guarded(Guard.from_environment(authenticate), found, insecure=insecure)
    app = build_app(Services(Connection(client, database_url), guard))
    with listening.bound(found) as sockets:
        async with app.router.lifespan_context(app):
            await _run(app, sockets, stop, on_ready)


async def _serve_until_signal(
    host: str | None,
    port: int | None,
    *,
    database_url: str | None,
    client: Client | None,
    insecure: bool,
    authenticate: Authenticate | None,
    on_ready: Callable[[str], None] | None,
) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve_async(
        host,
        port,
        stop=stop,
        database_url=database_url,
        client=client,
        insecure=insecure,
        authenticate=authenticate,
        on_ready=on_ready,
    )


async def _run(
    app: FastAPI, sockets: list[socket.socket], stop: asyncio.Event, on_ready: Callable[[str], None] | None
) -> None:
    config = uvicorn.Config(
        app,
        lifespan="off",  # run by serve_async, so that what goes wrong is raised
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets), name="zart-api")
    stopping = asyncio.create_task(stop.wait(), name="zart-api-stop")
    try:
        if on_ready is not None:
            on_ready(listening.url_of(sockets[0]))
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        services: Services = app.state.zart
        services.draining.set()
        server.should_exit = True
        stopping.cancel()
        await serving


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: whoever runs the loop decides what ends it."""
        yield
