"""What a store tells of executions, row by row, for those who make records for people of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from zart_core.records import RunSummary
from zart_core.states import RunState


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a list shows. None means any. `until` is exclusive; `search` is a part of the id or workflow."""

    state: RunState | None = None
    workflow: str | None = None
    tags: Mapping[str, str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    queue: str | None = None
    search: str | None = None
    all_runs: bool = False


@dataclass(frozen=True, slots=True)
class RunRow:
    """An execution's current run. `served`: some live worker has registered its workflow and serves its queue."""

    summary: RunSummary
    waiting_until: datetime | None
    deadline_at: datetime | None
    input: bytes
    outcome: bytes | None
    orphans: list[str]
    divergence: bytes | None
    worker: str | None
    served: bool
    parent: str | None


@dataclass(frozen=True, slots=True)
class StepRow:
    """One record of a journal; kinds and outcomes as they are stored. `come`: what it stands for is over."""

    ident: str
    kind: str
    outcome: str
    come: bool
    wake_at: datetime | None
    attempt: int
    started_at: datetime | None
    completed_at: datetime
    worker: str | None
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One recorded attempt: it failed (`error`), sent a heartbeat, or its step has a deadline.

    `pending`: the next may not start yet.
    """

    ident: str
    kind: str
    attempt: int
    started_at: datetime
    ended_at: datetime | None
    next_at: datetime | None
    deadline_at: datetime | None
    pending: bool
    worker: str | None
    error: bytes | None
    heartbeat: bytes | None


@dataclass(frozen=True, slots=True)
class WaitRow:
    """One open wait for an event."""

    ident: str
    name: str
    deadline: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ChildRow:
    """A child execution that is waited for."""

    ident: str
    execution_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SpawnedRow:
    """A spawned step without an outcome. `state` is that of its task: ready r, active a, waiting w."""

    ident: str
    state: str
    due_at: datetime | None
    worker: str | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of a mailbox."""

    event_id: int
    name: str
    key: str | None
    payload: bytes | None
    accepted_at: datetime
    consumed_ident: str | None


@dataclass(frozen=True, slots=True)
class Ending:
    """How an execution's current run ended, or that it is blocked. `state` is None if there is no such execution."""

    execution_id: str
    state: str | None
    outcome: bytes | None
