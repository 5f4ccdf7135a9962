"""What a worker gives the engine: a claimed run, and what a run needs of the worker that holds it."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from zart_core.handlers import Phase
from zart_core.items import Item, OutcomeItem
from zart_core.journal import AttemptRecord, Journal, Outcome, Record

if TYPE_CHECKING:
    from zart_core.attempts import Attempts
    from zart_core.call import Work
    from zart_core.control import Signal
    from zart_core.current import ExecutionContext


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that this process owns since its claim raised the run's `epoch`, with its whole journal.

    `accepted` are the calls that people have vouched for when it was blocked.
    """

    run_id: str
    execution_id: str
    run_index: int
    workflow: str
    version: str
    queue: str
    tags: Mapping[str, str]
    started_at: datetime
    deadline: datetime | None
    epoch: int
    input: bytes
    phase: Phase
    outcome: bytes | None
    """How the body ended, if this is a later phase."""
    records: tuple[Record, ...]
    attempts: tuple[AttemptRecord, ...]
    accepted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClaimedStep:
    """A spawned step that this process owns, as a task of its own: its run's facts, and what it is to do.

    `is_wanted` is False if the run has ended meanwhile.
    """

    task_id: str
    epoch: int
    identity: str
    sequence: int
    payload: bytes
    attempts: tuple[AttemptRecord, ...]
    is_wanted: bool
    run_id: str
    execution_id: str
    run_index: int
    workflow: str
    version: str
    queue: str
    tags: Mapping[str, str]
    started_at: datetime
    deadline: datetime | None


class Left(Enum):
    """Why a task left its worker."""

    PARKED = "parked"
    RELEASED = "released"
    ENDED = "ended"
    CONTINUED = "continued"
    BLOCKED = "blocked"
    LOST = "lost"


class StepTransaction(Protocol):
    """The open transaction of one attempt of a step. All but `leave` is for the worker's loop."""

    @property
    def connection(self) -> Any:
        """What the step's code gets: a psycopg `AsyncConnection` or `Connection`."""
        ...

    def leave(self) -> None:
        """Let the step's code use the connection no more; from any thread."""
        ...

    def excuses(self, error: BaseException) -> bool:
        """Return whether the database or the network is to blame for `error`, and not the step."""
        ...

    def commit(self, item: OutcomeItem) -> None:
        """Record `item` and commit, fenced; then answer the run.

        The answer is `recorded`, or `attempts.rolled_back`, or `attempts.refused` with what was wrong about the step's
        use of the transaction; or the run is lost.
        """
        ...

    def roll_back(self) -> None:
        """Give the transaction up, at once or when the code that still uses it has left its block."""
        ...


class Held(Protocol):
    """A task that this process owns, a run or a spawned step, as those see it who work for both."""

    id: str
    host: Host
    context: ExecutionContext
    journal: Journal
    attempts: Attempts
    outstanding: int
    gone: Left | None
    has_recorded: bool

    @property
    def epoch(self) -> int:
        """The epoch of the claim by which this process owns it."""
        ...

    def put(self, item: Item) -> None:
        """Queue a write."""
        ...

    def record(self, call: Work, outcome: Outcome, payload: bytes | None, **facts: Any) -> None:
        """Queue the outcome of a call."""
        ...

    def outcome(self, call: Work, outcome: Outcome, payload: bytes | None, **facts: Any) -> OutcomeItem:
        """Return the item that records the outcome of a call; later outcomes of the run wait for it (L11)."""
        ...

    def try_again(self, identity: str) -> None:
        """Start the next attempt of a step, once that may be."""
        ...

    def advance(self) -> None:
        """Go on as far as it can."""
        ...

    def stop(self, signal: type[Signal], reason: str | None = None) -> None:
        """End it: somebody has cancelled it, its time is over, or it cannot go on."""
        ...

    def drain(self) -> None:
        """Begin nothing more; hand it back once what runs is recorded."""
        ...

    def abort_steps(self) -> None:
        """Cancel what still runs; it will not be recorded."""
        ...

    def evict(self) -> None:
        """Free the memory of what is not this worker's any more."""
        ...

    def lost(self) -> None:
        """Another worker owns it, or may: drop it at once (L4)."""
        ...

    def answered(self, item: Item) -> None:
        """`item` is done, whatever became of it."""
        ...

    def gone_as(self, why: Left) -> None:
        """It is not this worker's any more."""
        ...

    def refused(self, reason: str) -> Item:
        """Return what is to be written when nothing else of it can be."""
        ...


class Host(Protocol):
    """What a task needs of the worker that holds it."""

    @property
    def loop(self) -> AbstractEventLoop:
        """The loop on which steps run."""
        ...

    @property
    def threads(self) -> Executor:
        """Where sync steps run."""
        ...

    @property
    def max_payload(self) -> int:
        """Largest stored value in bytes."""
        ...

    def put(self, item: Item) -> None:
        """Write `item` with the next flush, and answer the run."""
        ...

    def left(self, run: Held, why: Left) -> None:
        """Take note that the task is not this worker's any more."""
        ...

    def look(self) -> None:
        """Look soon whether a run of this worker is to be stopped, or something has come for it."""
        ...

    async def begin_transaction(self, *, is_async: bool) -> StepTransaction:
        """Return an open transaction, with a connection for the loop or for a thread, however long it takes."""
        ...

    async def now(self) -> datetime:
        """Return the database's time."""
        ...

    def random(self) -> float:
        """Return a number in [0, 1), for jitter."""
        ...
