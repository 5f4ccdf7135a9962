"""One execution, seen from outside."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from zart_core import (
    EventReceipt,
    ExecutionDetails,
    ExecutionNotFound,
    ExecutionTree,
    PublishedValue,
    RunState,
    RunSummary,
    WaitTimeout,
    Workflow,
)
from zart_core.spi import Duration, seconds
from zart_scheduler.access import Access
from zart_scheduler.answers import cancelled
from zart_scheduler.borrowed import Conn
from zart_scheduler.details import execution_tree
from zart_scheduler.limits import check_id, check_reason, check_word
from zart_scheduler.payloads import plain
from zart_scheduler.results import result_of
from zart_scheduler.sending import send_event
from zart_scheduler.store import executions, reads
from zart_scheduler.unblocking import unblock

R = TypeVar("R")


class Handle(Generic[R]):
    """One execution, found by its id. Made by a client; cheap, and valid as long as the client is open.

    Attributes:
        execution_id: The execution's id.
        existing: After a start, whether the execution was there before it; None on a handle made by `handle()`.
    """

    __slots__ = ("_access", "_workflow", "execution_id", "existing")

    def __init__(
        self,
        access: Access,
        execution_id: str,
        workflow: Workflow[Any, R] | None = None,
        *,
        existing: bool | None = None,
    ) -> None:
        self._access, self._workflow = access, workflow
        self.execution_id = check_id("an execution's id", execution_id, tilde=True)
        self.existing = existing

    async def result(self, timeout: Duration | None = None) -> R:
        """Wait for the execution to finish and return what its workflow returned.

        With the workflow at hand the value has its result's type, else it is plain JSON. If the run is replaced
        by another one meanwhile, that one's result counts. The wait outlasts an outage of the database of 30 seconds.

        Args:
            timeout: Longest wait; seconds, `timedelta` or text such as "90s". None waits without limit, 0 looks once.
                The execution itself is not affected.

        Raises:
            ExecutionFailed: The workflow raised; the original type, message and traceback are on it.
            ExecutionCancelled: Someone cancelled it.
            ExecutionBlocked: The engine refuses to guess how it goes on; a person has to look.
            ExecutionNotFound: There is no such execution, or its start has not been committed yet.
            WaitTimeout: `timeout` passed first.
            PayloadInvalid: The result does not have the shape that the workflow declares.
        """
        limit = None if timeout is None else seconds(timeout, what="timeout")
        ending = await self._access.ending(self.execution_id, limit)
        if ending is None:
            raise WaitTimeout(self.execution_id, limit or 0.0)
        return cast("R", result_of(ending, self._workflow.result_codec() if self._workflow else None))

    async def status(self) -> RunState:
        """Return what the execution's current run does.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        state = await self._access.read(reads.get_state(self.execution_id))
        if state is None:
            raise ExecutionNotFound(self.execution_id)
        return state

    async def describe(self) -> ExecutionDetails:
        """Return all that is known of the execution and its current run, as of one moment. Payloads are plain JSON.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        return await self._access.details(self.execution_id)

    async def runs(self) -> list[RunSummary]:
        """Return all runs of the execution, oldest first.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        found = await self._access.read(reads.list_runs_of_execution(self.execution_id))
        if not found:
            raise ExecutionNotFound(self.execution_id)
        return list(found)

    async def tree(self) -> ExecutionTree:
        """Return the execution's current run and, level by level, those of the children that it has started.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        found = await self._access.read(reads.list_tree(self.execution_id))
        if not found:
            raise ExecutionNotFound(self.execution_id)
        return execution_tree(found)

    async def send_event(
        self,
        name: str,
        payload: Any = None,
        *,
        idempotency_key: str | None = None,
        conn: Conn | None = None,
    ) -> EventReceipt:
        """Send an event to the execution. See `Client.send_event`."""
        return await send_event(
            self._access, self.execution_id, name, payload, idempotency_key=idempotency_key, conn=conn
        )

    async def state(self, key: str) -> Any:
        """Return the latest value that the current run has published as `key`, as plain JSON.

        Args:
            key: The name that the body gave to `publish`.

        Returns:
            The value; None if the run has not published any by that name.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        found = await self.published(key)
        return None if found is None else found.value

    async def published(self, key: str) -> PublishedValue | None:
        """Return the same with its time; None if the run has not published any by that name.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        row = await self._access.read(reads.get_published(self.execution_id, check_word("state", key)))
        if row is None:
            raise ExecutionNotFound(self.execution_id)
        if row.updated_at is None:
            return None
        return PublishedValue(key, plain(row.value), row.updated_at)

    async def cancel(self, reason: str | None = None) -> RunState:
        """Cancel the execution: no new step begins. Safe to repeat. Its children are cancelled too, level by level.

        Args:
            reason: Kept with the run and shown to people; at most 1,000 characters.

        Returns:
            `cancelled`; or `running` while a worker still unwinds the body.

        Raises:
            ExecutionNotFound: There is no such execution.
            IllegalTransition: It has completed or failed.
        """
        answer = await self._access.change(executions.cancel(self.execution_id, check_reason(reason)))
        state = cancelled(self.execution_id, answer)
        if answer.status == "cancelled":
            await self._access.cancel_children()
        return state

    async def unblock(
        self,
        *,
        accept: str | None = None,
        reset: str | None = None,
        reason: str | None = None,
        actor: str | None = None,
    ) -> RunState:
        """Let a blocked execution try again; `describe().divergence` tells what it is blocked by, and what repairs it.

        Calls are named as `charge`, `charge#2` (counted from 0), `charge#=key`, or with their scope, `.0:charge#2`.

        Args:
            accept: The call of today's code that it is blocked at: it runs as new where it was taken for a renamed
                one, and takes its record in spite of other arguments. Remembered as long as the run.
            reset: The record to forget, and nothing else: its call runs again.
            reason: Why; kept in `zart_audit`. At most 1,000 characters.
            actor: Who does it, for `zart_audit`. Default: the user and host of this process.

        Returns:
            The state of the run, `scheduled` as a rule.

        Raises:
            ExecutionNotFound: There is no such execution.
            IllegalTransition: It is not blocked.
            UsageError: A name fits nothing or several records, and the text lists them.
            StoreUnavailable: The database cannot be reached; it may have been unblocked all the same.
        """
        return await unblock(
            self._access, self.execution_id, accept=accept, reset=reset, reason=reason, actor=actor
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.execution_id!r}>"
