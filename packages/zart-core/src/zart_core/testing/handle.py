"""One execution of a test, seen from outside."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from pydantic_core import to_json

from zart_core.answers import cancelled, receipt
from zart_core.definition import Workflow
from zart_core.duration import Duration, seconds
from zart_core.limits import check_id, check_reason, check_word
from zart_core.records import EventReceipt, ExecutionDetails, RunSummary
from zart_core.states import RunState
from zart_core.testing.driver import Driver
from zart_core.testing.reading import summary_of
from zart_core.untyped import encode_plain, plain

R = TypeVar("R")


class Handle(Generic[R]):
    """One execution, found by its id. Made by a `TestRun`.

    Attributes:
        execution_id: The execution's id.
        existing: After a start, whether the execution was there before it; None on a handle made by `handle()`.
    """

    __slots__ = ("_driver", "_workflow", "execution_id", "existing")

    def __init__(
        self,
        driver: Driver,
        execution_id: str,
        workflow: Workflow[Any, R] | None = None,
        *,
        existing: bool | None = None,
    ) -> None:
        self._driver, self._workflow = driver, workflow
        self.execution_id = check_id("an execution's id", execution_id, tilde=True)
        self.existing = existing

    async def result(self, timeout: Duration | None = None) -> R:
        """Let time pass until the execution has ended, and return what its workflow returned.

        Steps take the time they take; whenever nothing is going on, the clock jumps to the next timer. It does not
        while another task of the test has a call under way here, but does while one waits for something else.

        Args:
            timeout: Longest wait, by the clock of the test; while a step runs, also by the real one. None waits as
                long as there is something to wait for, 0 looks once.

        Raises:
            ExecutionFailed: The workflow raised; the original type, message and traceback are on it.
            ExecutionCancelled: Someone cancelled it.
            ExecutionBlocked: The engine refuses to guess how it goes on.
            ExecutionNotFound: There is no such execution.
            WaitTimeout: `timeout` passed first.
            Stuck: It will never end by itself; the text says what it waits for.
            PayloadInvalid: The result does not have the shape that the workflow declares.
        """
        limit = None if timeout is None else max(seconds(timeout, what="timeout"), 0.0)
        codec = self._workflow.result_codec() if self._workflow else None
        return cast("R", await self._driver.result(self.execution_id, codec, limit))

    async def status(self) -> RunState:
        """Return what the execution's current run does.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        await self._driver.settle()
        return self._driver.find(self.execution_id).run.public_state

    async def describe(self) -> ExecutionDetails:
        """Return all that is known of the execution and its current run. Payloads are plain JSON.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        await self._driver.settle()
        return self._driver.details(self.execution_id)

    async def runs(self) -> list[RunSummary]:
        """Return all runs of the execution, oldest first.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        await self._driver.settle()
        return [summary_of(run, self._driver.clock) for run in self._driver.find(self.execution_id).runs]

    async def state(self, key: str) -> Any:
        """Return the latest value that the current run has published as `key`, as plain JSON; None without one.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        check_word("state", key)
        await self._driver.settle()
        found = self._driver.find(self.execution_id).run.published.get(key)
        return None if found is None else plain(found[0])

    async def send_event(
        self, name: str, payload: Any = None, *, idempotency_key: str | None = None
    ) -> EventReceipt:
        """Send an event to the execution, and let happen what it brings about at once.

        Args:
            name: The event's name, 1 to 255 characters.
            payload: JSON, a pydantic model or a dataclass.
            idempotency_key: An event with a key is accepted once per execution, however often it is sent.

        Raises:
            ExecutionNotFound: There is no such execution.
            RunFinished: It has ended.
            StoreConflict: The key was used before with another name or payload.
            PayloadInvalid: The payload cannot be written as JSON.
        """
        check_word("event", name)
        if idempotency_key is not None:
            check_id("an idempotency key", idempotency_key, tilde=True)
        stored = encode_plain(payload, f"payload of event {name!r}")
        await self._driver.settle()
        answer = self._driver.store.deliver(self.execution_id, name, stored, idempotency_key)
        self._driver.worker.look()
        await self._driver.settle()
        return receipt(self.execution_id, name, answer)

    async def cancel(self, reason: str | None = None) -> RunState:
        """Cancel the execution: no new step begins. Safe to repeat.

        Args:
            reason: Kept with the run; at most 1,000 characters.

        Returns:
            `cancelled`; or `running` if the worker had to unwind the body first.

        Raises:
            ExecutionNotFound: There is no such execution.
            IllegalTransition: It has completed or failed.
        """
        stored = to_json(check_reason(reason))
        await self._driver.settle()
        answer = self._driver.store.cancel(self.execution_id, stored)
        self._driver.worker.look()
        await self._driver.settle()
        return cancelled(self.execution_id, answer)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.execution_id!r}>"
