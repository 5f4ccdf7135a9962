"""How a run ended, as data on stdout and as an exit code: for wait, result, start --wait and watch."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer
from rich.console import RenderableType
from rich.live import Live

from zart_cli import output, settings, terminal
from zart_cli.exitcodes import ExitCode
from zart_cli.session import run
from zart_cli.settings import TimeStyle
from zart_cli.timeline import Look, draw_execution
from zart_core import ExecutionDetails, RunState

if TYPE_CHECKING:
    from zart_scheduler import Client

WATCH_EVERY = 1.0

_CODES = {
    RunState.COMPLETED: ExitCode.OK,
    RunState.FAILED: ExitCode.RUN_FAILED,
    RunState.CANCELLED: ExitCode.RUN_CANCELLED,
    RunState.BLOCKED: ExitCode.RUN_BLOCKED,
}


def wait_for_result(execution_id: str, timeout: float | None) -> None:
    """Print the result; every other outcome is an error with an exit code of its own. `timeout` in seconds."""
    output.show_value(run(lambda client: client.handle(execution_id).result(timeout)))


def watch(execution_id: str) -> None:
    """Draw an execution again and again until it ends or blocks; then leave with the code of its outcome."""
    raise typer.Exit(int(_CODES[run(lambda client: _watch(client, execution_id))]))


async def _watch(client: Client, execution_id: str) -> RunState:
    handle = client.handle(execution_id)
    if not sys.stdout.isatty():
        return await _watch_in_a_pipe(client, execution_id)
    details = await handle.describe()
    with Live(_view(details), console=terminal.console(), auto_refresh=False) as live:
        while details.state not in _CODES:
            await asyncio.sleep(WATCH_EVERY)
            details = await handle.describe()
            live.update(_view(details), refresh=True)
    return details.state


async def _watch_in_a_pipe(client: Client, execution_id: str) -> RunState:
    """Draw it whenever something has changed; times are absolute, or they would change all the time."""
    handle, drawn = client.handle(execution_id), None
    while True:
        details = await handle.describe()
        if details != drawn:
            terminal.draw(_view(details, TimeStyle.ISO))
            sys.stdout.flush()
            drawn = details
        if details.state in _CODES:
            return details.state
        await asyncio.sleep(WATCH_EVERY)


def _view(details: ExecutionDetails, style: TimeStyle | None = None) -> RenderableType:
    look = Look(datetime.now(UTC), style or settings.current().time, terminal.speaks_unicode())
    return draw_execution(details, look)
