"""The store in memory -> the rows of which records for people are made. Pure."""

from __future__ import annotations

from datetime import datetime

from zart_core.details import ExecutionRows
from zart_core.listing import ListRequest
from zart_core.records import RunSummary
from zart_core.rows import AttemptRow, EventRow, RunFilter, RunRow, StepRow, WaitRow
from zart_core.testing.clock import Clock
from zart_core.testing.rows import Attempt, Event, Execution, Run, Step, Task, Wait
from zart_core.testing.store import Store


def summary_of(run: Run, clock: Clock) -> RunSummary:
    """Return a run as lists show it."""
    return RunSummary(
        execution_id=run.execution.execution_id,
        run_id=run.run_id,
        run_index=run.run_index,
        workflow=run.execution.workflow,
        version=run.version or None,
        state=run.public_state,
        queue=run.queue,
        tags=dict(run.execution.tags),
        created_at=clock.moment(run.created_at),
        started_at=None if run.started_at is None else clock.moment(run.started_at),
        completed_at=None if run.finished_at is None else clock.moment(run.finished_at),
    )


def find_runs(store: Store, asked: ListRequest) -> list[RunSummary]:
    """Return one run more than a page has, if there are as many, newest first."""
    found = [
        summary_of(run, store.clock)
        for execution in store.executions.values()
        for run in (execution.runs if asked.wanted.all_runs else [execution.run])
    ]
    found.sort(key=lambda run: (run.created_at, run.run_id), reverse=True)
    fitting = [run for run in found if _fits(run, asked.wanted)]
    if asked.after is not None:
        moment, run_id = asked.after
        fitting = [s for s in fitting if (s.created_at, s.run_id) < (moment, str(run_id))]
    return fitting[: asked.limit + 1]


def _fits(run: RunSummary, wanted: RunFilter) -> bool:
    text = (wanted.search or "").lower()
    return (
        wanted.state in (None, run.state)
        and wanted.workflow in (None, run.workflow)
        and wanted.queue in (None, run.queue)
        and (wanted.tags or {}).items() <= run.tags.items()
        and (wanted.since is None or run.created_at >= wanted.since)
        and (wanted.until is None or run.created_at < wanted.until)
        and (text in run.execution_id.lower() or text in run.workflow.lower())
    )


def rows_of(store: Store, execution: Execution) -> ExecutionRows:
    """Return all rows of an execution."""
    run, clock = execution.run, store.clock
    steps = sorted(run.steps.values(), key=lambda step: (step.sequence, step.record.identity))
    waits = sorted(run.waits.values(), key=lambda wait: (wait.sequence, wait.identity))
    return ExecutionRows(
        run=RunRow(
            summary=summary_of(run, clock),
            waiting_until=_moment(clock, run.due_at) if run.task is Task.PARKED else None,
            deadline_at=_moment(clock, run.deadline_at),
            input=run.input,
            outcome=run.outcome,
            orphans=list(run.orphans),
            divergence=run.divergence if run.state == "blocked" else None,
            worker=run.worker,
            served=store.version_of(run) is not None,
            parent=None,
        ),
        runs=tuple(summary_of(run, clock) for run in execution.runs),
        steps=tuple(_step(step, clock) for step in steps),
        spawned=(),
        attempts=tuple(
            _attempt(identity, attempt, clock)
            for identity in sorted(run.attempts)
            for attempt in run.attempts[identity]
        ),
        waits=tuple(_wait(wait, clock) for wait in waits),
        open_children=(),
        children=(),
        events=tuple(_event(event, clock) for event in execution.events),
    )


def _step(step: Step, clock: Clock) -> StepRow:
    record = step.record
    return StepRow(
        ident=record.identity,
        kind=record.kind.value,
        outcome=record.outcome.value,
        come=record.turn is not None or step.has_come(clock.time()),
        wake_at=_moment(clock, step.wake_at),
        attempt=record.attempt,
        started_at=_moment(clock, step.started_at),
        completed_at=clock.moment(step.completed_at),
        worker=step.worker,
        payload=record.payload,
    )


def _attempt(identity: str, attempt: Attempt, clock: Clock) -> AttemptRow:
    return AttemptRow(
        ident=identity,
        kind=attempt.kind.value,
        attempt=attempt.number,
        started_at=clock.moment(attempt.started_at),
        ended_at=_moment(clock, attempt.ended_at),
        next_at=_moment(clock, attempt.next_at),
        deadline_at=_moment(clock, attempt.deadline_at),
        pending=attempt.next_at is not None and attempt.next_at > clock.time(),
        worker=attempt.worker,
        error=attempt.error,
        heartbeat=attempt.heartbeat,
    )


def _wait(wait: Wait, clock: Clock) -> WaitRow:
    return WaitRow(wait.identity, wait.name, _moment(clock, wait.deadline), clock.moment(wait.created_at))


def _event(event: Event, clock: Clock) -> EventRow:
    consumed = None if event.consumed_by is None else event.consumed_by[1]
    return EventRow(event.number, event.name, None, event.payload, clock.moment(event.accepted_at), consumed)


def _moment(clock: Clock, seconds: float | None) -> datetime | None:
    return None if seconds is None else clock.moment(seconds)
