"""What people and programs read about executions. Frozen; the same field names in Python, CLI JSON and HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from zart_core.states import RunState, StepState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """How a step or run failed.

    `kind` is `error` for users' exceptions, `cancelled`, else the name of the engine's error class. `type` is the
    exception's `__qualname__`. `exception` is the restored exception where it is at hand; it is never serialised.
    """

    kind: str
    type: str
    message: str
    traceback: str = ""
    exception: BaseException | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run, as lists show it."""

    execution_id: str
    run_id: str
    run_index: int
    workflow: str
    version: str | None
    state: RunState
    queue: str
    tags: Mapping[str, str]
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class WaitingFor:
    """One open wait of a run. `kind` is timer, event, retry, steps, child, limit, paused or worker."""

    kind: str
    name: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class AttemptDetails:
    """One attempt of a step, counted from 1."""

    number: int
    started_at: datetime | None
    completed_at: datetime | None
    failure: Failure | None
    heartbeat: Any = None


@dataclass(frozen=True, slots=True)
class StepDetails:
    """One durable call of a run. `attempt` is the number of the latest one."""

    name: str
    scope: str
    kind: str
    key: str | None
    state: StepState
    attempt: int
    attempts: list[AttemptDetails]
    result: Any
    failure: Failure | None
    started_at: datetime | None
    completed_at: datetime | None
    worker: str | None


@dataclass(frozen=True, slots=True)
class EventDetails:
    """One event of an execution's mailbox. `state` is `pending` or `consumed`; `consumed_by` names the wait.

    `key` is that of a broadcast; an event sent to the execution itself has none.
    """

    event_id: str
    name: str
    key: str | None
    payload: Any
    accepted_at: datetime
    state: str
    consumed_by: str | None


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """The recorded side of a divergence. `args` is a digest of the arguments: equal ones have equal digests.

    `completed_at` and `worker` tell when it was recorded and by whom.
    """

    name: str
    scope: str
    identity: str
    kind: str
    outcome: str
    args: str | None
    completed_at: datetime | None = None
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class CurrentCall:
    """What today's code does where it diverges. `arguments` is their text, cut short; `where` its source line."""

    name: str
    scope: str
    identity: str
    kind: str
    args: str | None
    arguments: str | None
    where: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way to repair a blocked run: `command` is complete, `effect` says when to take it and what it does."""

    command: str
    effect: str


@dataclass(frozen=True, slots=True)
class DivergenceDetails:
    """Why a run is blocked: both sides, where there are two, the likely cause, and what repairs it.

    `code` is stable and tells the sort: another kind, other arguments, a renamed call, an unreadable record, a body
    that waits for nothing, a fault of the engine or the database.
    """

    code: str
    reason: str
    cause: str
    recorded: RecordedCall | None
    current: CurrentCall | None
    remedies: list[Remedy]

    def __str__(self) -> str:
        commands = " or ".join(f"`{remedy.command}`" for remedy in self.remedies)
        return f"{self.reason}; likely cause: {self.cause}; to repair it: {commands}"


@dataclass(frozen=True, slots=True)
class ExecutionDetails:
    """All that is known of one execution's current run.

    `orphans` names the records that no call of the code met by which the run ended. `divergence` tells why it is
    blocked, None if it is not.
    """

    execution_id: str
    workflow: str
    version: str | None
    state: RunState
    input: Any
    result: Any
    failure: Failure | None
    waiting_for: list[WaitingFor]
    deadline: datetime | None
    worker: str | None
    tags: Mapping[str, str]
    parent: str | None
    children: list[str]
    orphans: list[str]
    divergence: DivergenceDetails | None
    run: RunSummary
    runs: list[RunSummary]
    steps: list[StepDetails]
    events: list[EventDetails]


@dataclass(frozen=True, slots=True)
class ExecutionTree:
    """An execution's current run, and the trees of the children that it has started, in order of their start."""

    run: RunSummary
    children: list[ExecutionTree]


@dataclass(frozen=True, slots=True)
class EventReceipt:
    """What became of a sent event. `waiting`: a wait took it at once. `duplicate`: its key was seen before.

    `matched` counts the waits that took it at once: one at most, but of a broadcast any number.
    """

    event_id: str
    duplicate: bool
    waiting: bool
    matched: int


@dataclass(frozen=True, slots=True)
class PublishedValue:
    """The latest value that a run has published by a name, and since when it is that."""

    key: str
    value: Any
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `next_cursor` is None on the last one."""

    items: list[T]
    next_cursor: str | None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)
