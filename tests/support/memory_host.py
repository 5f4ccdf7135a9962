"""A host for `ActiveRun` that keeps its records in memory: what a database and a worker would do, for one run.

Every item is answered in a later turn of the loop, in the order in which it was put, as one flush after another
would. `kill` forgets all that is in memory; `claim` starts over from the journal with the next epoch.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from zart_core import Workflow
from zart_core.executor import TURN_BITS, ActiveRun
from zart_core.host import ClaimedRun, Left
from zart_core.items import (
    AttemptItem,
    BlockItem,
    CancelItem,
    CollectItem,
    EndItem,
    Item,
    ParkItem,
    RecordItem,
    ReleaseItem,
    WaitItem,
)
from zart_core.journal import AttemptRecord, Kind, Outcome, Record

RUN_ID = "0197b2f0-0000-7000-8000-000000000001"


class MemoryHost:
    """Store and worker of one run."""

    def __init__(self, workflow: Workflow[Any, Any], *args: Any, evict: bool = False, seed: int = 0) -> None:
        self.loop = asyncio.get_running_loop()
        self.threads = ThreadPoolExecutor(4)
        self.max_payload = 16 << 20
        self.workflow, self.evict = workflow, evict
        self.input = workflow.parameters.encode(args, {})
        self.records: dict[str, Record] = {}
        self.wake_at: dict[str, float] = {}
        self.failures: dict[str, AttemptRecord] = {}
        self.waits: dict[str, str] = {}
        self.mailbox: list[tuple[str, bytes]] = []
        self.epoch = 0
        self.run: ActiveRun | None = None
        self.parked: ActiveRun | None = None
        self.ending: tuple[str, bytes | None] | None = None
        self.parks = 0
        self.after_flush: Callable[[Item], None] = lambda item: None
        self._queue: list[Item] = []
        self._flushing = False
        self._random = random.Random(seed)
        self._changed = asyncio.Event()

    # -- Host

    def put(self, item: Item) -> None:
        self._queue.append(item)
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def left(self, run: ActiveRun, why: Left) -> None:
        self._changed.set()
        if run is not self.run:
            return
        self.run = None
        if why is Left.PARKED:
            self.parks += 1
            self.parked = run
            self._wake_if_due()

    def look(self) -> None:
        pass

    async def now(self) -> datetime:
        return datetime.now(UTC)

    def random(self) -> float:
        return self._random.random()

    # -- what tests do

    def claim(self) -> None:
        """Take the run: from the cache if it may, else from the journal."""
        self.epoch += 1
        turn = self.epoch << TURN_BITS
        come = [replace(r, turn=turn) for r in self.records.values() if r.turn is None and self._has_come(r)]
        self.records.update({record.identity: record for record in come})
        cached, self.parked = self.parked, None
        if cached is not None and not self.evict:
            self.run = cached
            cached.resume(self.epoch, come)
            return
        if cached is not None:
            cached.evict()
        claimed = ClaimedRun(
            run_id=RUN_ID,
            execution_id="test",
            run_index=0,
            workflow=self.workflow.name,
            version=self.workflow.version,
            queue="default",
            tags={},
            started_at=datetime.now(UTC),
            deadline=None,
            epoch=self.epoch,
            input=self.input,
            records=tuple(replace(record) for record in self.records.values()),
            attempts=tuple(self.failures.values()),
        )
        self.run = ActiveRun(claimed, self.workflow, self)
        self.run.begin()

    def kill(self) -> None:
        """Forget all that is in memory, as a killed process does."""
        run, self.run, self._queue = self.run or self.parked, None, []
        self.parked = None
        if run is not None:
            run.lost()

    def send(self, name: str, payload: bytes = b"null") -> None:
        """Deliver an event."""
        for identity, waited in self.waits.items():
            if waited == name:
                del self.waits[identity]
                self.records[identity] = Record(identity, Kind.EVENT, Outcome.OK, None, payload)
                self._stir()
                return
        self.mailbox.append((name, payload))

    async def finish(self) -> tuple[str, bytes | None]:
        """Run to the end and return state and payload."""
        if self.run is None and self.parked is None and self.ending is None:
            self.claim()
        while self.ending is None:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 20)
        return self.ending

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0)

    # -- inside

    def _has_come(self, record: Record) -> bool:
        return self.wake_at.get(record.identity, 0.0) <= self.loop.time()

    def _stir(self) -> None:
        if self.run is not None:
            self.run.collect()
        elif self.parked is not None:
            self.claim()

    def _wake_if_due(self) -> None:
        if self.parked is None or self.ending is not None:
            return
        due = [
            self.wake_at[r.identity]
            for r in self.records.values()
            if r.turn is None and r.identity in self.wake_at
        ]
        due += [
            f.due_at
            for f in self.failures.values()
            if f.due_at is not None and f.identity not in self.records
        ]
        if any(r.turn is None and self._has_come(r) for r in self.records.values()):
            self.claim()
        elif due:
            when = min(due)
            self.loop.call_at(when + 0.001, self._wake_if_due) if when > self.loop.time() else self.claim()

    def _flush(self) -> None:
        self._flushing = False
        batch, self._queue = self._queue, []
        for item in batch:
            if item.run is self.run:
                self._do(item)
                self.after_flush(item)
        if self.run is not None:
            self.run.advance()

    def _do(self, item: Item) -> None:
        run = item.run
        if isinstance(item, WaitItem | CancelItem | CollectItem):
            item.turn = run.take_turn()
        run.answered(item)
        match item:
            case RecordItem():
                assert item.identity not in self.records, f"{item.identity} recorded twice"
                record = Record(
                    item.identity,
                    item.kind,
                    item.outcome,
                    item.turn,
                    item.payload,
                    item.args_hash,
                    item.attempt,
                )
                self.records[item.identity] = record
                if item.length is not None:
                    self.wake_at[item.identity] = self.loop.time() + item.length
                run.recorded(item)
            case AttemptItem():
                known = self.failures.get(item.identity) or AttemptRecord(item.identity, 0, None, None)
                if item.delay is not None:
                    known = replace(known, failed=item.attempt, due_at=self.loop.time() + item.delay)
                if item.deadline is not None:
                    known = replace(known, deadline_at=self.loop.time() + item.deadline)
                self.failures[item.identity] = known
                run.attempts.attempt_recorded(item)
            case WaitItem():
                self._register(item)
            case CancelItem():
                self.waits.pop(item.identity, None)
                self.records[item.identity] = Record(
                    item.identity, item.kind, Outcome.CANCELLED, item.turn, None
                )
                run.cancelled(item)
            case CollectItem():
                for record in list(self.records.values()):
                    if record.turn is None and self._has_come(record):
                        self.records[record.identity] = replace(record, turn=item.turn)
                        run.enter(replace(record, turn=item.turn))
                run.collected(None)
            case ParkItem():
                come = [self.records[i] for i in item.awaited if i in self.records]
                if any(r.turn is not None or self._has_come(r) for r in come):
                    run.unparked()
                else:
                    run.gone_as(Left.PARKED)
            case ReleaseItem():
                run.gone_as(Left.RELEASED)
            case EndItem():
                self.ending = (item.state, item.payload)
                run.gone_as(Left.ENDED)
            case BlockItem():
                self.ending = ("blocked", item.payload)
                run.gone_as(Left.BLOCKED)

    def _register(self, item: WaitItem) -> None:
        known = self.records.get(item.identity)
        if known is None:
            for index, (name, payload) in enumerate(self.mailbox):
                if name == item.name:
                    del self.mailbox[index]
                    known = Record(item.identity, Kind.EVENT, Outcome.OK, item.turn, payload)
                    self.records[item.identity] = known
                    item.run.enter(replace(known))
                    break
            else:
                self.waits[item.identity] = item.name
        item.run.waits(item)
