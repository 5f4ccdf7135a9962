"""One execution, seen from outside."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Generic, Self, TypeVar, cast

from zart_core import (
    EventReceipt,
    ExecutionDetails,
    ExecutionNotFound,
    ExecutionTree,
    Invocation,
    PublishedValue,
    RunState,
    RunSummary,
    WaitTimeout,
    Workflow,
)
from zart_core.spi import (
    Duration,
    cancelled,
    check_id,
    check_reason,
    check_word,
    execution_tree,
    plain,
    result_of,
    seconds,
)
from zart_scheduler.access import Access
from zart_scheduler.borrowed import Conn
from zart_scheduler.life import Life
from zart_scheduler.sending import send_event
from zart_scheduler.store import executions, reads
from zart_scheduler.unblocking import unblock

R = TypeVar("R")


class Handle(Generic[R]):
    """One execution, found by its id. Made by a client; cheap, and valid as long as the client is open.

    Attributes:
        execution_id: The execution's id.
        existing: After a start, whether the execution was there before it; None on a handle made by `handle()`.
        doubtful: After a rerun, the names of kept steps that came after one that runs again.
        replayed: After a restart, rerun, fork or retry of a step with an idempotency key, whether it was done before.
    """

    __slots__ = ("_access", "_workflow", "doubtful", "execution_id", "existing", "replayed")

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
        self.doubtful: tuple[str, ...] = ()
        self.replayed = False

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

    async def restart(
        self,
        invocation: Invocation[R] | None = None,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Self:
        """Begin again from scratch, with a new run; a run that is under way is taken from its worker and cancelled.

        Events that were consumed are not seen again; those that were not go to the new run.

        Args:
            invocation: What `workflow.call(...)` gives, for another input. Without it the input stays, and the
                version is the current one of the worker that begins.
            reason: Kept with the old run and in the audit; at most 1,000 characters.
            idempotency_key: A request with a key is carried out once per execution, however often it is sent.

        Returns:
            This handle.

        Raises:
            ExecutionNotFound: There is no such execution.
            ExecutionConflict: It runs another workflow than `invocation`.
            PayloadInvalid: An argument does not have the declared shape; nothing was sent.
            StoreConflict: The key was used before to ask for something else.
        """
        life = self._life(reason, idempotency_key)
        await life.restart(invocation)
        self.replayed = life.is_replayed
        return self

    async def rerun(
        self,
        *,
        steps: str | Iterable[str] | None = None,
        keep: str | Iterable[str] | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        warn: bool = True,
    ) -> Self:
        """Run some steps again, in a new run that keeps what is recorded of the others; otherwise as `restart`.

        Failed steps always run again. Of kept steps that came after one that runs again a `UserWarning` tells, since
        they may have worked with its old result.

        Args:
            steps: Globs of the names of the steps that run again; the others are kept. Default, without `keep` too:
                the first that failed and all after it.
            keep: Globs of steps that are kept, also if `steps` names them; alone, all others run again.
            reason: As for `restart`.
            idempotency_key: As for `restart`.
            warn: False to leave the warning to whoever reads `doubtful`.

        Returns:
            This handle; `doubtful` has the names that the warning tells.

        Raises:
            ExecutionNotFound: There is no such execution.
            UsageError: A glob fits no recorded step.
            StoreConflict: The key was used before to ask for something else.
        """
        life = self._life(reason, idempotency_key)
        self.doubtful, self.replayed = await life.rerun(steps, keep), life.is_replayed
        if self.doubtful and warn:
            warnings.warn(
                f"steps that are kept came after one that runs again, and may have used its old result: "
                f"{', '.join(self.doubtful)}",
                stacklevel=2,
            )
        return self

    async def fork(
        self,
        *,
        from_step: str,
        execution_id: str | None = None,
        input: Any = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Handle[R]:
        """Start another execution, which has done what this one's current run did before a step. This one goes on.

        Args:
            from_step: The step, or other call, that the new execution begins with; of several of that name the first.
            execution_id: The new execution's id. Default: a random one.
            input: Another input: what `workflow.call(...)` gives, or JSON as `Client.start_input` takes it.
            reason: Kept in the audit; at most 1,000 characters.
            idempotency_key: As for `restart`.

        Returns:
            The new execution's handle.

        Raises:
            ExecutionNotFound: There is no such execution.
            UsageError: The run has recorded no such step.
            ExecutionConflict: The new id is taken.
            PayloadInvalid: The input does not fit.
            StoreConflict: The key was used before to ask for something else.
        """
        life = self._life(reason, idempotency_key)
        new_id = await life.fork(from_step, execution_id, input, self._workflow)
        forked = Handle(self._access, new_id, self._workflow, existing=life.is_replayed)
        forked.replayed = life.is_replayed
        return forked

    async def retry_step(
        self, name: str | None = None, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> Self:
        """Open a failed run again for one more try of the step that failed it, with a new deadline.

        One that the engine has ended, by its deadline or because its workers died, goes on where it was.

        Args:
            name: Another step that has failed; of several of that name the last.
            reason: As for `fork`.
            idempotency_key: As for `restart`.

        Returns:
            This handle.

        Raises:
            ExecutionNotFound: There is no such execution.
            IllegalTransition: Its current run has not failed.
            UsageError: No such step has failed.
            StoreConflict: The key was used before to ask for something else.
        """
        life = self._life(reason, idempotency_key)
        await life.retry_step(name)
        self.replayed = life.is_replayed
        return self

    def _life(self, reason: str | None, idempotency_key: str | None) -> Life:
        return Life(self._access, self.execution_id, reason, idempotency_key)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.execution_id!r}>"
