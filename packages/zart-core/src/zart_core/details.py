"""Rows of one execution -> what people read of it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from zart_core.divergence import load as load_divergence
from zart_core.faults import failure
from zart_core.identity import Identity
from zart_core.naming import shortest
from zart_core.records import (
    AttemptDetails,
    EventDetails,
    ExecutionDetails,
    ExecutionTree,
    Failure,
    RunSummary,
    StepDetails,
    WaitingFor,
)
from zart_core.rows import AttemptRow, ChildRow, EventRow, RunRow, SpawnedRow, StepRow, WaitRow
from zart_core.states import RunState, StepState
from zart_core.untyped import plain

_KINDS = {
    "s": "step",
    "c": "capture",
    "z": "sleep",
    "w": "event",
    "g": "saga",
    "k": "child",
    "v": "state",
    "p": "spawn",
}
_STATES = {
    "o": StepState.COMPLETED,
    "e": StepState.FAILED,
    "t": StepState.TIMED_OUT,
    "c": StepState.CANCELLED,
    "x": StepState.CANCELLED,
}
_OPEN = frozenset([StepState.RUNNING, StepState.RETRYING, StepState.SLEEPING, StepState.WAITING])


@dataclass(frozen=True, slots=True)
class ExecutionRows:
    """All rows of one execution, as of one moment."""

    run: RunRow
    runs: tuple[RunSummary, ...]
    steps: tuple[StepRow, ...]
    attempts: tuple[AttemptRow, ...]
    waits: tuple[WaitRow, ...]
    open_children: tuple[ChildRow, ...]
    children: tuple[str, ...]
    spawned: tuple[SpawnedRow, ...]
    events: tuple[EventRow, ...]


def execution_details(rows: ExecutionRows) -> ExecutionDetails:
    """Return the details of an execution; payloads as plain JSON."""
    run, summary = rows.run, rows.run.summary
    state = summary.state
    return ExecutionDetails(
        execution_id=summary.execution_id,
        workflow=summary.workflow,
        version=summary.version,
        state=state,
        input=plain(run.input),
        result=plain(run.outcome) if state is RunState.COMPLETED else None,
        failure=_failure_of_run(run),
        waiting_for=[] if state.is_terminal else list(_waits(rows)),
        deadline=run.deadline_at,
        worker=run.worker,
        tags=summary.tags,
        parent=run.parent,
        children=list(rows.children),
        orphans=shortest(run.orphans, [step.ident for step in rows.steps]),
        divergence=load_divergence(run.divergence) if run.divergence is not None else None,
        run=summary,
        runs=list(rows.runs),
        steps=[_as_of_end(step, summary) for step in step_details(rows)],
        events=[_event(row) for row in rows.events],
    )


def step_details(rows: ExecutionRows) -> Iterator[StepDetails]:
    """Return the recorded calls in the order of the body, then the open ones: retries, spawns, waits, children."""
    attempts: defaultdict[str, list[AttemptRow]] = defaultdict(list)
    for attempt in rows.attempts:
        attempts[attempt.ident].append(attempt)
    for step in rows.steps:
        yield _recorded(step, attempts.pop(step.ident, []))
    spawned = [_open_spawn(row, attempts.pop(row.ident, [])) for row in rows.spawned]
    for ident, tries in attempts.items():
        yield _unfinished(ident, tries)
    yield from spawned
    for wait in rows.waits:
        yield _open("event", wait.ident, wait.created_at)
    for child in rows.open_children:
        yield _open("child", child.ident, child.created_at)


def execution_tree(rows: Iterable[tuple[RunSummary, str | None]]) -> ExecutionTree:
    """Return the tree whose root is the first of `rows`; each row has its parent's id, and comes after its parent."""
    children: defaultdict[str | None, list[RunSummary]] = defaultdict(list)
    for run, parent in rows:
        children[parent].append(run)
    trees: dict[str, ExecutionTree] = {}
    for run in reversed([run for level in children.values() for run in level]):
        own = [trees[child.execution_id] for child in children.get(run.execution_id, ())]
        trees[run.execution_id] = ExecutionTree(run, own)
    return trees[children[None][0].execution_id]


def _as_of_end(step: StepDetails, run: RunSummary) -> StepDetails:
    """Return the step as it stands now: what was open when its run ended was cancelled with it."""
    if step.state in _OPEN and run.state.is_terminal:
        return replace(step, state=StepState.CANCELLED, completed_at=run.completed_at)
    return step


def _failure_of_run(run: RunRow) -> Failure | None:
    match run.summary.state:
        case RunState.FAILED:
            return failure(run.outcome or b"null")
        case RunState.CANCELLED:
            return Failure("cancelled", "RunCancelled", plain(run.outcome) or "no reason was given")
        case _:
            return None


