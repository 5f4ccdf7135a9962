"""The client: start executions, find them, send them events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from psycopg_pool import AsyncConnectionPool

from zart_core import EventReceipt, Invocation, Page, RunSummary, UsageError, Workflow
from zart_core.spi import MISSING, Duration, ListOptions, check_id
from zart_scheduler.access import Access
from zart_scheduler.borrowed import Conn
from zart_scheduler.broadcasting import broadcast_event
from zart_scheduler.handle import Handle
from zart_scheduler.options import StartOptions
from zart_scheduler.pages import list_page
from zart_scheduler.sending import send_event
from zart_scheduler.starting import prepare_input, prepare_start, send_start
from zart_scheduler.store import workflows
from zart_scheduler.store.workflows import RegisteredWorkflow

R = TypeVar("R")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")
A5 = TypeVar("A5")


class Client:
    """Starts executions and talks to them: `async with Client() as client:`.

    It belongs to one event loop and needs no worker in its process; any number of tasks may share it. It keeps at
    most 10 connections, and one more that listens for results.

    Args:
        database_url: A PostgreSQL URL, or `embedded:` or `embedded:/dir` for the embedded server. Default:
            ZART_DATABASE_URL, else DATABASE_URL.
        pool: Use this open pool in place of one of the client's own; the client does not close it.

    Raises:
        ConfigurationError: There is no URL anywhere, or it is not one.
    """

    def __init__(
        self, database_url: str | None = None, *, pool: AsyncConnectionPool[Any] | None = None
    ) -> None:
        self._access = Access(database_url, pool)

    @property
    def conninfo(self) -> str:
        """What psycopg can connect to. It may hold a password."""
        return self._access.connections.conninfo

    async def open(self) -> None:
        """Connect; `async with` does it.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        await self._access.open()

    async def close(self) -> None:
        """End all waits for results and close all connections; `async with` does it."""
        await self._access.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @overload
    async def start(self, target: Invocation[R], /, **options: Unpack[StartOptions]) -> Handle[R]: ...
    @overload
    async def start(self, target: str, /, *args: Any, **options: Unpack[StartOptions]) -> Handle[Any]: ...
    @overload
    async def start(
        self, target: Callable[[], Awaitable[R]], /, **options: Unpack[StartOptions]
    ) -> Handle[R]: ...
    @overload
    async def start(
        self, target: Callable[[A1], Awaitable[R]], a1: A1, /, **options: Unpack[StartOptions]
    ) -> Handle[R]: ...
    @overload
    async def start(
        self, target: Callable[[A1, A2], Awaitable[R]], a1: A1, a2: A2, /, **options: Unpack[StartOptions]
    ) -> Handle[R]: ...
    @overload
    async def start(
        self,
        target: Callable[[A1, A2, A3], Awaitable[R]],
        a1: A1,
        a2: A2,
        a3: A3,
        /,
        **options: Unpack[StartOptions],
    ) -> Handle[R]: ...
    @overload
    async def start(
        self,
        target: Callable[[A1, A2, A3, A4], Awaitable[R]],
        a1: A1,
        a2: A2,
        a3: A3,
        a4: A4,
        /,
        **options: Unpack[StartOptions],
    ) -> Handle[R]: ...
    @overload
    async def start(
        self,
        target: Callable[[A1, A2, A3, A4, A5], Awaitable[R]],
        a1: A1,
        a2: A2,
        a3: A3,
        a4: A4,
        a5: A5,
        /,
        **options: Unpack[StartOptions],
    ) -> Handle[R]: ...
    async def start(self, target: Any, /, *args: Any, **options: Any) -> Handle[Any]:
        """Start an execution, once per id.

        The same id with the same workflow and input gives the existing execution, also one that has ended. With
        `conn=` the execution exists if and only if the caller's transaction commits; nothing raised here spoils it,
        except errors of the database itself.

        Args:
            target: A workflow; the invocation that `workflow.call(...)` or `call("name", ...)` gives, for keyword
                arguments; or the name of a workflow whose code is not at hand.
            args: The workflow's arguments, at most five with types checked. By name they are JSON or models.
            options: See `StartOptions`: execution_id, at, delay, queue, priority, tags, on_conflict, conn.

        Returns:
            The execution's handle; `existing` tells whether it was there before.

        Raises:
            PayloadInvalid: An argument does not have the declared shape; nothing was sent.
            TypeError: The workflow does not take these arguments.
            ExecutionConflict: The id is taken by another workflow or input; or it exists, with on_conflict="reject".
            UsageError: An option cannot be.
            ConfigurationError: `conn` is no connection in a transaction on this database.
            WorkflowNotFound: By name with positional arguments, which no worker has registered the names of.
            StoreUnavailable: The database cannot be reached.
        """
        request = await prepare_start(self._access, target, args, options)
        return await send_start(self._access, request, options.get("conn"))

    async def start_input(
        self,
        name: str,
        input: Any = MISSING,
        *,
        allow_unknown: bool = False,
        **options: Unpack[StartOptions],
    ) -> Handle[Any]:
        """Start a workflow by name with its input as people write it, checked against what workers have registered.

        Args:
            name: The workflow's name.
            input: JSON as Python reads it: the value of the workflow's only parameter, or an object by parameter
                name if it has several. Left out, the workflow's defaults stand.
            allow_unknown: Start it although no worker has registered it; the input is an object by parameter name
                then, and not checked.
            options: As `start` takes them.

        Raises:
            WorkflowNotFound: No worker has registered the name in this database; the error lists those that are.
            PayloadInvalid: The input does not fit; its `path` names the field, its `message` says why.
            ExecutionConflict: As `start` raises it, and the other errors of `start`.
        """
        request = await prepare_input(self._access, name, input, options, allow_unknown=allow_unknown)
        return await send_start(self._access, request, options.get("conn"))

    @overload
    def handle(self, execution_id: str, wf: Callable[..., Awaitable[R]]) -> Handle[R]: ...
    @overload
    def handle(self, execution_id: str, wf: None = None) -> Handle[Any]: ...
    def handle(self, execution_id: str, wf: Any = None) -> Handle[Any]:
        """Return the handle of an execution; whether it exists is found out at first use.

        Args:
            execution_id: The execution's id.
            wf: Its workflow, so that `result()` has its type. Without it the result is plain JSON.
        """
        if wf is not None and not isinstance(wf, Workflow):
            raise UsageError(f"a handle takes a workflow made by @durable, not {wf!r}")
        return Handle(self._access, execution_id, wf)

    async def send_event(
        self,
        execution_id: str,
        name: str,
        payload: Any = None,
        *,
        idempotency_key: str | None = None,
        conn: Conn | None = None,
    ) -> EventReceipt:
        """Send an event to an execution. Accepted means recorded; it waits for its wait, if there is none yet.

        Args:
            execution_id: Who gets it.
            name: The event's name, 1 to 255 characters.
            payload: JSON, a pydantic model or a dataclass.
            idempotency_key: An event with a key is accepted once per execution, however often it is sent.
            conn: A psycopg or SQLAlchemy connection, or a session, in a transaction: the event is sent if and only
                if that commits. The
                execution's row of work stays locked until then, so end the transaction soon.

        Raises:
            ExecutionNotFound: There is no such execution.
            RunFinished: It has ended.
            StoreConflict: The key was used before with another name or payload.
            PayloadInvalid: The payload cannot be written as JSON.
            PayloadTooLarge: It takes more than 16 MiB.
            StoreUnavailable: The database cannot be reached; without a key the event may have been accepted.
        """
        check_id("an execution's id", execution_id, tilde=True)
        return await send_event(
            self._access, execution_id, name, payload, idempotency_key=idempotency_key, conn=conn
        )

    async def broadcast_event(
        self,
        name: str,
        payload: Any = None,
        *,
        key: str,
        retain: Duration | None = None,
        idempotency_key: str | None = None,
        conn: Conn | None = None,
    ) -> EventReceipt:
        """Send an event to all executions that wait for it by this key: `wait_for_event(name, key=key)`.

        Every wait that is open when the event is committed gets it. Waits for the name without a key do not.

        Args:
            name: The event's name, 1 to 255 characters.
            payload: JSON, a pydantic model or a dataclass.
            key: What the waits name too, 1 to 255 characters, such as the number of an order.
            retain: For how long later waits take it as well, once per execution. Default: not at all.
            idempotency_key: An event with a key is accepted once per name and `key`, however often it is sent.
            conn: As for `send_event`: the event is sent if and only if that transaction commits. It reaches the
                waits when a worker finds it, in about a second.

        Returns:
            The receipt; `matched` is how many waits had the event when this returned, 0 with `conn`. If it is less than
            all, because their runs were busy, a worker goes on with it.

        Raises:
            StoreConflict: The idempotency key was used before for this name and key, with another payload.
            PayloadInvalid: The payload cannot be written as JSON.
            PayloadTooLarge: It takes more than 16 MiB.
            UsageError: The name or a key cannot be.
            StoreUnavailable: The database cannot be reached; without an idempotency key it may have been accepted.
        """
        return await broadcast_event(
            self._access, name, payload, key=key, retain=retain, idempotency_key=idempotency_key, conn=conn
        )

    async def list_runs(self, **options: Unpack[ListOptions]) -> Page[RunSummary]:
        """List runs, newest first.

        Args:
            options: See `ListOptions`: state, workflow, tags, since, until, queue, search, all_runs, limit, cursor.

        Returns:
            One page; give its `next_cursor` as `cursor` to get the next.

        Raises:
            UsageError: A filter or the cursor cannot be.
        """
        return await list_page(self._access, options)

    async def workflows(self) -> list[RegisteredWorkflow]:
        """List the workflows that workers have registered in this database, one item per version."""
        return await self._access.read(workflows.list_all())
