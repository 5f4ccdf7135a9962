"""`zart dev`: serve workflows while they are written."""

from __future__ import annotations

from typing import Annotated

import typer

from zart_cli.commands.api import HostOpt, PortOpt
from zart_cli.options import ModulesArg
from zart_cli.verbs import verb


def register(app: typer.Typer) -> None:
    """Add the command."""
    verb(app, panel="Serve", examples=("zart dev my_workflows", "zart dev flows/orders.py --port 9000"))(dev)


def dev(
    modules: ModulesArg,
    host: HostOpt = None,
    port: PortOpt = None,
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Begin anew when a file changes.")
    ] = True,
) -> None:
    """Serve workflows while you write them: PostgreSQL of its own, worker and HTTP API. Ctrl-C stops all.

    The database is the embedded server unless one was chosen; the schema is brought up first.
    """
    from zart_cli import logs
    from zart_cli.development import develop

    logs.configure()
    develop(modules, host=host, port=port, reload=reload)
