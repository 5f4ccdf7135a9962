"""Claiming tasks, looking at the active ones, and the sweeper's work on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from zart_scheduler.sql import queries
from zart_scheduler.store.statement import Row, Statement

_SQL = queries("tasks")
_CLAIM = _SQL["claim_tasks"]
_LOOK = _SQL["look_at_active"]
_LIST_OWNED = _SQL["list_owned"]
_FIRE_DUE = _SQL["fire_due"]
_REQUEUE_DEAD = _SQL["requeue_dead"]
_END_OVERDUE = _SQL["end_overdue"]
_TRUST = _SQL["trust"]
_LIST_CRASHED = _SQL["list_crashed"]
_FAIL_CRASHED = _SQL["fail_crashed"]
_CANCEL_CHILDREN = _SQL["cancel_children"]


class Handler(NamedTuple):
    """A registered workflow version. `current` also takes tasks bound to no version; `timeout` in seconds."""

    workflow: str
    version: str
    current: bool
    timeout: float | None


class Claimed(NamedTuple):
    """A task that is this worker's by `epoch`: the body of a run (`kind` b), or a spawned step (s)."""

    task_id: UUID
    run_id: UUID
    execution_id: str
    epoch: int
    workflow: str
    version: str
    crash_count: int
    kind: str


class Look(NamedTuple):
    """An active task for which something is to be done: end it, or collect what has come (`news`)."""

    task_id: UUID
    epoch: int
    cancel: bool
    cancel_reason: str | None
    overdue: bool
    news: bool


class Owned(NamedTuple):
    """A task that is active for the worker, by the epoch of its claim."""

    task_id: UUID
    epoch: int


class Crashed(NamedTuple):
    """A ready run whose workers have died `deaths` times in a row."""

    run_id: UUID
    execution_id: str
    deaths: int


def claim(
    worker_id: UUID,
    claim_id: UUID,
    *,
    queues: Sequence[str],
    handlers: Sequence[Handler],
    limit: int,
    suspects: bool = False,
) -> Statement[list[Claimed] | None]:
    """Take up to `limit` ready tasks; None: the worker is fenced off and must end this incarnation.

    `suspects` takes those whose workers died twice in a row or more, and no others.
    """
    params = {
        "worker": worker_id,
        "claim": claim_id,
        "queues": list(queues),
        "workflows": [handler.workflow for handler in handlers],
        "versions": [handler.version for handler in handlers],
        "current": [handler.current for handler in handlers],
        "timeouts": [handler.timeout for handler in handlers],
        "limit": limit,
        "suspects": suspects,
    }
    return Statement(_CLAIM, params, _claimed)


def look(worker_id: UUID) -> Statement[list[Look]]:
    """Return the worker's active tasks that want attention; one unlocked query for all of them."""
    return Statement(_LOOK, {"worker": worker_id}, lambda rows: [Look._make(row) for row in rows])


def list_owned(worker_id: UUID) -> Statement[list[Owned]]:
    """Return all tasks that the worker owns, whether it knows of them or not."""
    return Statement(_LIST_OWNED, {"worker": worker_id}, lambda rows: [Owned._make(row) for row in rows])


def fire_due(worker_id: UUID, limit: int) -> Statement[int]:
    """Make up to `limit` waiting tasks ready whose time has come; return how many.

    Those that `worker_id` has just handed back, because its code does not fit them, are left to others for a while.
    """
    return Statement(_FIRE_DUE, {"worker": worker_id, "limit": limit}, _number)


def requeue_dead(limit: int) -> Statement[int]:
    """Hand up to `limit` tasks of dead workers back; return how many."""
    return Statement(_REQUEUE_DEAD, {"limit": limit}, _number)


def end_overdue(limit: int, grace: float, deadline_payload: bytes) -> Statement[int]:
    """End runs past their deadline, and owned ones whose owner did not obey within `grace` seconds; return how many.

    `deadline_payload` is the failure that a run past its deadline gets, as JSON text.
    """
    return Statement(_END_OVERDUE, {"limit": limit, "grace": grace, "payload": deadline_payload}, _number)


def trust(worker_id: UUID, run_id: UUID, epoch: int) -> Statement[bool]:
    """Let the next death of the worker not count against the run; False: the worker is fenced off."""
    return Statement(_TRUST, {"worker": worker_id, "run": run_id, "epoch": epoch}, _number)


def list_crashed(limit: int) -> Statement[list[Crashed]]:
    """Return runs whose workers have died as often in a row as their workflow allows."""
    return Statement(_LIST_CRASHED, {"limit": limit}, lambda rows: [Crashed._make(row) for row in rows])


def fail_crashed(run_id: UUID, payload: bytes) -> Statement[bool]:
    """Fail such a run with `payload`, the failure as JSON text; return whether it was still to be had."""
    return Statement(_FAIL_CRASHED, {"run": run_id, "payload": payload}, _number)


def cancel_children(limit: int) -> Statement[int]:
    """Cancel up to `limit` runs that their parents have left or given up; return how many. The next level follows."""
    return Statement(_CANCEL_CHILDREN, {"limit": limit}, _number)


def _claimed(rows: list[Row]) -> list[Claimed] | None:
    if rows and rows[0][-1]:
        return None
    return [Claimed._make(row[:-1]) for row in rows]


def _number(rows: list[Row]) -> Any:
    return rows[0][0]
