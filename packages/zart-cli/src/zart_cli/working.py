"""What `zart worker` does: wait for the database, work until told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from types import ModuleType

from zart_cli import target
from zart_cli.readyfile import ReadyFile
from zart_cli.signals import StopSignals
from zart_cli.waiting import database_ready
from zart_scheduler import Client, Worker, WorkerConfig
from zart_scheduler.migrate import check_schema

_log = logging.getLogger("zart.worker")


async def work(url: str, modules: Sequence[ModuleType], config: WorkerConfig, file: ReadyFile) -> None:
    """Run a worker for the workflows of `modules`; `file` is there while it is ready.

    Raises:
        SchemaOutOfDate: The database is there, but has another schema than this release needs.
    """
    with StopSignals() as signals:
        if not await _until_ready_or_stopped(url, signals):
            return
    async with Client(target.libpq_url(url)) as client:
        working = Worker(client, *modules, config=config)
        run = asyncio.create_task(working.run())
        ready = asyncio.create_task(working.ready())
        await asyncio.wait({run, ready}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and ready.exception() is None and not run.done():
            names = ", ".join(sorted({workflow.name for workflow in working.registry}))
            _log.info("ready for %s; queues: %s", names, ", ".join(config.queues))
            file.write()
        ready.cancel()
        await run
    _log.info("stopped")


async def _until_ready_or_stopped(url: str, signals: StopSignals) -> bool:
    """Wait for the database; False if told to stop before it came."""
    waiting = asyncio.create_task(database_ready(lambda: check_schema(target.libpq_url(url)), url))
    stopping = asyncio.create_task(signals.stopping.wait())
    await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not waiting.done():
        waiting.cancel()
        return False
    await waiting
    return True