def _waits(rows: ExecutionRows) -> Iterator[WaitingFor]:
    run, done = rows.run, {step.ident for step in rows.steps}
    if run.summary.state is RunState.SCHEDULED:
        if run.waiting_until is not None:
            yield WaitingFor("timer", "start", run.waiting_until)
        if not run.served:
            yield WaitingFor("worker", run.summary.workflow, None)
    for step in rows.steps:
        if step.kind == "z" and not step.come:
            yield WaitingFor("timer", _name(step.ident), step.wake_at)
    for wait in rows.waits:
        yield WaitingFor("event", wait.name, wait.deadline)
    for child in rows.open_children:
        yield WaitingFor("child", _name(child.ident), None)
    for spawned in rows.spawned:
        yield WaitingFor("steps", _name(spawned.ident), None)
    for attempt in rows.attempts:
        if attempt.pending and attempt.ident not in done and attempt.kind != "p":
            yield WaitingFor("retry", _name(attempt.ident), attempt.next_at)


def _recorded(row: StepRow, tries: Iterable[AttemptRow]) -> StepDetails:
    identity = Identity.parse(row.ident)
    sleeping = not row.come
    ended = _failure_of_step(row)
    attempts = [
        _attempt(attempt) for attempt in tries if _is_shown(attempt) and attempt.attempt < row.attempt
    ]
    timed_out_in_it = row.outcome == "t" and row.started_at is not None  # else between two attempts
    if row.kind in "sp" and (row.outcome in "oe" or timed_out_in_it):
        beat = next((plain(each.heartbeat) for each in tries if each.attempt == row.attempt), None)
        attempts.append(AttemptDetails(row.attempt, row.started_at, row.completed_at, ended, beat))
    return StepDetails(
        name=identity.name,
        scope=identity.scope,
        kind=_KINDS[row.kind],
        key=identity.key,
        state=StepState.SLEEPING if sleeping else _STATES[row.outcome],
        attempt=row.attempt,
        attempts=attempts,
        result=plain(row.payload) if row.outcome == "o" else None,
        failure=ended,
        started_at=row.started_at,
        completed_at=None if sleeping else row.wake_at or row.completed_at,
        worker=row.worker,
    )


def _unfinished(ident: str, tries: Sequence[AttemptRow]) -> StepDetails:
    """Return a step without a record: attempts failed, one is alive, or only its deadline is known."""
    identity = Identity.parse(ident)
    last = tries[-1]
    failed = [attempt for attempt in tries if attempt.error is not None]
    return StepDetails(
        name=identity.name,
        scope=identity.scope,
        kind=_KINDS[last.kind],
        key=identity.key,
        state=StepState.RETRYING if failed and last in failed else StepState.RUNNING,
        attempt=last.attempt,
        attempts=[_attempt(attempt) for attempt in tries if _is_shown(attempt)],
        result=None,
        failure=failure(failed[-1].error or b"null") if failed else None,
        started_at=tries[0].started_at,
        completed_at=None,
        worker=last.worker,
    )


def _open_spawn(row: SpawnedRow, tries: Sequence[AttemptRow]) -> StepDetails:
    identity = Identity.parse(row.ident)
    failed = [attempt for attempt in tries if attempt.error is not None]
    state = StepState.RETRYING if failed else StepState.SCHEDULED
    return StepDetails(
        name=identity.name,
        scope=identity.scope,
        kind="spawn",
        key=identity.key,
        state=StepState.RUNNING if row.state == "a" and not failed else state,
        attempt=failed[-1].attempt + 1 if failed else 1,
        attempts=[_attempt(attempt) for attempt in failed],
        result=None,
        failure=failure(failed[-1].error or b"null") if failed else None,
        started_at=tries[0].started_at if tries else None,
        completed_at=None,
        worker=row.worker,
    )


def _open(kind: str, ident: str, since: datetime) -> StepDetails:
    """Return a call that waits for something from outside."""
    identity = Identity.parse(ident)
    return StepDetails(
        name=identity.name,
        scope=identity.scope,
        kind=kind,
        key=identity.key,
        state=StepState.WAITING,
        attempt=1,
        attempts=[],
        result=None,
        failure=None,
        started_at=since,
        completed_at=None,
        worker=None,
    )


def _failure_of_step(row: StepRow) -> Failure | None:
    if row.outcome == "x":
        return Failure("cancelled", "ExecutionCancelled", plain(row.payload) or "no reason was given")
    return failure(row.payload) if row.outcome in "et" and row.payload is not None else None


def _is_shown(row: AttemptRow) -> bool:
    """Return whether the attempt itself has something to show, and not only its step a deadline."""
    return row.error is not None or row.heartbeat is not None


def _attempt(row: AttemptRow) -> AttemptDetails:
    error = failure(row.error) if row.error else None
    return AttemptDetails(row.attempt, row.started_at, row.ended_at, error, plain(row.heartbeat))


def _event(row: EventRow) -> EventDetails:
    consumed = row.consumed_ident
    return EventDetails(
        event_id=str(row.event_id),
        name=row.name,
        key=row.key,
        payload=plain(row.payload),
        accepted_at=row.accepted_at,
        state="pending" if consumed is None else "consumed",
        consumed_by=None if consumed is None else _name(consumed),
    )


def _name(ident: str) -> str:
    return Identity.parse(ident).name
