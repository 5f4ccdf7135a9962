"""What the database would hold of one run, and what it would make of each write. No clock, no loop, no chance.

It keeps to the order of the run as the schema does: what comes from outside has no turn until the owner gives one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zart_core.handlers import Phase
from zart_core.items import (
    AttemptItem,
    BlockItem,
    CancelItem,
    ChildItem,
    CollectItem,
    ContinueItem,
    DelayItem,
    EndItem,
    FinishItem,
    Item,
    ParkItem,
    RecordItem,
    ReleaseItem,
    RevokeItem,
    SpawnItem,
    WaitItem,
)
from zart_core.journal import UNSET, AttemptRecord, Kind, Outcome, Record

MOST_CLAIMS = 1000


@dataclass
class Wait:
    """An open wait of the run."""

    name: str
    deadline: float | None
    sequence: int


@dataclass
class Mail:
    """An event; `number` is its place in the mailbox."""

    number: int
    name: str
    payload: bytes


@dataclass
class SpawnedTask:
    """A step that is a task of its own. `due_at` None: it may be claimed."""

    sequence: int
    payload: bytes
    epoch: int = 0
    due_at: float | None = None


@dataclass
class Answer:
    """What a write came to. `records` are outcomes that the owner learns of by it."""

    verdict: str = "ok"
    records: list[Record] = field(default_factory=list)
    seconds: float | None = None


def _hear_nothing(_identities: list[str]) -> None:
    """What listens until a test does. By name: stores are pickled to go to another Python."""


@dataclass
class MemoryStore:
    """The rows of one run."""

    records: dict[str, Record] = field(default_factory=dict)
    wake_at: dict[str, float] = field(default_factory=dict)
    failures: dict[str, AttemptRecord] = field(default_factory=dict)
    waits: dict[str, Wait] = field(default_factory=dict)
    mailbox: list[Mail] = field(default_factory=list)
    consumed: dict[str, Mail] = field(default_factory=dict)
    children: dict[str, bytes | None] = field(default_factory=dict)
    """The child executions that run, by the call that started them, with the hash of its arguments."""
    born: list[str] = field(default_factory=list)
    """The calls whose child was started, in that order."""
    effects: list[Any] = field(default_factory=list)
    """What steps have written in their own transactions."""
    spawned: dict[str, SpawnedTask] = field(default_factory=dict)
    awaited: list[str] = field(default_factory=list)
    """What the run was parked for."""
    sent: int = 0
    epoch: int = 0
    ending: tuple[str, bytes | None] | None = None
    phase: Phase = Phase.BODY
    outcome: bytes | None = None
    """How the body ended, if a handler follows."""
    handlers: Mapping[str, Phase] = field(default_factory=dict)
    """What follows which end of the body."""
    orphans: tuple[str, ...] = ()
    accepted: set[str] = field(default_factory=set)
    """Calls that somebody has vouched for."""

    on_unsee: Callable[[list[str]], None] = field(default=_hear_nothing, repr=False)
    """Called with the calls whose outcomes are said to be unseen, when that is committed."""

    def copy(self) -> MemoryStore:
        """Return an independent copy, as a crash at this moment would leave it."""
        return replace(
            self,
            records={identity: replace(record) for identity, record in self.records.items()},
            wake_at=dict(self.wake_at),
            failures=dict(self.failures),
            waits=dict(self.waits),
            mailbox=list(self.mailbox),
            on_unsee=_hear_nothing,
            consumed=dict(self.consumed),
            children=dict(self.children),
            born=list(self.born),
            effects=list(self.effects),
            spawned={identity: replace(task) for identity, task in self.spawned.items()},
        )

    def claim(self, turn_bits: int, now: float) -> list[Record]:
        """Take the run: raise its epoch and return what has come meanwhile, with its turn."""
        assert self.epoch < MOST_CLAIMS, "the run is claimed again and again"
        self.epoch += 1
        return self._give_turns(self.epoch << turn_bits, now)

    def send(self, name: str, payload: bytes, now: float) -> None:
        """Accept an event; it meets the oldest open wait of its name, or goes to the mailbox."""
        self.sent += 1
        self._offer(Mail(self.sent, name, payload), now)

    def end_child(self, identity: str, outcome: Outcome, payload: bytes) -> None:
        """A child execution has ended, by itself or since somebody cancelled it; its parent may have given it up."""
        if identity in self.children:
            args_hash = self.children.pop(identity)
            self.records[identity] = Record(identity, Kind.CHILD, outcome, None, payload, args_hash)

    def next_due(self, now: float) -> float | None:
        """Return the seconds until something comes by itself."""
        times = [self.wake_at[i] for i, r in self.records.items() if r.turn is None and i in self.wake_at]
        times += [wait.deadline for wait in self.waits.values() if wait.deadline is not None]
        times += [now for i, r in self.records.items() if r.turn is None and i not in self.wake_at]
        return max(min(times) - now, 0.0) if times else None

    def next_attempt(self, now: float) -> float | None:
        """Return the seconds until a step is to be tried again, or has timed out."""
        mine = (f for i, f in self.failures.items() if i not in self.records and i not in self.spawned)
        open_ = [f for f in mine if f.identity in self.awaited]
        times = [t for f in open_ for t in (f.due_at, f.deadline_at) if t is not None]
        return max(min(times) - now, 0.0) if times else None

    def commit(self, item: Item, now: float) -> Answer:
        """Do one write."""
        match item:
            case RecordItem():
                return self._record(item, now)
            case AttemptItem():
                return self._attempt(item, now)
            case WaitItem():
                return self._wait(item, now)
            case ChildItem():
                return self._child(item)
            case CancelItem():
                return self._cancel(item, now)
            case CollectItem():
                return Answer(records=self._give_turns(item.turn, now), seconds=self.next_due(now))
            case ParkItem():
                come = [self.records[i] for i in item.awaited if i in self.records]
                stays = any(r.turn is not None or self._has_come(r, now) for r in come)
                self.awaited = item.awaited
                return Answer("unparked" if stays else "parked")
            case SpawnItem():
                return self._spawn(item)
            case RevokeItem():
                return self._revoke(item)
            case FinishItem():
                return self._finish(item)
            case DelayItem():
                self.spawned[item.run.id].due_at = now + item.delay
                return Answer("parked")
            case EndItem():
                self.orphans = (*self.orphans, *item.orphans)
                self._unsee(item.unseen)
                return self.end(item.state, item.payload, undo=item.undo)
            case ContinueItem():
                self.ending = ("continued", item.payload)
                return Answer("continued")
            case BlockItem():
                self._unsee(item.unseen)
                self.ending = ("blocked", item.payload)
                return Answer("blocked")
            case ReleaseItem():
                self._unsee(item.unseen)
        return Answer("released")

    def end(self, state: str, payload: bytes | None, *, undo: bool | None = None) -> Answer:
        """End the run, or hand it to its rollbacks or the handler of such an end."""
        self.waits.clear()
        self._return_unseen()
        self.spawned.clear()
        unseen = [i for i, r in self.records.items() if r.kind is Kind.SPAWN and r.turn is None]
        for identity in unseen:
            del self.records[identity]
        if undo is None:
            undo = any(record.kind is Kind.SAGA for record in self.records.values())
        if undo and self.phase is Phase.BODY and state != "completed":
            phase = Phase.UNDO_FAILED if state == "failed" else Phase.UNDO_CANCELLED
        elif not self.phase.is_handler and state in self.handlers:
            phase = self.handlers[state]
        else:
            self.ending = (state, payload)
            return Answer("ended")
        self.phase, self.outcome = phase, payload
        return Answer("released")

    def _has_come(self, record: Record, now: float) -> bool:
        return self.wake_at.get(record.identity, now) <= now

    def _give_turns(self, turn: int, now: float) -> list[Record]:
        for identity, wait in list(self.waits.items()):
            if wait.deadline is not None and wait.deadline <= now:
                del self.waits[identity]
                self.records[identity] = Record(
                    identity, Kind.EVENT, Outcome.TIMEOUT, None, None, sequence=wait.sequence
                )
        come = [
            replace(r, turn=turn) for r in self.records.values() if r.turn is None and self._has_come(r, now)
        ]
        self.records.update({record.identity: record for record in come})
        return [replace(record) for record in come]

    def _record(self, item: RecordItem, now: float) -> Answer:
        assert item.identity not in self.records, f"{item.identity} is recorded twice"
        self.records[item.identity] = replace(item.to_record(), value=UNSET)
        if item.length is not None:
            self.wake_at[item.identity] = now + item.length
        elif item.until is not None:
            self.wake_at[item.identity] = now
        return Answer()

    def _attempt(self, item: AttemptItem, now: float) -> Answer:
        known = self.failures.get(item.identity) or AttemptRecord(item.identity, 0, None, None)
        if item.delay is not None:
            known = replace(known, failed=item.attempt, due_at=now + item.delay)
        if item.deadline is not None:
            known = replace(known, deadline_at=now + item.deadline)
        if item.heartbeat is not None:
            known = replace(known, heartbeat=item.heartbeat)
        self.failures[item.identity] = known
        return Answer()

    def _wait(self, item: WaitItem, now: float) -> Answer:
        known = self.records.get(item.identity)
        if known is not None:
            return Answer(records=[replace(known)] if known.turn is not None else [])
        if item.identity in self.waits:
            return Answer()
        for mail in self.mailbox:
            if mail.name == item.name:
                self.mailbox.remove(mail)
                met = self._consume(item.identity, item.sequence, mail, item.turn)
                return Answer(records=[replace(met)])
        deadline = None if item.timeout is None else now + item.timeout
        self.waits[item.identity] = Wait(item.name, deadline, item.sequence)
        return Answer()

    def _child(self, item: ChildItem) -> Answer:
        known = self.records.get(item.identity)
        if known is None and item.identity not in self.children:
            self.born.append(item.identity)
            if item.reference is None:
                self.children[item.identity] = item.args_hash
            else:
                known = Record(
                    item.identity, Kind.CHILD, Outcome.OK, item.turn, item.reference, item.args_hash
                )
                self.records[item.identity] = known
        return Answer(records=[replace(known)] if known is not None and known.turn is not None else [])

    def _cancel(self, item: CancelItem, now: float) -> Answer:
        self.waits.pop(item.identity, None)
        self.children.pop(item.identity, None)
        known = self.records.get(item.identity)
        turn = known.turn if known is not None and known.turn is not None else item.turn
        self.records[item.identity] = Record(
            item.identity, item.kind, Outcome.CANCELLED, turn, None, sequence=item.sequence
        )
        freed = self.consumed.pop(item.identity, None)
        if freed is not None:
            self._offer(freed, now)
        return Answer()

    def _unsee(self, identities: list[str]) -> None:
        self.on_unsee(identities)
        for identity in identities:
            self.records[identity] = replace(self.records[identity], turn=None)

    def _return_unseen(self) -> None:
        for identity, record in list(self.records.items()):
            if record.kind is Kind.EVENT and record.turn is None:
                del self.records[identity]
                if (mail := self.consumed.pop(identity, None)) is not None:
                    self.mailbox.append(mail)
        self.mailbox.sort(key=lambda m: m.number)

    def _spawn(self, item: SpawnItem) -> Answer:
        known = self.records.get(item.identity)
        if known is not None:
            return Answer(records=[replace(known)] if known.turn is not None else [])
        self.spawned.setdefault(item.identity, SpawnedTask(item.sequence, item.payload))
        return Answer()

    def _revoke(self, item: RevokeItem) -> Answer:
        known = self.records.get(item.identity)
        if known is None:
            known = Record(item.identity, Kind.SPAWN, Outcome.CANCELLED_ELSEWHERE, item.turn, None)
        elif known.turn is None:
            known = replace(known, turn=item.turn)
        self.records[item.identity] = known
        self.spawned.pop(item.identity, None)
        return Answer(records=[replace(known)])

    def _finish(self, item: FinishItem) -> Answer:
        identity = item.run.id
        if item.outcome is not None and identity not in self.records:
            self.records[identity] = Record(
                identity, Kind.SPAWN, item.outcome, None, item.payload, item.args_hash, item.attempt
            )
        del self.spawned[identity]
        return Answer("ended")

    def _offer(self, mail: Mail, now: float) -> None:
        for identity, wait in self.waits.items():
            if wait.name == mail.name and (wait.deadline is None or wait.deadline > now):
                del self.waits[identity]
                self._consume(identity, wait.sequence, mail, None)
                return
        self.mailbox.append(mail)
        self.mailbox.sort(key=lambda m: m.number)

    def _consume(self, identity: str, sequence: int, mail: Mail, turn: int | None) -> Record:
        record = Record(identity, Kind.EVENT, Outcome.OK, turn, mail.payload, sequence=sequence)
        self.records[identity], self.consumed[identity] = record, mail
        return record
