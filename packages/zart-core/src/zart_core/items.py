"""What a run asks its checkpoint writer to write. One item is one write, in the order in which they are put.

Records, attempts and collects need no lock on the run's task row. The others do, so the database may answer
"busy" and they are tried again. What the database decides takes its turn when the flush is built (storage order).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from zart_core.journal import UNSET, Kind, Outcome, Record

if TYPE_CHECKING:
    from zart_core.call import Work
    from zart_core.definition import Workflow
    from zart_core.executor import ActiveRun
    from zart_core.host import Held
    from zart_core.spawned import SpawnedStep


@dataclass(slots=True)
class Item:
    """One write for one task: a run, or a spawned step."""

    run: Held


@dataclass(slots=True)
class RecordItem(Item):
    """The outcome of a call that this process made. A sleep has `length` or `until` and no turn yet.

    `published` is the value that anyone may read from now on by the call's name.
    """

    run: ActiveRun
    identity: str
    sequence: int
    name: str
    kind: Kind
    outcome: Outcome
    turn: int | None
    payload: bytes | None = None
    args_hash: bytes | None = None
    attempt: int = 1
    elapsed: float | None = None
    length: float | None = None
    until: datetime | None = None
    value: Any = UNSET
    published: bytes | None = None

    @staticmethod
    def of(
        run: ActiveRun,
        call: Work,
        outcome: Outcome,
        turn: int | None,
        payload: bytes | None,
        **facts: Any,
    ) -> RecordItem:
        """Return the item that records `outcome` of `call`."""
        kind = call.operation.kind
        sequence, args_hash = call.sequence, call.args_hash
        return RecordItem(
            run, call.identity, sequence, call.name, kind, outcome, turn, payload, args_hash, **facts
        )

    def to_record(self) -> Record:
        """Return what the journal has of it once it is committed."""
        return Record(
            self.identity,
            self.kind,
            self.outcome,
            self.turn,
            self.payload,
            self.args_hash,
            self.attempt,
            self.sequence,
            self.value,
        )


@dataclass(slots=True)
class AttemptItem(Item):
    """A failed attempt and when the next may start, the deadline of a step, or a heartbeat; seconds from now."""

    identity: str
    name: str
    kind: Kind
    attempt: int
    elapsed: float | None = None
    payload: bytes | None = None
    delay: float | None = None
    deadline: float | None = None
    heartbeat: bytes | None = None


@dataclass(slots=True)
class LockedItem(Item):
    """A write under the lock of the run's task row."""


@dataclass(slots=True)
class WaitItem(LockedItem):
    """Wait for an event, at most `timeout` seconds; with a `key` also for a broadcast of that key."""

    run: ActiveRun
    identity: str
    sequence: int
    name: str
    key: str | None
    timeout: float | None
    turn: int = 0


@dataclass(slots=True)
class ChildItem(LockedItem):
    """Start a child execution, unless an earlier pass has. With `reference` it is detached: that is the outcome."""

    run: ActiveRun
    identity: str
    sequence: int
    execution_id: str
    workflow: Workflow[Any, Any]
    input: bytes
    args_hash: bytes | None
    reference: bytes | None
    turn: int = 0


@dataclass(slots=True)
class CancelItem(LockedItem):
    """Close a sleep, a wait or a child that the body cancelled (L12); `child` is the id of the execution."""

    run: ActiveRun
    identity: str
    sequence: int
    kind: Kind
    child: str | None = None
    turn: int = 0


@dataclass(slots=True)
class SpawnItem(LockedItem):
    """Make a step a task of its own, unless it is one or is recorded; `payload` says what it is to do."""

    run: ActiveRun
    identity: str
    sequence: int
    payload: bytes


@dataclass(slots=True)
class RevokeItem(LockedItem):
    """Cancel a spawned step, unless its outcome is recorded; that then stands."""

    run: ActiveRun
    identity: str
    sequence: int
    turn: int = 0


@dataclass(slots=True)
class FinishItem(LockedItem):
    """The outcome of a spawned step, for the journal of its run; None: nobody wants it any more."""

    run: SpawnedStep
    outcome: Outcome | None
    payload: bytes | None = None
    args_hash: bytes | None = None
    attempt: int = 1
    elapsed: float | None = None

    @property
    def identity(self) -> str:
        """The call in the body."""
        return self.run.identity

    @property
    def name(self) -> str:
        """The name of the call."""
        return self.run.name


OutcomeItem: TypeAlias = RecordItem | FinishItem
"""The outcome of a step that this process has run."""


@dataclass(slots=True)
class DelayItem(LockedItem):
    """Give a spawned step up for `delay` seconds."""

    run: SpawnedStep
    delay: float


@dataclass(slots=True)
class CollectItem(Item):
    """Give a turn to all outcomes that have come from outside, and return them."""

    run: ActiveRun
    turn: int = 0


@dataclass(slots=True)
class ParkItem(LockedItem):
    """Give up slot and owner until one of `awaited` has come."""

    run: ActiveRun
    awaited: list[str]


@dataclass(slots=True)
class LeavingItem(LockedItem):
    """The run is given up or ends. `unseen` are waits whose events no body has seen, although they have a turn."""

    unseen: list[str] = field(default_factory=list, kw_only=True)


@dataclass(slots=True)
class ReleaseItem(LeavingItem):
    """Hand the task back, for any worker to claim at once."""


@dataclass(slots=True)
class EndItem(LeavingItem):
    """The body is over. `state` is completed, failed or cancelled.

    `undo`: there are rollbacks to be run. `orphans` are the records that no call has met.
    """

    run: ActiveRun
    state: str
    payload: bytes | None
    undo: bool = False
    orphans: Sequence[str] = ()


@dataclass(slots=True)
class ContinueItem(LeavingItem):
    """The run is over, and the execution's next one begins with `payload` as its input."""

    payload: bytes


@dataclass(slots=True)
class BlockItem(LeavingItem):
    """It cannot go on here: other workers may have other code, and in the end a person has to look.

    `payload` is why, as JSON. With `at_once` nobody else tries: it would only do again what cannot be recorded.
    """

    payload: bytes
    at_once: bool = False
