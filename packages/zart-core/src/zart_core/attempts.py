"""The steps of one run that are being tried: attempts under way, and retries that are not due yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zart_core import crashpoints, faults
from zart_core.call import Call
from zart_core.current import step_var
from zart_core.errors import PayloadError, StepTimeout
from zart_core.identity import idempotency_key
from zart_core.items import AttemptItem
from zart_core.journal import AttemptRecord, Outcome
from zart_core.operations import CaptureOperation, StepOperation
from zart_core.retry import should_retry
from zart_core.steprun import Attempted, Raised, Returned, TimedOut, attempt

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun

SOON = 0.1
"""Seconds within which a retry is waited for in memory in place of parking the run."""


@dataclass(slots=True)
class _Retry:
    call: Call[Any]
    number: int
    due_at: float
    timer: asyncio.TimerHandle | None = None


class Attempts:
    """Starts attempts on the host loop and queues what came of them."""

    def __init__(self, run: ActiveRun) -> None:
        self._run = run
        self.running: dict[str, asyncio.Task[None]] = {}
        self._retries: dict[str, _Retry] = {}
        self._queued: set[str] = set()

    @property
    def keep_awake(self) -> bool:
        """Whether the run must not park: an attempt runs, or one is due at any moment."""
        if self.running:
            return True
        soon = self._run.host.loop.time() + SOON
        return any(retry.due_at <= soon for retry in self._retries.values())

    def start(self, call: Call[Any]) -> None:
        """Begin the next attempt of `call`, or wait until it is due."""
        now = self._run.host.loop.time()
        known = self._run.journal.attempts(call.identity)
        known = known or AttemptRecord(call.identity, 0, None, None)
        operation = call.operation
        assert isinstance(operation, StepOperation | CaptureOperation)  # noqa: S101 - the executor starts the others itself
        if (
            operation.timeout is not None
            and operation.timeout_scope == "global"
            and known.deadline_at is None
        ):
            known = replace(known, deadline_at=now + operation.timeout)
            self._run.put(
                AttemptItem(
                    self._run, call.identity, call.name, operation.kind, 1, deadline=operation.timeout
                )
            )
        self._run.journal.note_attempt(known)
        self._arm(_Retry(call, known.failed + 1, known.due_at if known.due_at is not None else now))

    def _arm(self, retry: _Retry) -> None:
        """Launch the attempt when it is due, or at the step's deadline if that is earlier."""
        run, identity = self._run, retry.call.identity
        known = run.journal.attempts(identity)
        when = (
            min(retry.due_at, known.deadline_at)
            if known is not None and known.deadline_at is not None
            else retry.due_at
        )
        if when <= run.host.loop.time():
            self._launch(retry)
            return
        self._retries[identity] = replace(
            retry, due_at=when, timer=run.host.loop.call_at(when, self._due, identity)
        )

    def _due(self, identity: str) -> None:
        retry = self._retries.pop(identity, None)
        if retry is not None and self._run.gone is None:
            self._launch(retry)
            self._run.advance()

    def _launch(self, retry: _Retry) -> None:
        run, call, number = self._run, retry.call, retry.number
        now = run.host.loop.time()
        known = run.journal.attempts(call.identity)
        deadline = known.deadline_at if known is not None else None
        operation: Any = call.operation
        if deadline is not None and now >= deadline:
            self._timed_out(call, number, None)
            return
        if operation.timeout is not None and operation.timeout_scope == "per_attempt":
            deadline = now + operation.timeout
        context = call.context.copy() if call.context is not None else None
        assert context is not None  # noqa: S101 - set when the body began to wait
        context.run(
            step_var.set,
            replace(
                run.context,
                step_name=call.name,
                attempt=number,
                idempotency_key=idempotency_key(run.id, call.identity),
            ),
        )
        # The worker's loop makes the task: inside a pump the running loop is the body's.
        self.running[call.identity] = run.host.loop.create_task(
            self._try(call, number, deadline), context=context
        )

    async def _try(self, call: Call[Any], number: int, deadline: float | None) -> None:
        run, operation = self._run, call.operation
        assert isinstance(operation, StepOperation | CaptureOperation)  # noqa: S101 - as in `start`
        crashpoints.reach("before-step", call.name)
        started = run.host.loop.time()
        function: Callable[[], Any] = operation.run
        is_async = operation.is_async
        if isinstance(operation, CaptureOperation) and operation.fn is None:
            function, is_async = run.host.now, True
        try:
            result = await attempt(function, is_async=is_async, deadline=deadline, threads=run.host.threads)
            crashpoints.reach("after-effect", call.name)
            if self.running.get(call.identity) is asyncio.current_task() and run.gone is None:
                del self.running[call.identity]
                self._ended(call, number, result, run.host.loop.time() - started)
        finally:
            if self.running.get(call.identity) is asyncio.current_task():
                del self.running[call.identity]
            run.host.loop.call_soon(run.advance)

    def _ended(self, call: Call[Any], number: int, result: Attempted, elapsed: float) -> None:
        match result:
            case Returned(value):
                self._returned(call, number, value, elapsed)
            case TimedOut():
                self._timed_out(call, number, elapsed)
            case Raised(error):
                self._raised(call, number, error, elapsed)

    def _returned(self, call: Call[Any], number: int, value: Any, elapsed: float) -> None:
        operation: Any = call.operation
        what = (
            f"result of step {call.name!r}"
            if isinstance(operation, StepOperation)
            else f"value of {call.name!r}"
        )
        try:
            payload, decoded = operation.codec.encode(value, what, limit=self._run.host.max_payload)
        except PayloadError as error:  # L2: recorded at once, not retried
            payload = faults.record(error, kind=type(error).__name__)
            self._record(call, Outcome.ERROR, payload, attempt=number, elapsed=elapsed)
        else:
            self._record(call, Outcome.OK, payload, attempt=number, elapsed=elapsed, value=decoded)

    def _timed_out(self, call: Call[Any], number: int, elapsed: float | None) -> None:
        operation: Any = call.operation
        error = StepTimeout(call.name, operation.timeout or 0.0)
        self._record(
            call, Outcome.TIMEOUT, faults.record(error, kind="StepTimeout"), attempt=number, elapsed=elapsed
        )

    def _raised(self, call: Call[Any], number: int, error: BaseException, elapsed: float) -> None:
        operation: Any = call.operation
        step = operation.step if isinstance(operation, StepOperation) else None
        delay = None
        if step is None or should_retry(error, step.retry_on, step.no_retry_on):
            delay = operation.policy.next_delay(number, self._run.host.random())
        if delay is None:
            if number > 1:
                error.add_note(f"step {call.name!r} failed {number} times")
            self._record(call, Outcome.ERROR, faults.record(error), attempt=number, elapsed=elapsed)
            return
        self._run.put(
            AttemptItem(
                self._run,
                call.identity,
                call.name,
                operation.kind,
                number,
                elapsed,
                faults.record(error),
                delay,
            )
        )

    def _record(self, call: Call[Any], outcome: Outcome, payload: bytes, **facts: Any) -> None:
        self._queued.add(call.identity)
        self._run.record(call, outcome, payload, **facts)

    def attempt_recorded(self, item: AttemptItem) -> None:
        """A failed attempt is committed: the next may start when its delay has passed."""
        if item.delay is None:
            return
        run = self._run
        due_at = run.host.loop.time() + item.delay
        known = run.journal.attempts(item.identity) or AttemptRecord(item.identity, 0, None, None)
        run.journal.note_attempt(replace(known, failed=item.attempt, due_at=due_at))
        call = run.waiting_call(item.identity)
        if call is not None and run.gone is None:
            self._arm(_Retry(call, item.attempt + 1, due_at))

    def forget(self, identity: str) -> None:
        """The outcome is committed."""
        self._queued.discard(identity)

    def give_up(self, identity: str) -> bool:
        """Cancel what is under way for a call; return False if its outcome is queued already, which then stands."""
        if identity in self._queued:
            return False
        retry = self._retries.pop(identity, None)
        if retry is not None and retry.timer is not None:
            retry.timer.cancel()
        task = self.running.pop(identity, None)
        if task is not None:
            task.cancel()
        return True

    def give_up_all(self) -> None:
        """Cancel every attempt; each stays in `running` until it has ended."""
        self.disarm()
        self._retries.clear()
        for task in self.running.values():
            task.cancel()

    def disarm(self) -> None:
        """Let no retry start for now."""
        for retry in self._retries.values():
            if retry.timer is not None:
                retry.timer.cancel()

    def resume(self) -> None:
        """Arm the retries again, after a park."""
        retries, self._retries = self._retries, {}
        for retry in retries.values():
            self._arm(retry)
