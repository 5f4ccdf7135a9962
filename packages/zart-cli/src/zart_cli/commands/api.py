"""`zart api`: serve the HTTP API."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

import typer

from zart_cli import target
from zart_cli.signals import StopSignals
from zart_cli.verbs import verb
from zart_core import ConfigurationError

_log = logging.getLogger("zart.api")

HostOpt = Annotated[
    str | None,
    typer.Option(
        "--host", envvar="ZART_API_HOST", help="Name or address to listen at.", show_default="127.0.0.1"
    ),
]
PortOpt = Annotated[
    int | None,
    typer.Option(
        "--port", envvar="ZART_API_PORT", min=0, max=65535, help="0 takes any free port.", show_default="8080"
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    verb(app, panel="Serve", examples=("zart api", "ZART_API_KEYS=zk_... zart api --host 0.0.0.0"))(api)


def api(
    host: HostOpt = None,
    port: PortOpt = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Listen beyond this machine although nobody is asked for a key."),
    ] = False,
) -> None:
    """Serve the HTTP API. It answers at once; /readyz says 503 until the database is there.

    Keys come from ZART_API_KEYS, with commas between them; without any it listens on this machine only.
    """
    from zart_cli import logs

    logs.configure()
    asyncio.run(_serve(load_api(), host, port, target.libpq_url(target.database_url()), insecure=insecure))


def load_api() -> Any:
    """Return the package zart_api.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import zart_api
    except ModuleNotFoundError as error:
        if error.name not in {"zart_api", "fastapi", "starlette", "uvicorn"}:
            raise
        raise ConfigurationError('the HTTP API is not installed: pip install "zart-cli[api]"') from None
    return zart_api


async def _serve(zart_api: Any, host: str | None, port: int | None, url: str, *, insecure: bool) -> None:
    with StopSignals() as signals:
        await zart_api.serve_async(
            host,
            port,
            stop=signals.stopping,
            database_url=url,
            insecure=insecure,
            on_ready=lambda where: _log.info("serving on %s (documentation at %s/docs)", where, where),
        )
    _log.info("stopped")
