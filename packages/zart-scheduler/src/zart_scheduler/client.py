"""The client: start executions, find them, send them events."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar, Unpack, overload
from uuid import UUID

from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool

from zart_core import EventReceipt, Invocation, Page, RunState, RunSummary, UsageError, Workflow, WorkflowNotFound
from zart_core.spi import MISSING
from zart_scheduler.access import Access
from zart_scheduler.answers import existed
from zart_scheduler.checking import stored_input, unchecked_input
from zart_scheduler.handle import Handle
from zart_scheduler.limits import aware, check_id, check_tags
from zart_scheduler.payloads import encode_plain
from zart_scheduler.sending import send_event
from zart_scheduler.starting import StartOptions, StartRequest, invocation_of, named_arguments, start_request
from zart_scheduler.store import reads, workflows
from zart_scheduler.store.executions import Started
from zart_scheduler.store.workflows import RegisteredWorkflow

R = TypeVar("R")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")
A5 = TypeVar("A5")

MAX_PAGE = 1000
"""Most runs of one page."""


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

    def __init__(self, database_url: str | None = None, *, pool: AsyncConnectionPool[Any] | None = None) -> None:
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

    async def __aenter__(self) -> Client:
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
    async def start(self, target: Callable[[], Awaitable[R]], /, **options: Unpack[StartOptions]) -> Handle[R]: ...
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
            ConfigurationError: `conn` is no psycopg connection in a transaction on this database.
            WorkflowNotFound: By name with positional arguments, which no worker has registered the names of.
            StoreUnavailable: The database cannot be reached.
        """
        request = await self._prepare(invocation_of(target, args), options)
        return self._handle_of(request, await self._access.change(request.statement, options.get("conn")))

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
        found = await self._access.read(workflows.get(name))
        if found is None and not allow_unknown:
            raise WorkflowNotFound(name, await self._registered_names())
        stored = unchecked_input(input) if found is None else stored_input(found, input)
        request = start_request(name, stored, options)
        return self._handle_of(request, await self._access.change(request.statement, options.get("conn")))

    @overload
    def handle(self, execution_id: str, workflow: Callable[..., Awaitable[R]]) -> Handle[R]: ...
    @overload
    def handle(self, execution_id: str, workflow: None = None) -> Handle[Any]: ...
    def handle(self, execution_id: str, workflow: Any = None) -> Handle[Any]:
        """Return the handle of an execution; whether it exists is found out at first use.

        Args:
            execution_id: The execution's id.
            workflow: Its workflow, so that `result()` has its type. Without it the result is plain JSON.
        """
        if workflow is not None and not isinstance(workflow, Workflow):
            raise UsageError(f"a handle takes a workflow made by @durable, not {workflow!r}")
        return Handle(self._access, execution_id, workflow)

    async def send_event(
        self,
        execution_id: str,
        name: str,
        payload: Any = None,
        *,
        idempotency_key: str | None = None,
        conn: AsyncConnection[Any] | Connection[Any] | None = None,
    ) -> EventReceipt:
        """Send an event to an execution. Accepted means recorded; it waits for its wait, if there is none yet.

        Args:
            execution_id: Who gets it.
            name: The event's name, 1 to 255 characters.
            payload: JSON, a pydantic model or a dataclass.
            idempotency_key: An event with a key is accepted once per execution, however often it is sent.
            conn: A psycopg connection in a transaction: the event is sent if and only if that commits. The
                execution's row of work stays locked until then, so end the transaction soon.

        Raises:
            ExecutionNotFound: There is no such execution.
            RunFinished: It has ended.
            StoreConflict: The key was used before with another name or payload.
            PayloadInvalid: The payload cannot be written as JSON.
            StoreUnavailable: The database cannot be reached; without a key the event may have been accepted.
        """
        check_id("an execution's id", execution_id, tilde=True)
        return await send_event(
            self._access, execution_id, name, payload, idempotency_key=idempotency_key, conn=conn
        )

    async def list_runs(
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
        """List runs, newest first.

        Args:
            state: Only runs in this state.
            workflow: Only runs of this workflow.
            tags: Only executions that have all of these tags.
            since: Only runs made at this moment or later; an aware datetime.
            until: Only runs made before this moment; an aware datetime.
            queue: Only runs of this queue.
            search: Only runs with this text in the execution's id or the workflow's name, in any case.
            all_runs: All runs of an execution, not only its current one.
            limit: Runs of one page, 1 to 1000.
            cursor: `next_cursor` of the page before.

        Raises:
            UsageError: A filter or the cursor cannot be.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
            raise UsageError(f"limit must be a whole number from 1 to {MAX_PAGE}, not {limit!r}")
        wanted = reads.RunFilter(
            state=_state(state),
            workflow=workflow,
            tags=None if tags is None else check_tags(tags),
            since=None if since is None else aware("since", since),
            until=None if until is None else aware("until", until),
            queue=queue,
            search=search,
            all_runs=all_runs,
        )
        found = await self._access.read(reads.list_runs(wanted, limit + 1, None if cursor is None else _parse(cursor)))
        return Page(found[:limit], _cursor(found[limit - 1]) if len(found) > limit else None)

    async def workflows(self) -> list[RegisteredWorkflow]:
        """List the workflows that workers have registered in this database, one item per version."""
        return list(await self._access.read(workflows.list_all()))

    async def _prepare(self, invocation: Invocation[Any], options: Mapping[str, Any]) -> StartRequest:
        target = invocation.workflow
        if isinstance(target, Workflow):
            stored = target.parameters.encode(invocation.args, invocation.kwargs)
        else:
            names = await self._parameters(target) if invocation.args else ()
            named = named_arguments(target, names, invocation.args, invocation.kwargs)
            stored = encode_plain(named, f"input of workflow {target!r}")
        return start_request(target, stored, options)

    def _handle_of(self, request: StartRequest, answer: Started) -> Handle[Any]:
        existing = existed(request, answer)
        return Handle(self._access, request.execution_id, request.definition, existing=existing)

    async def _parameters(self, name: str) -> Sequence[str]:
        found = await self._access.read(workflows.get(name))
        if found is None:
            raise WorkflowNotFound(name, await self._registered_names())
        return found.parameters

    async def _registered_names(self) -> set[str]:
        return {found.workflow for found in await self._access.read(workflows.list_all())}


def _state(state: RunState | str | None) -> RunState | None:
    try:
        return None if state is None else RunState(state)
    except ValueError:
        raise UsageError(f"no such state: {state!r}; the states are {', '.join(RunState)}") from None


def _cursor(last: RunSummary) -> str:
    text = json.dumps([last.created_at.isoformat(), last.run_id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse(cursor: str) -> tuple[datetime, UUID]:
    try:
        created_at, run_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return aware("cursor", datetime.fromisoformat(created_at)), UUID(run_id)
    except (ValueError, TypeError, AttributeError, binascii.Error, UsageError):
        raise UsageError(f"the cursor {cursor[:80]!r} is none that a list has given; begin without one") from None
