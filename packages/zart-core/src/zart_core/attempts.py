"""The steps of one task that are being tried: attempts under way, and retries that are not due yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from zart_core import crashpoints, faults
from zart_core.call import Work
from zart_core.control import RunBlocked
from zart_core.current import attempt_var, step_var
from zart_core.errors import PayloadError, StepTimeout
from zart_core.identity import idempotency_key
from zart_core.items import AttemptItem, OutcomeItem
from zart_core.journal import AttemptRecord, Outcome
from zart_core.openattempt import OpenAttempt
from zart_core.operations import CaptureOperation, StepOperation
from zart_core.pulse import Pulse
from zart_core.retry import should_retry
from zart_core.steprun import Attempted, Raised, Returned, Silent, TimedOut, attempt

if TYPE_CHECKING:
    from zart_core.host import Held

log = logging.getLogger("zart")

SOON = 0.1
"""Seconds within which an attempt is waited for in memory in place of parking the run."""


@dataclass(frozen=True, slots=True)
class _Later:
    due_at: float
    timer: asyncio.TimerHandle


@dataclass(slots=True)
class _Committing:
    call: Work
    given_up: bool = False


class Attempts:
    """Starts attempts on the host loop and queues what came of them."""

    def __init__(self, run: Held) -> None:
        self._run = run
        self.running: dict[str, asyncio.Task[None]] = {}
        self._later: dict[str, _Later] = {}
        self._queued: set[str] = set()
        self._committing: dict[str, _Committing] = {}
        """Steps whose outcome goes to the store with their own transaction; they are among the queued."""
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        """Where steps run; the host's loop may keep another time."""

    @property
    def keep_awake(self) -> bool:
        """Whether the task must not park: an attempt runs, or one is due at any moment."""
        if self.running:
            return True
        soon = self._run.host.loop.time() + SOON
        return any(later.due_at <= soon for later in self._later.values())

    @property
    def due_in(self) -> float:
        """Seconds until the next attempt is due that is waited for."""
        return max(min(later.due_at for later in self._later.values()) - self._run.host.loop.time(), 0.0)

    def start(self, call: Work) -> None:
        """Begin the next attempt of `call`, or see to it that it is begun when it is due."""
        run, operation, now = self._run, call.operation, self._run.host.loop.time()
        assert isinstance(operation, StepOperation | CaptureOperation)  # noqa: S101 - the executor starts the others itself
        known = run.journal.attempts(call.identity) or AttemptRecord(call.identity, 0, None, None)
        if (
            operation.timeout is not None
            and operation.timeout_scope == "global"
            and known.deadline_at is None
        ):
            known = replace(known, deadline_at=now + operation.timeout)
            run.journal.note_attempt(known)
            run.put(AttemptItem(run, call.identity, call.name, operation.kind, 1, deadline=operation.timeout))
        due_at = known.due_at or now
        if known.deadline_at is not None:
            due_at = min(due_at, known.deadline_at)
        if due_at > now:
            self._try_at(call.identity, due_at)
        elif known.deadline_at is not None and known.deadline_at <= now:
            self._timed_out(call, known.failed + 1, None)
        else:
            self._launch(call, known, now)

    def _try_at(self, identity: str, due_at: float) -> None:
        self._later[identity] = _Later(due_at, self._run.host.loop.call_at(due_at, self._due, identity))

    def _due(self, identity: str) -> None:
        if self._later.pop(identity, None) is not None:
            self._run.try_again(identity)
            self._run.advance()

    def _launch(self, call: Work, known: AttemptRecord, now: float) -> None:
        run, number, deadline = self._run, known.failed + 1, known.deadline_at
        operation: Any = call.operation
        if operation.timeout is not None and operation.timeout_scope == "per_attempt":
            deadline = now + operation.timeout
        assert call.context is not None  # noqa: S101 - set when the body began to wait
        context = call.context.copy()
        key = idempotency_key(run.context.run_id, call.identity)
        context.run(
            step_var.set, replace(run.context, step_name=call.name, attempt=number, idempotency_key=key)
        )
        # On the worker's loop, not the body's, which runs now; past its task factory, which may begin a task at once.
        task = asyncio.Task(self._try(call, number, deadline), loop=self._loop, context=context)
        self.running[call.identity] = task
        task.add_done_callback(partial(self._over, call))

    async def _try(self, call: Work, number: int, deadline: float | None) -> None:
        run, operation = self._run, call.operation
        assert isinstance(operation, StepOperation | CaptureOperation)  # noqa: S101 - as in `start`
        if isinstance(operation, StepOperation):
            crashpoints.reach("before-step", call.name)
        started = run.host.loop.time()
        pulse = self._pulse_of(call, number, started)
        opened = OpenAttempt(run.host, call.name, pulse)
        attempt_var.set(opened)
        function: Callable[[], Any] = operation.run
        is_async = operation.is_async
        if isinstance(operation, CaptureOperation) and operation.fn is None:
            function, is_async = run.host.now, True
        try:
            result = await attempt(
                function,
                is_async=is_async,
                deadline=deadline,
                threads=run.host.threads,
                pulse=pulse,
                clock=run.host.loop,
            )
            crashpoints.reach("after-effect", call.name)
            if self._is_wanted(call, asyncio.current_task()):
                self._ended(call, number, result, run.host.loop.time() - started, opened)
        finally:
            opened.end()

    def _pulse_of(self, call: Work, number: int, started: float) -> Pulse:
        """Return what hears the heartbeats of an attempt."""
        run, operation, identity = self._run, call.operation, call.identity
        known = run.journal.attempts(identity)
        limit = operation.step.heartbeat_timeout if isinstance(operation, StepOperation) else None

        def write(details: bytes) -> None:
            if identity not in self.running or self._is_closed or run.gone is not None:
                return
            before = run.journal.attempts(identity) or AttemptRecord(identity, number - 1, None, None)
            run.journal.note_attempt(replace(before, heartbeat=details))
            elapsed = run.host.loop.time() - started
            run.put(AttemptItem(run, identity, call.name, operation.kind, number, elapsed, heartbeat=details))

        return Pulse(
            run.host.loop, limit, None if known is None else known.heartbeat, write, run.host.max_payload
        )

    def _over(self, call: Work, task: asyncio.Task[None]) -> None:
        """The attempt's task is done; if it was cancelled, it may not even have begun."""
        run = self._run
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(
                "step %r of %r cannot be recorded: this is a bug of Zart", call.name, run, exc_info=error
            )
            run.stop(RunBlocked, f"the engine failed to record what became of step {call.name!r}: {error!r}")
        elif task.cancelled() and self._is_wanted(call, task):  # L6: somebody outside cancelled it
            log.warning("step %r of %r was cancelled from outside and is tried again", call.name, run)
            self._try_at(call.identity, run.host.loop.time() + SOON)
        if self.running.get(call.identity) is task:
            del self.running[call.identity]
        if not run.outstanding:  # else its answer will do it
            run.advance()

    def _is_wanted(self, call: Work, task: asyncio.Task[Any] | None) -> bool:
        """Return whether what became of this attempt counts: nobody gave the step or the run up."""
        is_current = self.running.get(call.identity) is task
        return is_current and not self._is_closed and self._run.gone is None

    def _ended(self, call: Work, number: int, result: Attempted, elapsed: float, opened: OpenAttempt) -> None:
        if not isinstance(result, Returned):
            opened.pulse.flush()
        match result:
            case Returned(value):
                self._returned(call, number, value, elapsed, opened)
            case Silent():
                self._silent(call, number, elapsed)
            case TimedOut():
                self._timed_out(call, number, elapsed)
            case Raised(error) if opened.excuses(error):
                log.warning(
                    "the transaction of step %r was lost, and the step runs again: %s", call.name, error
                )
                self._try_at(call.identity, self._run.host.loop.time() + SOON)
            case Raised(error):
                self._raised(call, number, error, elapsed)

    def _returned(self, call: Work, number: int, value: Any, elapsed: float, opened: OpenAttempt) -> None:
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
            return
        facts = {"attempt": number, "elapsed": elapsed, "value": decoded}
        if (transaction := opened.take()) is None:
            self._record(call, Outcome.OK, payload, **facts)
            return
        self._queued.add(call.identity)
        self._committing[call.identity] = _Committing(call)
        self._run.outstanding += 1
        # L11: it takes its turn before the COMMIT is sent
        transaction.commit(self._run.outcome(call, Outcome.OK, payload, **facts))

    def _timed_out(self, call: Work, number: int, elapsed: float | None) -> None:
        operation: Any = call.operation
        error = StepTimeout(call.name, operation.timeout or 0.0)
        self._record(
            call, Outcome.TIMEOUT, faults.record(error, kind="StepTimeout"), attempt=number, elapsed=elapsed
        )

    def _silent(self, call: Work, number: int, elapsed: float) -> None:
        operation: Any = call.operation
        error = StepTimeout(call.name, operation.step.heartbeat_timeout, silent=True)
        self._raised(call, number, error, elapsed, Outcome.TIMEOUT)

    def _raised(
        self,
        call: Work,
        number: int,
        error: BaseException,
        elapsed: float,
        outcome: Outcome = Outcome.ERROR,
    ) -> None:
        operation: Any = call.operation
        step = operation.step if isinstance(operation, StepOperation) else None
        kind = "StepTimeout" if outcome is Outcome.TIMEOUT else None
        known, delay = self._run.journal.attempts(call.identity), None
        if known is not None and known.is_last:
            pass
        elif step is None or should_retry(error, step.retry_on, step.no_retry_on):
            delay = operation.policy.next_delay(number, self._run.host.random())
        if delay is None:
            if number > 1:
                with suppress(Exception):  # a frozen dataclass takes no notes
                    error.add_note(f"step {call.name!r} failed {number} times")
            self._record(call, outcome, faults.record(error, kind=kind), attempt=number, elapsed=elapsed)
            return
        self._run.put(
            AttemptItem(
                self._run,
                call.identity,
                call.name,
                operation.kind,
                number,
                elapsed,
                faults.record(error, kind=kind),
                delay,
            )
        )

    def _record(self, call: Work, outcome: Outcome, payload: bytes, **facts: Any) -> None:
        self._queued.add(call.identity)
        self._run.record(call, outcome, payload, **facts)

    def attempt_recorded(self, item: AttemptItem) -> None:
        """A failed attempt is committed: the next may start when its delay has passed."""
        if item.delay is None:
            return
        run = self._run
        known = run.journal.attempts(item.identity) or AttemptRecord(item.identity, 0, None, None)
        due_at = run.host.loop.time() + item.delay
        run.journal.note_attempt(replace(known, failed=item.attempt, due_at=due_at))
        run.try_again(item.identity)

    def rolled_back(self, item: OutcomeItem) -> None:
        """The step's transaction did not commit, and the step is not to blame: it runs again (L6)."""
        if (call := self._not_committed(item)) is not None:
            self._try_at(call.identity, self._run.host.loop.time() + SOON)

    def refused(self, item: OutcomeItem, error: BaseException) -> None:
        """The step's transaction cannot commit, by the step's own fault: that is its failure."""
        if (call := self._not_committed(item)) is not None:
            self._raised(call, item.attempt, error, item.elapsed or 0.0)

    def _not_committed(self, item: OutcomeItem) -> Work | None:
        """Return the call, if the body still waits for it; else record that it was cancelled (L12)."""
        committing = self._committing.pop(item.identity)
        self._queued.discard(item.identity)
        if self._is_closed:
            return None
        if committing.given_up:
            self._run.record(committing.call, Outcome.CANCELLED, None)
            return None
        return committing.call

    def forget(self, identity: str) -> None:
        """The outcome is committed."""
        self._queued.discard(identity)
        self._committing.pop(identity, None)

    def give_up(self, identity: str) -> bool:
        """Cancel what is under way for a call; return False if its outcome is queued already, which then stands."""
        if identity in self._queued:
            if identity in self._committing:
                self._committing[identity].given_up = True
            return False
        if (later := self._later.pop(identity, None)) is not None:
            later.timer.cancel()
        if (task := self.running.pop(identity, None)) is not None:
            task.cancel()
        return True

    def give_up_all(self) -> None:
        """Cancel every attempt for good; each stays in `running` until it has ended, and nothing of it is recorded."""
        self._is_closed = True
        self.disarm()
        for task in self.running.values():
            task.cancel()

    def disarm(self) -> None:
        """Let no attempt start for now."""
        for later in self._later.values():
            later.timer.cancel()

    def resume(self) -> None:
        """Go on with the retries after a park."""
        later, self._later = self._later, {}
        for identity in later:
            self._run.try_again(identity)
