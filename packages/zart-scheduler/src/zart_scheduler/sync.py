"""The same client for programs without an event loop: every call blocks until it is done.

A loop on a thread of its own does the work, so that it may also be called from a thread that runs another loop; it
blocks that loop for as long, but cannot wait for itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack, overload

from zart_core import (
    EventReceipt,
    ExecutionDetails,
    ExecutionTree,
    Invocation,
    Page,
    PublishedValue,
    RunState,
    RunSummary,
    UsageError,
    Workflow,
)
from zart_core.spi import MISSING, Duration, ListOptions, PlainOptions, StartRequest, receipt
from zart_scheduler.access import Access
from zart_scheduler.background import Background
from zart_scheduler.borrowed import SyncConn
from zart_scheduler.broadcasting import (
    broadcast_event,
    broadcast_receipt,
    broadcast_statement,
    check_answer,
)
from zart_scheduler.handle import Handle
from zart_scheduler.options import SyncStartOptions
from zart_scheduler.pages import list_page
from zart_scheduler.sending import event_statement
from zart_scheduler.starting import handle_of, prepare_input, prepare_start, send_start, statement_of
from zart_scheduler.store import workflows
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
        self._access = Access(database_url, None)
        self._background = Background()

    @property
    def conninfo(self) -> str:
        """What psycopg can connect to. It may hold a password."""
        return self._access.connections.conninfo

    def open(self) -> None:
        """Connect; `with` does it.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        self._background.start()
        try:
            self._background.call(self._access.open())
        except BaseException:
            self._background.stop()
            raise

    def close(self) -> None:
        """End all waits for results and close all connections; `with` does it."""
        try:
            self._background.call(self._access.close())
        finally:
            self._background.stop()

    def __enter__(self) -> Self:
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
        """Start an execution, once per id. See `Client.start`; `conn` is used in the caller's own thread."""
        request = self._background.call(prepare_start(self._access, target, args, {**options, "conn": conn}))
        return self._send(request, conn)

    def start_input(
        self,
        name: str,
        input: Any = MISSING,
        *,
        allow_unknown: bool = False,
        conn: SyncConn | None = None,
        **options: Unpack[PlainOptions],
    ) -> SyncHandle[Any]:
        """Start a workflow by name with its input as people write it. See `Client.start_input`."""
        given = {**options, "conn": conn}
        preparing = prepare_input(self._access, name, input, given, allow_unknown=allow_unknown)
        return self._send(self._background.call(preparing), conn)

    @overload
    def handle(self, execution_id: str, wf: Callable[..., Awaitable[R]]) -> SyncHandle[R]: ...
    @overload
    def handle(self, execution_id: str, wf: None = None) -> SyncHandle[Any]: ...
    def handle(self, execution_id: str, wf: Any = None) -> SyncHandle[Any]:
        """Return the handle of an execution. See `Client.handle`."""
        if wf is not None and not isinstance(wf, Workflow):
            raise UsageError(f"a handle takes a workflow made by @durable, not {wf!r}")
        return self._handle(Handle(self._access, execution_id, wf))

    def send_event(
        self,
        execution_id: str,
        name: str,
        payload: Any = None,
        *,
        idempotency_key: str | None = None,
        conn: SyncConn | None = None,
    ) -> EventReceipt:
        """Send an event to an execution. See `Client.send_event`; `conn` is used in the caller's own thread."""
        return self.handle(execution_id).send_event(name, payload, idempotency_key=idempotency_key, conn=conn)

    def broadcast_event(
        self,
        name: str,
        payload: Any = None,
        *,
        key: str,
        retain: Duration | None = None,
        idempotency_key: str | None = None,
        conn: SyncConn | None = None,
    ) -> EventReceipt:
        """Send an event to all who wait for it by this key. See `Client.broadcast_event`."""
        if conn is None:
            sending = broadcast_event(
                self._access,
                name,
                payload,
                key=key,
                retain=retain,
                idempotency_key=idempotency_key,
                conn=None,
            )
            return self._background.call(sending)
        answer = self._run_in(
            conn,
            broadcast_statement(
                name, payload, key=key, retain=retain, idempotency_key=idempotency_key, alone=False
            ),
        )
        check_answer(name, key, answer)
        return broadcast_receipt(answer, 0)

    def list_runs(self, **options: Unpack[ListOptions]) -> Page[RunSummary]:
        """List runs, newest first. See `Client.list_runs`."""
        return self._background.call(list_page(self._access, options))

    def workflows(self) -> list[RegisteredWorkflow]:
        """List the workflows that workers have registered in this database."""
        return self._background.call(self._access.read(workflows.list_all()))

    def _send(self, request: StartRequest, conn: object) -> SyncHandle[Any]:
        if conn is None:
            return self._handle(self._background.call(send_start(self._access, request, None)))
        return self._handle(
            handle_of(self._access, request, self._run_in(conn, statement_of(request, in_callers=True)))
        )

    def _handle(self, handle: Handle[R]) -> SyncHandle[R]:
        return SyncHandle(handle, self._background, self._run_in)

    def _run_in(self, conn: object, statement: Statement[T]) -> T:
        """Run `statement` in the transaction of `conn`, in this thread."""
        callers = self._access.callers
        return callers.run_sync(
            conn, statement, lambda *, fresh: self._background.call(callers.home(fresh=fresh))
        )


