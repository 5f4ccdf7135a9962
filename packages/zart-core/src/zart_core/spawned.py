"""A spawned step on the worker that has claimed its task: attempts, retries, and the one outcome for its run."""

from __future__ import annotations

import logging
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any

from zart_core import faults
from zart_core.attempts import Attempts
from zart_core.call import Work
from zart_core.control import RunBlocked, Signal
from zart_core.current import ExecutionContext, body_var
from zart_core.definition import Step
from zart_core.errors import PayloadInvalid, StepFailed
from zart_core.host import ClaimedStep, Host, Left
from zart_core.identity import Identity
from zart_core.items import AttemptItem, DelayItem, FinishItem, Item, ReleaseItem
from zart_core.journal import Journal, Outcome
from zart_core.operations import SpawnedOperation
from zart_core.spawning import Task

log = logging.getLogger("zart")

UNKNOWN_PAUSE = 10.0
"""Seconds that a spawned step is left to other workers when this one does not know its function."""


@dataclass(slots=True)
class _Work:
    """The call that was spawned, as attempts see it."""

    identity: str
    name: str
    sequence: int
    args_hash: bytes | None
    operation: SpawnedOperation
    context: Context | None


class SpawnedStep:
    """A spawned step that this process owns. `step` is None if its function cannot be had here."""

    def __init__(self, claimed: ClaimedStep, task: Task, step: Step[Any, Any] | None, host: Host) -> None:
        self.id, self.run_id, self.epoch, self.host = claimed.task_id, claimed.run_id, claimed.epoch, host
        self.context = ExecutionContext.of(claimed)
        self.journal = Journal((), claimed.attempts)
        self.attempts = Attempts(self)
        self.outstanding = 0
        self.has_recorded = False
        """Whether an attempt was recorded since the task was claimed."""
        self.gone: Left | None = None
        self.identity, self.name = claimed.identity, Identity.parse(claimed.identity).name
        self._claimed, self._task, self._step = claimed, task, step
        self._work: _Work | None = None
        self._is_due = False
        self._is_unwanted = not claimed.is_wanted
        self._leaving = self._draining = False

    def begin(self) -> None:
        """Start the next attempt, or see to it that it is made when it is due."""
        if self._step is None and not self._is_unwanted:
            log.warning(
                "%r cannot run here: this worker knows no step %r of %s; it is left to other workers",
                self,
                self._task.step,
                self._task.code,
            )
            self._leave(DelayItem(self, UNKNOWN_PAUSE))
            return
        try:
            operation = self._task.operation(self._step) if self._step is not None else None
        except PayloadInvalid as error:
            payload = faults.record(error, kind=type(error).__name__)
            self._leave(FinishItem(self, Outcome.ERROR, payload, self._task.args_hash))
            return
        if operation is not None:
            context = copy_context()
            context.run(body_var.set, None)
            sequence = self._claimed.sequence
            self._work = _Work(self.identity, self.name, sequence, self._task.args_hash, operation, context)
        self._is_due = True
        self.advance()

    def advance(self) -> None:
        """Go on as far as it can: begin what is due, or leave."""
        if self.gone is not None or self._leaving or self.outstanding:
            return
        if self._is_unwanted or self._draining:
            if not self.attempts.running:
                self._leave(FinishItem(self, None) if self._is_unwanted else ReleaseItem(self))
            return
        if self._is_due and self._work is not None:
            self._is_due = False
            self.attempts.start(self._work)
        if not self._leaving and not self.outstanding and not self.attempts.keep_awake:
            self._leave(DelayItem(self, self.attempts.due_in))

    # -- what its attempts ask for

    def put(self, item: Item) -> None:
        """Queue a write."""
        self.outstanding += 1
        self.host.put(item)

    def record(self, call: Work, outcome: Outcome, payload: bytes | None, **facts: Any) -> None:
        """Queue the outcome."""
        self._leave(self.outcome(call, outcome, payload, **facts))

    def outcome(self, call: Work, outcome: Outcome, payload: bytes | None, **facts: Any) -> FinishItem:
        """Return the item that tells the run of the outcome."""
        facts.pop("value", None)  # it goes to another body, by way of the database
        return FinishItem(self, outcome, payload, call.args_hash, **facts)

    def try_again(self, identity: str) -> None:  # noqa: ARG002 - a run has several
        """The next attempt is due, or will be."""
        self._is_due = True

    def _leave(self, item: Item) -> None:
        self._leaving = True
        self.put(item)

    # -- stopping

    def stop(self, signal: type[Signal], reason: str | None = None) -> None:
        """End it: nobody wants it any more, or (`RunBlocked`) what became of it cannot be recorded."""
        if self.gone is not None or self._leaving:
            return
        self.attempts.give_up_all()
        if signal is RunBlocked:
            self._leave(self.refused(reason or ""))
            return
        self._is_unwanted = True
        self.advance()

    def drain(self) -> None:
        """Begin no attempt any more; once the one that runs is recorded, hand the task back."""
        self._draining = True
        self.advance()

    def abort_steps(self) -> None:
        """Cancel the attempt that runs; its outcome will not be recorded."""
        self.attempts.give_up_all()
        self.advance()

    def evict(self) -> None:
        """Free what it holds."""
        self.attempts.give_up_all()

    def lost(self) -> None:
        """Another worker owns the task, or may: drop it at once (L4)."""
        if self.gone is None:
            self.gone_as(Left.LOST)
            self.evict()

    # -- answers of the checkpoint writer

    def answered(self, item: Item) -> None:
        """`item` is done, whatever became of it."""
        self.outstanding -= 1
        self.has_recorded |= isinstance(item, AttemptItem)

    def recorded(self, item: FinishItem) -> None:
        """The outcome is committed with the step's own transaction."""
        self.attempts.forget(item.identity)
        self.gone_as(Left.ENDED)

    def refused(self, reason: str) -> Item:
        """Return the outcome to be written when no other can be."""
        return FinishItem(self, Outcome.ERROR, faults.record(StepFailed("ZartError", reason)))

    def gone_as(self, why: Left) -> None:
        """The task is not this worker's any more."""
        self.gone = why
        self.attempts.disarm()
        self.host.left(self, why)

    def __repr__(self) -> str:
        return f"<spawned step {self.identity} of run {self.run_id}>"
