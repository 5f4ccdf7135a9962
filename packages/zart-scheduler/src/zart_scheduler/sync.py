"""The same client for programs without an event loop: every call blocks until it is done.

A loop on a thread of its own does the work, so that it may also be called from a thread that runs another loop; it
blocks that loop for as long, but cannot wait for itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, TypeVar, Unpack, overload

from psycopg import Connection

from zart_core import (
    ConfigurationError,
    EventReceipt,
    ExecutionDetails,
    Invocation,
    Page,
    RunState,
    RunSummary,
    UsageError,
)
from zart_core.spi import MISSING, Duration
from zart_scheduler.access import Access
from zart_scheduler.answers import existed, receipt
from zart_scheduler.client import Client
from zart_scheduler.handle import Handle
from zart_scheduler.sending import event_statement
from zart_scheduler.starting import PlainOptions, StartRequest, SyncStartOptions, invocation_of
from zart_scheduler.store.statement import Statement
from zart_scheduler.store.workflows import RegisteredWorkflow

R = TypeVar("R")
T = TypeVar("T")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")
A5 = TypeVar("A5")


class SyncClient:
    """Starts executions and talks to them, blocking: `with SyncClient() as client:`. May be shared by threads.

    Args:
        database_url: As for `Client`.

    Raises:
        ConfigurationError: There is no URL anywhere, or it is not one.
    """

    def __init__(self, database_url: str | None = None) -> None:
        self._client = Client(database_url)
        self._background = _Background()

    @property
    def conninfo(self) -> str:
        """What psycopg can connect to. It may hold a password."""
        return self._client.conninfo

    def open(self) -> None:
        """Connect; `with` does it.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        self._background.start()
        try:
            self._background.call(self._client.open())
        except BaseException:
            self._background.stop()
            raise

    def close(self) -> None:
        """End all waits for results and close all connections; `with` does it."""
        try:
            self._background.call(self._client.close())
        finally:
            self._background.stop()

    def __enter__(self) -> SyncClient:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @overload
    def start(self, target: Invocation[R], /, **options: Unpack[SyncStartOptions]) -> SyncHandle[R]: ...
    @overload
    def start(self, target: str, /, *args: Any, **options: Unpack[SyncStartOptions]) -> SyncHandle[Any]: ...
    @overload
    def start(
        self, target: Callable[[], Awaitable[R]], /, **options: Unpack[SyncStartOptions]
    ) -> SyncHandle[R]: ...
    @overload
    def start(
        self, target: Callable[[A1], Awaitable[R]], a1: A1, /, **options: Unpack[SyncStartOptions]
    ) -> SyncHandle[R]: ...
    @overload
    def start(
        self, target: Callable[[A1, A2], Awaitable[R]], a1: A1, a2: A2, /, **options: Unpack[SyncStartOptions]
    ) -> SyncHandle[R]: ...
    @overload
    def start(
        self,
        target: Callable[[A1, A2, A3], Awaitable[R]],
        a1: A1,
        a2: A2,
        a3: A3,
        /,
        **options: Unpack[SyncStartOptions],
    ) -> SyncHandle[R]: ...
    @overload
    def start(
        self,
        target: Callable[[A1, A2, A3, A4], Awaitable[R]],
        a1: A1,
        a2: A2,
        a3: A3,
        a4: A4,
        /,
        **options: Unpack[SyncStartOptions],
    ) -> SyncHandle[R]: ...
    @overload
    def start(
        self,
        target: Callable[[A1, A2, A3, A4, A5], Awaitable[R]],
        a1: A1,
        a2: A2,
        a3: A3,
        a4: A4,
        a5: A5,
        /,
        **options: Unpack[SyncStartOptions],
    ) -> SyncHandle[R]: ...
    def start(self, target: Any, /, *args: Any, conn: Any = None, **options: Any) -> SyncHandle[Any]:
        """Start an execution, once per id. See `Client.start`; `conn` is a psycopg `Connection`."""
        if conn is None:
            return self._handle(self._background.call(self._client.start(target, *args, **options)))
        request = self._background.call(self._client.prepare(invocation_of(target, args), options))
        existing = existed(request, self._run_in(conn, request.statement))
        return self._handle(self._client.handle_of(request, existing=existing))

    def start_input(
        self, name: str, input: Any = MISSING, *, allow_unknown: bool = False, **options: Unpack[PlainOptions]
    ) -> SyncHandle[Any]:
        """Start a workflow by name with its input as people write it. See `Client.start_input`."""
        starting = self._client.start_input(name, input, allow_unknown=allow_unknown, **options)
        return self._handle(self._background.call(starting))

    @overload
    def handle(self, execution_id: str, workflow: Callable[..., Awaitable[R]]) -> SyncHandle[R]: ...
    @overload
    def handle(self, execution_id: str, workflow: None = None) -> SyncHandle[Any]: ...
    def handle(self, execution_id: str, workflow: Any = None) -> SyncHandle[Any]:
        """Return the handle of an execution. See `Client.handle`."""
        return self._handle(self._client.handle(execution_id, workflow))

    def send_event(
        self,
        execution_id: str,
        name: str,
        payload: Any = None,
        *,
        idempotency_key: str | None = None,
        conn: Connection[Any] | None = None,
    ) -> EventReceipt:
        """Send an event to an execution. See `Client.send_event`; `conn` is used in the caller's own thread."""
        if conn is None:
            return self._background.call(
                self._client.send_event(execution_id, name, payload, idempotency_key=idempotency_key)
            )
        statement = event_statement(execution_id, name, payload, idempotency_key)
        return receipt(execution_id, name, self._run_in(conn, statement))

    def list_runs(
        self,
        *,
        state: RunState | str | None = None,
        workflow: str | None = None,
        tags: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        queue: str | None = None,
        search: str | None = None,
        all_runs: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[RunSummary]:
        """List runs, newest first. See `Client.list_runs`."""
        listing = self._client.list_runs(
            state=state,
            workflow=workflow,
            tags=tags,
            since=since,
            until=until,
            queue=queue,
            search=search,
            all_runs=all_runs,
            limit=limit,
            cursor=cursor,
        )
        return self._background.call(listing)

    def workflows(self) -> list[RegisteredWorkflow]:
        """List the workflows that workers have registered in this database."""
        return self._background.call(self._client.workflows())

    def _handle(self, handle: Handle[R]) -> SyncHandle[R]:
        return SyncHandle(self, handle)

    def _run_in(self, conn: object, statement: Statement[T]) -> T:
        """Run `statement` in the transaction of `conn`, in this thread."""
        if not isinstance(conn, Connection):
            raise ConfigurationError(f"SyncClient takes a psycopg Connection as `conn`, not {type(conn).__qualname__}")
        return callers.run_sync(conn, statement, self._background.call(callers.home()))
