"""What the store in memory holds: the database's rows, as objects. Times are seconds of the clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from zart_core.handlers import Phase
from zart_core.journal import Kind, Outcome, Record
from zart_core.states import RunState


class Task(Enum):
    """Where a run that has not ended lies."""

    READY = "r"
    ACTIVE = "a"
    PARKED = "w"
    BLOCKED = "b"


@dataclass(slots=True)
class Step:
    """One record of a journal. A sleep has `wake_at`; a record without a turn has not come to the body yet."""

    record: Record
    sequence: int
    completed_at: float
    started_at: float | None = None
    wake_at: float | None = None
    worker: str | None = None

    def has_come(self, now: float) -> bool:
        """Return whether what it stands for is over."""
        return self.wake_at is None or self.wake_at <= now


@dataclass(slots=True)
class Attempt:
    """One recorded attempt: it failed, or its step has a deadline."""

    kind: Kind
    number: int
    started_at: float
    worker: str
    ended_at: float | None = None
    next_at: float | None = None
    deadline_at: float | None = None
    error: bytes | None = None
    heartbeat: bytes | None = None


@dataclass(slots=True)
class Wait:
    """An open wait for an event."""

    identity: str
    sequence: int
    name: str
    deadline: float | None
    created_at: float


@dataclass(slots=True)
class Event:
    """One event; `consumed_by` is the run and the identity of the wait that took it."""

    number: int
    name: str
    key: str | None
    payload: bytes
    accepted_at: float
    consumed_by: tuple[str, str] | None = None


@dataclass(slots=True)
class Run:
    """One run, with its task while it has not ended."""

    run_id: str
    execution: Execution
    version: str
    queue: str
    priority: int
    input: bytes
    number: int
    created_at: float
    due_at: float | None
    task: Task | None
    run_index: int = 0
    epoch: int = 0
    phase: Phase = Phase.BODY
    state: str = "live"
    outcome: bytes | None = None
    started_at: float | None = None
    finished_at: float | None = None
    deadline_at: float | None = None
    worker: str | None = None
    crash_count: int = 0
    """Deaths of its workers in a row, nothing being recorded in between."""
    divergence: bytes | None = None
    """Why it is blocked, as it is stored."""
    orphans: list[str] = field(default_factory=list)
    cancel_asked: bool = False
    cancel_reason: bytes = b"null"
    steps: dict[str, Step] = field(default_factory=dict)
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    waits: dict[str, Wait] = field(default_factory=dict)
    published: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    """The latest value of each name, and when it came."""

    @property
    def public_state(self) -> RunState:
        """What the run does, wherever it lies."""
        if self.state != "live":
            return RunState(self.state)
        if self.task is Task.ACTIVE:
            return RunState.RUNNING
        if self.task is Task.PARKED and self.epoch > 0:
            return RunState.WAITING if self.waits else RunState.SLEEPING
        return RunState.SCHEDULED

    @property
    def has_rollbacks(self) -> bool:
        """Whether its body has ever registered one."""
        return any(step.record.kind is Kind.SAGA for step in self.steps.values())

    def next_wake(self) -> float | None:
        """Return when the next sleep or wait is over."""
        times = [step.wake_at for step in self.steps.values() if step.record.turn is None]
        times += [wait.deadline for wait in self.waits.values()]
        return min((time for time in times if time is not None), default=None)

    def next_attempt(self) -> float | None:
        """Return when a step is to be tried again, or times out."""
        open_ = [tries for identity, tries in self.attempts.items() if identity not in self.steps]
        times = [tries[-1].next_at for tries in open_] + [a.deadline_at for tries in open_ for a in tries]
        return min((time for time in times if time is not None), default=None)

    def news(self, now: float) -> list[Step]:
        """Return what has come from outside and has no turn yet."""
        return [step for step in self.steps.values() if step.record.turn is None and step.has_come(now)]

    def expire_waits(self, now: float) -> None:
        """Record the timeout of every wait whose deadline has passed, without a turn."""
        for wait in list(self.waits.values()):
            if wait.deadline is not None and wait.deadline <= now:
                del self.waits[wait.identity]
                record = Record(
                    wait.identity, Kind.EVENT, Outcome.TIMEOUT, None, None, sequence=wait.sequence
                )
                self.steps.setdefault(
                    wait.identity, Step(record, wait.sequence, now, started_at=wait.created_at)
                )

    def unsee(self, identities: Iterable[str]) -> None:
        """Take the turn from events that no body has seen: they are to come again, or to return to the mailbox."""
        for identity in identities:
            step = self.steps.get(identity)
            if step is not None and (step.record.kind, step.record.outcome) == (Kind.EVENT, Outcome.OK):
                step.record.turn = None

    def meet_wait(self, event: Event, now: float) -> str | None:
        """Give an event to the oldest open wait of its name; return that wait's identity."""
        fitting = [
            wait
            for wait in self.waits.values()
            if wait.name == event.name and (wait.deadline is None or wait.deadline > now)
        ]
        if not fitting:
            return None
        wait = min(fitting, key=lambda wait: (wait.sequence, wait.identity))
        del self.waits[wait.identity]
        record = Record(wait.identity, Kind.EVENT, Outcome.OK, None, event.payload, sequence=wait.sequence)
        self.steps[wait.identity] = Step(record, wait.sequence, now, started_at=wait.created_at)
        event.consumed_by = (self.run_id, wait.identity)
        return wait.identity


@dataclass(slots=True)
class Execution:
    """One execution, its runs, oldest first, and its mailbox."""

    execution_id: str
    workflow: str
    input_hash: bytes
    tags: Mapping[str, str]
    runs: list[Run] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def run(self) -> Run:
        """The current run."""
        return self.runs[-1]
