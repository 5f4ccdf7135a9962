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
from zart_core.items import Item, RecordItem
from zart_core.journal import AttemptRecord, Record

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun


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


class Left(Enum):
    """Why a run left its worker."""

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

    def commit(self, item: RecordItem) -> None:
        """Record `item` and commit, fenced; then answer the run.

        The answer is `recorded`, or `attempts.rolled_back`, or `attempts.refused` with what was wrong about the step's
        use of the transaction; or the run is lost.
        """
        ...

    def roll_back(self) -> None:
        """Give the transaction up, at once or when the code that still uses it has left its block."""
        ...


class Host(Protocol):
    """What a run needs of the worker that holds it."""

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

    def left(self, run: ActiveRun, why: Left) -> None:
        """Take note that the run is not this worker's any more."""
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
