"""Executions in memory: what the database makes of starts, events, cancels, claims and the passing of time.

Each method is one transaction of the database, and keeps to what that one decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from zart_core import faults
from zart_core.answers import Cancelled, Delivered, Started
from zart_core.delivery import TURN_BITS
from zart_core.errors import DeadlineExceeded, WorkerCrashed
from zart_core.handlers import Phase
from zart_core.journal import Kind, Record
from zart_core.registry import Registry
from zart_core.requests import StartRequest
from zart_core.rows import Ending
from zart_core.testing.clock import Clock
from zart_core.testing.rows import Event, Execution, Run, Task


class Store:
    """All executions of one test."""

    def __init__(self, clock: Clock, registry: Registry) -> None:
        self.clock, self.registry = clock, registry
        self.executions: dict[str, Execution] = {}
        self.live: dict[str, Run] = {}
        """The runs that have a task, in the order of their starts."""
        self._runs = 0
        self._events = 0

    # -- what clients write

    def start(self, request: StartRequest) -> Started:
        """Start an execution, once per id."""
        known = self.executions.get(request.execution_id)
        if known is not None:
            is_same = known.workflow == request.workflow and known.input_hash == request.input_hash
            return Started("existing" if is_same else "conflict", UUID(known.run.run_id), known.workflow)
        now = self.clock.time()
        due_at = self.clock.seconds(request.at) if request.at is not None else None
        if request.delay is not None:
            due_at = now + request.delay
        if due_at is not None and due_at <= now:
            due_at = None
        execution = Execution(request.execution_id, request.workflow, request.input_hash, request.tags)
        self.executions[request.execution_id] = execution
        self._runs += 1
        run = Run(
            run_id=str(request.run_id),
            execution=execution,
            version=request.version,
            queue=request.queue,
            priority=request.priority,
            input=request.input,
            number=self._runs,
            created_at=now,
            due_at=due_at,
            task=Task.READY if due_at is None else Task.PARKED,
        )
        execution.runs.append(run)
        self.live[run.run_id] = run
        return Started("created", request.run_id, request.workflow)

    def deliver(self, execution_id: str, name: str, payload: bytes, key: str | None) -> Delivered:
        """Accept an event; it meets the oldest open wait of its name, or waits in the mailbox."""
        execution = self.executions.get(execution_id)
        if execution is None:
            return Delivered("unknown", None, None)
        for known in execution.events:
            if key is not None and known.key == key:
                is_same = known.name == name and _hash(known.payload) == _hash(payload)
                return Delivered("duplicate" if is_same else "mismatch", known.number, None)
        run = execution.run
        if run.task is None:
            return Delivered("terminal", None, run.state)
        self._events += 1
        event = Event(self._events, name, key, payload, self.clock.time())
        execution.events.append(event)
        if run.meet_wait(event, self.clock.time()) is None:
            return Delivered("kept", event.number, None)
        self._wake(run)
        return Delivered("consumed", event.number, None)

    def cancel(self, execution_id: str, reason: bytes) -> Cancelled:
        """Cancel the current run at once if nobody owns it, else ask its owner."""
        execution = self.executions.get(execution_id)
        if execution is None:
            return Cancelled("unknown", None)
        run = execution.run
        if run.task is None:
            return Cancelled("noop" if run.state == "cancelled" else "terminal", run.state)
        if run.phase in (Phase.UNDO_FAILED, Phase.UNDO_CANCELLED, Phase.ON_CANCEL):
            return Cancelled("requested", "running")
        if run.task is Task.ACTIVE:
            if not run.cancel_asked:
                run.cancel_asked, run.cancel_reason = True, reason
            return Cancelled("requested", "running")
        self.end(run, "cancelled", reason, taken=True)
        return Cancelled("cancelled", run.state) if run.task is None else Cancelled("requested", "running")

    def ending(self, execution_id: str) -> Ending | None:
        """Return how the current run ended, or that it is blocked or not there; None while it lives."""
        execution = self.executions.get(execution_id)
        if execution is None:
            return Ending(execution_id, None, None)
        run = execution.run
        if run.state == "live":
            return None
        return Ending(execution_id, run.state, run.divergence if run.state == "blocked" else run.outcome)

    # -- what workers ask

    def claim(self, worker: str) -> tuple[Run, list[Record]] | None:
        """Give the first ready run that the registry knows to `worker`, with what has come meanwhile."""
        ready = [run for run in self.live.values() if run.task is Task.READY and self.version_of(run)]
        if not ready:
            return None
        run, now = min(ready, key=lambda run: (-run.priority, run.number)), self.clock.time()
        run.version = self.version_of(run) or ""
        run.task, run.worker, run.due_at, run.epoch = Task.ACTIVE, worker, None, run.epoch + 1
        if run.epoch == 1:
            timeout = self.registry.get(run.execution.workflow, run.version).timeout
            run.deadline_at = None if timeout is None else now + timeout
        if run.started_at is None:
            run.started_at = now
        return run, self.give_turns(run, run.epoch << TURN_BITS) if run.epoch > 1 else []

    def give_turns(self, run: Run, turn: int) -> list[Record]:
        """Give the turn to whatever has come from outside, and return it."""
        run.expire_waits(self.clock.time())
        come = run.news(self.clock.time())
        for step in come:
            step.record.turn = turn
        return [replace(step.record) for step in come]

    def version_of(self, run: Run) -> str | None:
        """Return the version by which a worker would run it; None if the registry does not know one."""
        for workflow in self.registry:
            if workflow.name == run.execution.workflow:
                fits = workflow.version == run.version if run.version else workflow.current
                if fits:
                    return workflow.version
        return None

    # -- what time and death do

    def pass_time(self) -> None:
        """Make runs ready whose time has come, and end those without an owner whose deadline has passed."""
        now = self.clock.time()
        for run in list(self.live.values()):
            if run.task is Task.PARKED and run.due_at is not None and run.due_at <= now:
                self._wake(run)
            if run.task is not Task.ACTIVE and run.deadline_at is not None and run.deadline_at <= now:
                late = DeadlineExceeded("the workflow did not finish within its timeout")
                self.end(run, "failed", faults.record(late, kind="DeadlineExceeded"), taken=True)

    def next_due(self) -> float | None:
        """Return when time does something next to a run."""
        return min(self._due(), default=None)

    def _due(self) -> Iterator[float]:
        for run in self.live.values():
            if run.deadline_at is not None:
                yield run.deadline_at
            if run.task is Task.PARKED and run.due_at is not None:
                yield run.due_at

    def requeue(self) -> None:
        """Hand the runs of a dead worker on; its death counts against those that have recorded nothing since."""
        for run in [run for run in self.live.values() if run.task is Task.ACTIVE]:
            if self.end_if_cancelled(run):
                continue
            has_recorded = any(
                (step.record.turn or 0) > run.epoch << TURN_BITS for step in run.steps.values()
            )
            run.crash_count = 0 if has_recorded else run.crash_count + 1
            run.task, run.worker, run.due_at, run.epoch = Task.READY, None, None, run.epoch + 1
            if run.crash_count >= self.registry.get(run.execution.workflow, run.version).max_crashes:
                crashed = WorkerCrashed(run.execution.execution_id, run.crash_count)
                self.end(run, "failed", faults.record(crashed, kind="WorkerCrashed"), taken=True)

    def end_if_cancelled(self, run: Run) -> bool:
        """End a run that nobody will own as cancelled, if that was asked for."""
        if run.cancel_asked:
            self.end(run, "cancelled", run.cancel_reason, taken=True)
        return run.task is not Task.ACTIVE

    # -- ends

    def end(
        self, run: Run, state: str, outcome: bytes | None, *, taken: bool = False, undo: bool | None = None
    ) -> None:
        """End a run, or hand it to its rollbacks or to the handler of such an end.

        `undo`: there are rollbacks to be run; None: its journal tells. `taken`: by another than its owner.
        """
        phase = self._next_phase(run, state, undo=undo)
        self._close_body(run)
        if phase is not None:
            run.phase, run.outcome, run.state, run.task = phase, outcome, "live", Task.READY
            run.worker = run.deadline_at = None
            run.cancel_asked, run.crash_count, run.epoch = False, 0, run.epoch + taken
            return
        if not (run.phase is Phase.ON_FAILURE and state == "cancelled"):
            run.state, run.outcome = state, outcome
        else:  # a cancel stops the handler of a failure, and the failure stands
            run.state = "failed"
        run.finished_at, run.task, run.due_at = self.clock.time(), None, None
        del self.live[run.run_id]

    def _next_phase(self, run: Run, state: str, *, undo: bool | None) -> Phase | None:
        if state == "completed" or run.epoch == 0 or run.phase.is_handler:
            return None
        if run.phase is Phase.BODY and (run.has_rollbacks if undo is None else undo):
            return Phase.UNDO_FAILED if state == "failed" else Phase.UNDO_CANCELLED
        workflow = self.registry.get(run.execution.workflow, run.version)
        if state == "failed":
            return Phase.ON_FAILURE if workflow.on_failure is not None else None
        return Phase.ON_CANCEL if workflow.on_cancel is not None else None

    @staticmethod
    def _close_body(run: Run) -> None:
        """Its waits go, and what it never saw of the mailbox returns there."""
        run.waits.clear()
        unseen = [
            identity
            for identity, step in run.steps.items()
            if step.record.turn is None and step.record.kind is Kind.EVENT
        ]
        for identity in unseen:
            del run.steps[identity]
        for event in run.execution.events:
            if event.consumed_by is not None and event.consumed_by in {(run.run_id, i) for i in unseen}:
                event.consumed_by = None

    @staticmethod
    def _wake(run: Run) -> None:
        if run.task is Task.PARKED:
            run.task, run.due_at = Task.READY, None


def _hash(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()
