"""The worker: claims runs of the workflows that it knows and keeps them going, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from types import TracebackType
from typing import Any, Self

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from zart_core import ConfigurationError, Registry, StoreUnavailable, UsageError
from zart_scheduler.checkpoint import Fenced
from zart_scheduler.client import Client
from zart_scheduler.config import WorkerConfig
from zart_scheduler.database import store_errors
from zart_scheduler.incarnation import Incarnation
from zart_scheduler.lease import notice_dead_peers
from zart_scheduler.migrate import check_schema
from zart_scheduler.store import workflows
from zart_scheduler.store.statement import run as execute
from zart_scheduler.wake import READY, listen

log = logging.getLogger("zart")

RETRY_PAUSE = 1.0
"""Seconds before a worker tries to begin again after it lost the database."""


class Worker:
    """Runs workflows: `await Worker(client, "my_app.workflows").run()`.

    Args:
        client: An open client; the worker uses its database, with connections of its own.
        *sources: Workflows, modules, names of modules, or registries.
        config: Its settings.

    Raises:
        ConfigurationError: A source holds no workflow.
        DuplicateName: Two workflows or steps share a name.
    """

    def __init__(self, client: Client, *sources: Any, config: WorkerConfig | None = None) -> None:
        if not sources:
            raise ConfigurationError("a worker needs at least one workflow, module or registry to run")
        self.registry = Registry.of(*sources)
        self.config = config or WorkerConfig()
        self._conninfo = client.conninfo
        self._incarnation: Incarnation | None = None
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: asyncio.Event | None = None
        self._embedded: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Work until SIGTERM, SIGINT or `stop()`; then finish running steps and hand everything back.

        A second signal gives running steps no more time.

        Raises:
            SchemaOutOfDate: The database has no schema, or another one.
            StoreUnavailable: The database cannot be reached at the start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        try:
            await self._work()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def ready(self) -> None:
        """Wait until the worker has registered itself and looked for work once."""
        await self._ready_event().wait()

    def stop(self) -> None:
        """Begin a graceful stop. May be called at any time, again, and from any thread."""
        self._stopping = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped already
                self._loop.call_soon_threadsafe(self._drain)

    def _signalled(self) -> None:
        if self._stopping and self._incarnation is not None:
            self._incarnation.hurry()
        else:
            self.stop()

    def _drain(self) -> None:
        if self._incarnation is not None:
            self._incarnation.drain()

    async def __aenter__(self) -> Self:
        """Work in the background of this event loop, without signal handlers."""
        self._embedded = asyncio.create_task(self._work(), name="zart-worker")
        waiting = asyncio.create_task(self.ready())
        try:
            await asyncio.wait([self._embedded, waiting], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._embedded.cancel()
            raise
        finally:
            waiting.cancel()
        if self._embedded.done():
            self._embedded.result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop gracefully."""
        self.stop()
        if self._embedded is not None:
            await self._embedded

    def _ready_event(self) -> asyncio.Event:
        if self._ready is None:
            self._ready = asyncio.Event()
        return self._ready

    async def _work(self) -> None:
        if self._loop is not None:
            raise UsageError("this worker runs already, or has run: make another one")
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(check_schema, self._conninfo)
        pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
            self._conninfo,
            kwargs={
                "autocommit": True,
                "prepare_threshold": None,
                "application_name": "zart-worker",
                **notice_dead_peers(self.config.lease_seconds),
            },
            min_size=1,
            max_size=max(self.config.connections - self.config.step_connections, 1),
            open=False,
            name="zart-worker",
        )
        async with pool:
            await self._register_workflows(pool)
            hints = asyncio.create_task(listen(self._conninfo, READY, self._hinted), name="zart-listen")
            try:
                while not self._stopping:
                    await self._live(pool)
            finally:
                hints.cancel()
                await asyncio.gather(hints, return_exceptions=True)

    async def _live(self, pool: AsyncConnectionPool[AsyncConnection[Any]]) -> None:
        """Work for one incarnation; one that loses its lease or its database is followed by another."""
        incarnation = self._incarnation = Incarnation(self._conninfo, pool, self.registry, self.config)
        incarnation.on_ready = self._ready_event().set
        try:
            with store_errors():
                if self._stopping:
                    incarnation.drain()
                await incarnation.run()
        except Fenced as reason:
            log.warning("this worker has lost its lease (%s); it starts again with empty hands", reason)
        except StoreUnavailable as error:
            log.warning("%s; the worker tries again", error)
            await asyncio.sleep(RETRY_PAUSE)

    async def _register_workflows(self, pool: AsyncConnectionPool[AsyncConnection[Any]]) -> None:
        with store_errors():
            async with pool.connection() as connection:
                for workflow in self.registry:
                    parameters = workflow.parameters
                    await execute(
                        connection,
                        workflows.upsert(
                            workflow.name,
                            workflow.version,
                            parameters=parameters.names,
                            required=parameters.required,
                            input_schema=workflow.input_schema(),
                            result_schema=workflow.result_schema(),
                            current=workflow.current,
                            queue=workflow.queue,
                            priority=workflow.priority,
                            on_failure=workflow.on_failure is not None,
                            on_cancel=workflow.on_cancel is not None,
                            max_crashes=workflow.max_crashes,
                        ),
                    )

    def _hinted(self) -> None:
        if self._incarnation is not None:
            self._incarnation.wake()
