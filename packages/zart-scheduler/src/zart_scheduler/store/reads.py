"""Queries that people and waiters ask: lists, details, endings. None of them locks or writes anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from zart_core import RunState, RunSummary
from zart_core.spi import (
    AttemptRow,
    ChildRow,
    Ending,
    EventRow,
    RunFilter,
    RunRow,
    SpawnedRow,
    StepRow,
    WaitRow,
)
from zart_scheduler.sql import queries
from zart_scheduler.store.statement import Row, Statement, nothing

_SQL = queries("reads")
_LIVE = (RunState.SCHEDULED, RunState.RUNNING, RunState.SLEEPING, RunState.WAITING, RunState.BLOCKED)
_SUMMARY = 11
"""Columns of a summary, the first of every query on runs."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A value that a run has published; both None if it has published none by that name."""

    value: bytes | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection is: its server and database, the schema of Zart's tables if it finds them, its search path."""

    database: str
    schema: str | None
    search_path: str


def list_runs(
    wanted: RunFilter, limit: int, after: tuple[datetime, UUID] | None
) -> Statement[tuple[RunSummary, ...]]:
    """List at most `limit` runs, newest first, that come after the run created at `after`."""
    name = "list_live_runs" if wanted.state in _LIVE else "list_runs"
    parameters = {
        "all_runs": wanted.all_runs,
        "state": wanted.state,
        "workflow": wanted.workflow,
        "queue": wanted.queue,
        "tags": None if wanted.tags is None else json.dumps(dict(wanted.tags)),
        "since": wanted.since,
        "until": wanted.until,
        "search": wanted.search,
        "after": after and after[0],
        "after_run": after and after[1],
        "limit": limit,
    }
    return Statement(_SQL[name], parameters, _each(_summary))


def list_runs_of_execution(execution_id: str) -> Statement[tuple[RunSummary, ...]]:
    """List all runs of an execution, oldest first."""
    return Statement(_SQL["list_runs_of_execution"], {"execution_id": execution_id}, _each(_summary))


def get_state(execution_id: str) -> Statement[RunState | None]:
    """Get the state of an execution's current run; None if there is no such execution."""
    return Statement(_SQL["get_state"], {"execution_id": execution_id}, _first(lambda row: RunState(row[0])))


def get_execution(execution_id: str) -> Statement[RunRow | None]:
    """Get an execution's current run; None if there is no such execution."""
    return Statement(_SQL["get_execution"], {"execution_id": execution_id}, _first(_run_row))


def list_steps(run_id: str) -> Statement[tuple[StepRow, ...]]:
    """List what a run has recorded, in the order of its calls."""
    return Statement(_SQL["list_steps"], {"run_id": run_id}, _each(lambda row: StepRow(*row)))


def list_attempts(run_id: str) -> Statement[tuple[AttemptRow, ...]]:
    """List a run's recorded attempts, by step and number."""
    return Statement(_SQL["list_attempts"], {"run_id": run_id}, _each(lambda row: AttemptRow(*row)))


def list_waits(run_id: str) -> Statement[tuple[WaitRow, ...]]:
    """List a run's open waits for events."""
    return Statement(_SQL["list_waits"], {"run_id": run_id}, _each(lambda row: WaitRow(*row)))


def list_open_children(run_id: str) -> Statement[tuple[ChildRow, ...]]:
    """List the child executions that a run waits for."""
    return Statement(_SQL["list_open_children"], {"run_id": run_id}, _each(lambda row: ChildRow(*row)))


def list_children(execution_id: str) -> Statement[tuple[str, ...]]:
    """List the ids of an execution's children, in order of their start."""
    return Statement(_SQL["list_children"], {"execution_id": execution_id}, _each(lambda row: str(row[0])))


def list_tree(execution_id: str) -> Statement[tuple[tuple[RunSummary, str | None], ...]]:
    """List an execution and its descendants, each with its parent's id there; parents come before their children."""
    return Statement(
        _SQL["list_tree"],
        {"execution_id": execution_id},
        _each(lambda row: (_summary(row[:_SUMMARY]), row[_SUMMARY])),
    )


def list_spawned(run_id: str) -> Statement[tuple[SpawnedRow, ...]]:
    """List a run's spawned steps that have no outcome yet."""
    return Statement(_SQL["list_spawned"], {"run_id": run_id}, _each(lambda row: SpawnedRow(*row)))


def list_events(execution_id: str) -> Statement[tuple[EventRow, ...]]:
    """List an execution's events in order of acceptance."""
    return Statement(_SQL["list_events"], {"execution_id": execution_id}, _each(lambda row: EventRow(*row)))


def get_published(execution_id: str, key: str) -> Statement[PublishedRow | None]:
    """Get what an execution's current run has published as `key`; None if there is no such execution."""
    parameters = {"execution_id": execution_id, "key": key}
    return Statement(_SQL["get_published"], parameters, _first(lambda row: PublishedRow(*row)))


def find_endings(execution_ids: Iterable[str]) -> Statement[tuple[Ending, ...]]:
    """Find those of `execution_ids` that have ended, are blocked or are not there."""
    ids = json.dumps(list(execution_ids))
    return Statement(_SQL["find_endings"], {"ids": ids}, _each(lambda row: Ending(*row)))


def find_place() -> Statement[Place]:
    """Find out where a connection is."""
    return Statement(_SQL["find_place"], {}, lambda rows: Place(*rows[0]))


def set_search_path(path: str) -> Statement[None]:
    """Use another search path until the transaction ends."""
    return Statement(_SQL["set_search_path"], {"path": path}, nothing)


def _each(make: Callable[[Row], T]) -> Callable[[list[Row]], tuple[T, ...]]:
    return lambda rows: tuple(make(row) for row in rows)


def _first(make: Callable[[Row], T]) -> Callable[[list[Row]], T | None]:
    return lambda rows: make(rows[0]) if rows else None


def _summary(row: Row) -> RunSummary:
    execution_id, run_id, run_index, workflow, version, state, *rest = row
    return RunSummary(execution_id, str(run_id), run_index, workflow, version, RunState(state), *rest)


def _run_row(row: Row) -> RunRow:
    return RunRow(_summary(row[:_SUMMARY]), *row[_SUMMARY:])