class SyncHandle(Generic[R]):
    """One execution, found by its id. As `Handle`, blocking."""

    __slots__ = ("_background", "_handle", "_run_in")

    def __init__(
        self, handle: Handle[R], background: Background, run_in: Callable[[object, Statement[Any]], Any]
    ) -> None:
        self._handle, self._background, self._run_in = handle, background, run_in

    @property
    def execution_id(self) -> str:
        """The execution's id."""
        return self._handle.execution_id

    @property
    def existing(self) -> bool | None:
        """After a start, whether the execution was there before it; else None."""
        return self._handle.existing

    def result(self, timeout: Duration | None = None) -> R:
        """Wait for the execution to finish and return what its workflow returned. See `Handle.result`."""
        return self._background.call(self._handle.result(timeout))

    def status(self) -> RunState:
        """Return what the execution's current run does."""
        return self._background.call(self._handle.status())

    def describe(self) -> ExecutionDetails:
        """Return all that is known of the execution and its current run."""
        return self._background.call(self._handle.describe())

    def runs(self) -> list[RunSummary]:
        """Return all runs of the execution, oldest first."""
        return self._background.call(self._handle.runs())

    def tree(self) -> ExecutionTree:
        """Return the execution's current run and those of all its descendants."""
        return self._background.call(self._handle.tree())

    def send_event(
        self,
        name: str,
        payload: Any = None,
        *,
        idempotency_key: str | None = None,
        conn: SyncConn | None = None,
    ) -> EventReceipt:
        """Send an event to the execution. See `Client.send_event`; `conn` is used in the caller's own thread."""
        if conn is None:
            return self._background.call(
                self._handle.send_event(name, payload, idempotency_key=idempotency_key)
            )
        statement = event_statement(self.execution_id, name, payload, idempotency_key)
        return receipt(self.execution_id, name, self._run_in(conn, statement))

    def state(self, key: str) -> Any:
        """Return the latest value that the current run has published as `key`. See `Handle.state`."""
        return self._background.call(self._handle.state(key))

    def published(self, key: str) -> PublishedValue | None:
        """Return the same with its time. See `Handle.published`."""
        return self._background.call(self._handle.published(key))

    def cancel(self, reason: str | None = None) -> RunState:
        """Cancel the execution: no new step begins. See `Handle.cancel`."""
        return self._background.call(self._handle.cancel(reason))

    def unblock(
        self,
        *,
        accept: str | None = None,
        reset: str | None = None,
        reason: str | None = None,
        actor: str | None = None,
    ) -> RunState:
        """Let a blocked execution try again. See `Handle.unblock`."""
        return self._background.call(
            self._handle.unblock(accept=accept, reset=reset, reason=reason, actor=actor)
        )

    def restart(
        self,
        invocation: Invocation[R] | None = None,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Self:
        """Begin again from scratch with a new run. See `Handle.restart`."""
        self._do(self._handle.restart(invocation, reason=reason, idempotency_key=idempotency_key))
        return self

    def rerun(
        self,
        *,
        steps: str | Iterable[str] | None = None,
        keep: str | Iterable[str] | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        warn: bool = True,
    ) -> Self:
        """Run some steps again, in a new run that keeps the others. See `Handle.rerun`."""
        self._do(
            self._handle.rerun(
                steps=steps, keep=keep, reason=reason, idempotency_key=idempotency_key, warn=warn
            )
        )
        return self

    @property
    def doubtful(self) -> tuple[str, ...]:
        """After a rerun, the names of kept steps that came after one that runs again."""
        return self._handle.doubtful

    @property
    def replayed(self) -> bool:
        """After an action with an idempotency key, whether it was done before."""
        return self._handle.replayed

    def fork(
        self,
        *,
        from_step: str,
        execution_id: str | None = None,
        input: Any = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> SyncHandle[R]:
        """Start another execution that has done what this one did before a step. See `Handle.fork`."""
        forked = self._handle.fork(
            from_step=from_step,
            execution_id=execution_id,
            input=input,
            reason=reason,
            idempotency_key=idempotency_key,
        )
        return SyncHandle(self._do(forked), self._background, self._run_in)

    def retry_step(
        self, name: str | None = None, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> Self:
        """Open a failed run again for one more try of its failed step. See `Handle.retry_step`."""
        self._do(self._handle.retry_step(name, reason=reason, idempotency_key=idempotency_key))
        return self

    def _do(self, action: Coroutine[Any, Any, T]) -> T:
        return self._background.call(action)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.execution_id!r}>"
