"""What runs are, and what they were started with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from zart_scheduler.sql import queries
from zart_scheduler.store.statement import Statement

_SQL = queries("runs")
_LOAD_INPUTS = _SQL["load_inputs"]
_LOAD_SPAWNED = _SQL["load_spawned"]


class RunInput(NamedTuple):
    """A claimed run. `epoch` is that of its task now; another than the claim's means that the run has moved on.

    `outcome` is how its body has ended, if `phase` tells that it has.
    """

    run_id: UUID
    execution_id: str
    run_index: int
    workflow: str
    version: str | None
    queue: str
    tags: Mapping[str, str]
    created_at: datetime
    started_at: datetime | None
    deadline_at: datetime | None
    input: bytes | None
    accepted: Sequence[str]
    epoch: int
    phase: str
    outcome: bytes | None


class SpawnedRow(NamedTuple):
    """A claimed spawned step, with the facts of its run. `wanted` is False if the run has ended."""

    task_id: UUID
    epoch: int
    ident: str
    seq: int
    payload: bytes
    wanted: bool
    run_id: UUID
    execution_id: str
    run_index: int
    workflow: str
    version: str
    queue: str
    tags: Mapping[str, str]
    created_at: datetime
    started_at: datetime | None
    deadline_at: datetime | None


def load_spawned(tasks: Sequence[UUID]) -> Statement[list[SpawnedRow]]:
    """Return what spawned steps are to do; one that was cancelled meanwhile is left out."""
    return Statement(
        _LOAD_SPAWNED, {"tasks": list(tasks)}, lambda rows: [SpawnedRow._make(row) for row in rows]
    )


def load_inputs(runs: Sequence[UUID]) -> Statement[list[RunInput]]:
    """Return what `runs` were started with; a run that has ended meanwhile is left out."""
    return Statement(_LOAD_INPUTS, {"runs": list(runs)}, lambda rows: [RunInput._make(row) for row in rows])
