"""What `zart dev` does: database, migrations, worker and API in one process, begun anew whenever the code changes."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import typer

from zart_cli import reporting, sources, target, terminal
from zart_cli.commands.api import load_api
from zart_cli.devdatabase import DevDatabase
from zart_cli.following import Follower
from zart_cli.problems import ImportFailed, problem_of
from zart_cli.reload import Watch, folders_of
from zart_cli.signals import StopSignals
from zart_cli.welcome import welcome
from zart_core import ConfigurationError, Registry, ZartError
from zart_scheduler import Client, Worker, WorkerConfig
from zart_scheduler.migrate import migrate

_log = logging.getLogger("zart.dev")
_RELOADED = "ZART_DEV_RELOADED"
_DRAIN = 3.0
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be served. `registry` is None while the code does not import."""

    database: DevDatabase
    registry: Registry | None
    host: str | None
    port: int | None
    watch: Watch | None


def develop(modules: Sequence[str], *, host: str | None, port: int | None, reload: bool) -> None:
    """Serve the workflows of `modules` until a signal comes; with `reload`, anew after each change of their files.

    Raises:
        ImportFailed: A module does not import.
        ConfigurationError: The database or the address to listen at cannot be used.
    """
    watch = Watch(folders_of(modules, Path.cwd()), Path.cwd()) if reload else None
    registry = _load(modules)
    database = DevDatabase()
    again = False
    try:
        if not os.environ.get(_RELOADED):
            migrate(database.conninfo)
        again = asyncio.run(_serve(Plan(database, registry, host, port, watch)))
    finally:
        if not again:
            database.leave()
    if again:
        _begin_anew()


def _load(modules: Sequence[str]) -> Registry | None:
    """Import the workflows. After a reload, code that does not import is shown, and None is returned."""
    try:
        return Registry.of(*sources.load(modules))
    except (ImportFailed, ZartError, typer.BadParameter) as error:
        if not os.environ.get(_RELOADED):
            raise
        reporting.show(problem_of(error))
        return None


async def _serve(plan: Plan) -> bool:
    """Serve until told to stop (False) or until the code has changed (True)."""
    with StopSignals(notice="stopping; Ctrl-C again stops at once", patience=_PATIENCE) as signals:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(plan.database.conninfo))
            api = await stack.enter_async_context(_api(plan, client))
            if plan.registry is not None:
                config = WorkerConfig(drain_timeout=_DRAIN)
                await stack.enter_async_context(Worker(client, plan.registry, config=config))
            _greet(plan, api)
            following = asyncio.create_task(Follower(client).follow(again=bool(os.environ.get(_RELOADED))))
            stack.callback(following.cancel)
            changed = await _stopped_or_changed(signals, plan.watch)
    return changed


@asynccontextmanager
async def _api(plan: Plan, client: Client) -> AsyncIterator[str | None]:
    """Serve the API and give its URL; None if it is not installed.

    Raises:
        ConfigurationError: It may not listen there, or cannot.
    """
    try:
        zart_api = load_api()
    except ConfigurationError as error:
        _log.warning("%s", error)
        yield None
        return
    stop = asyncio.Event()
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serve = zart_api.serve_async(
        plan.host, plan.port, stop=stop, client=client, on_ready=listening.set_result
    )
    serving = asyncio.create_task(serve)
    await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
    if not listening.done():
        await serving
    try:
        yield listening.result()
    finally:
        stop.set()
        await serving


async def _stopped_or_changed(signals: StopSignals, watch: Watch | None) -> bool:
    """Wait for a signal or, if files are watched, for a change; return whether it was a change."""
    stop = asyncio.create_task(signals.stopping.wait())
    change = asyncio.create_task(watch.changed()) if watch else None
    await asyncio.wait({stop, change} if change else {stop}, return_when=asyncio.FIRST_COMPLETED)
    if stop.done() or change is None:
        if change is not None:
            change.cancel()
        return False
    stop.cancel()
    _log.info("%s has changed: beginning anew", os.path.relpath(change.result()))
    return True


def _greet(plan: Plan, api: str | None) -> None:
    if plan.registry is None:
        _log.warning("no worker runs: waiting for the code to be mended")
    elif os.environ.get(_RELOADED):
        _log.info("ready again: %s", ", ".join(sorted({workflow.name for workflow in plan.registry})))
    else:
        database = plan.database
        name = target.without_passwords(database.url) if database.needs_naming else None
        shown = welcome(plan.registry, database=target.describe(database.url), api=api, name_database=name)
        terminal.draw(shown, sys.stderr)


def _begin_anew() -> NoReturn:
    """Become a fresh process with the same command line: no module of the old code survives."""
    os.environ[_RELOADED] = "1"
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - it is this very command
