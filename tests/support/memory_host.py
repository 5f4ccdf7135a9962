"""A host for `ActiveRun` that keeps its records in memory: what a database and its workers would do, for one run.

Without `Chaos` every flush takes all that is queued and is answered in the next turn of the loop. With it, answers come
late and flushes overlap, locks are busy, bodies are evicted or wait for the wrong worker, and workers are killed or
taken over while they go on unaware: all at random, from one seed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.memory_spawned import MemorySpawned
from tests.support.memory_store import Answer, MemoryStore
from tests.support.memory_transactions import Excused, MemoryTransaction
from zart_core import Workflow
from zart_core.control import RunCancelled, Signal
from zart_core.executor import TURN_BITS, ActiveRun
from zart_core.handlers import Phase
from zart_core.host import ClaimedRun, Held, Left
from zart_core.items import (
    AttemptItem,
    CancelItem,
    ChildItem,
    CollectItem,
    Item,
    LockedItem,
    RecordItem,
    RevokeItem,
    SpawnItem,
    WaitItem,
)
from zart_core.journal import AttemptRecord, Outcome, Record
from zart_core.spawned import SpawnedStep

RUN_ID = "0197b2f0-0000-7000-8000-000000000001"
TURNED = WaitItem | ChildItem | CancelItem | RevokeItem | CollectItem
LEAVES = {
    "parked": Left.PARKED,
    "released": Left.RELEASED,
    "ended": Left.ENDED,
    "continued": Left.CONTINUED,
    "blocked": Left.BLOCKED,
}


@dataclass
class Chaos:
    """How a host treats its run. Times are in seconds, the others are probabilities."""

    seed: int
    delay: float = 0.004
    """Longest time before a flush, before its answer, and before outcomes from outside are looked at."""
    flights: int = 2
    """Most flushes under way at once."""
    workers: int = 2
    """Each keeps a cache of its own; any may claim."""
    busy: float = 0.1
    evict: float = 0.3
    kills: float = 0.05
    """Per answered item."""
    zombies: float = 0.4
    """Of the kills: the worker is taken over and does not know."""
    drains: float = 0.3
    """Of the kills: the worker hands the run back."""
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def happens(self, probability: float) -> bool:
        return self.random.random() < probability

    def pause(self) -> float:
        return self.random.choice((0.0, 0.0, self.random.random())) * self.delay


class MemoryHost:
    """Store and workers of one run."""

    def __init__(
        self,
        workflow: Workflow[Any, Any],
        *args: Any,
        evict: bool = False,
        seed: int = 0,
        chaos: Chaos | None = None,
        store: MemoryStore | None = None,
        threads: Executor | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.threads: Executor = threads or ThreadPoolExecutor(4)
        self.max_payload = 16 << 20
        self.run_id = RUN_ID
        self.workflow, self.evict, self.chaos = workflow, evict, chaos
        self.input = workflow.parameters.encode(args, {})
        self.store = store or MemoryStore()
        handlers = {"failed": workflow.on_failure, "cancelled": workflow.on_cancel}
        phases = {"failed": Phase.ON_FAILURE, "cancelled": Phase.ON_CANCEL}
        self.store.handlers = {state: phases[state] for state, handler in handlers.items() if handler}
        self.run: ActiveRun | None = None
        self.parked: list[ActiveRun | None] = [None] * (chaos.workers if chaos else 1)
        self.worker = 0
        self.left_as: list[Left] = []
        self.after_flush: Callable[[Item], None] = lambda item: None
        self.make_run: type[ActiveRun] = ActiveRun
        self.on_claim: Callable[[ActiveRun], None] = lambda run: None
        self.zombies: list[ActiveRun] = []
        self.child_life: Callable[[str], tuple[float, Outcome, bytes]] | None = None
        """How many seconds a child lives that this call has started, and how it ends; None: until a test ends it."""
        self._children: set[str] = set()
        self.transactions: list[MemoryTransaction] = []
        self.next_commits: list[Exception | None] = []
        """What is to become of the next commits of steps, the first first."""
        self.after_commit: Callable[[Callable[[], None]], object] = self.later
        """Brings the answer to a commit to its run."""
        self.patience = 30.0
        self.spawned = MemorySpawned(self)
        self._stopping: tuple[type[Signal], str | None] | None = None
        self._queue: list[Item] = []
        self._locks = 0
        """Locked items under way, or busy and not put again yet; none may overtake them."""
        self._flights = 0
        self._scheduled = False
        self._seed = seed
        self._random = random.Random(seed)
        self._changed = asyncio.Event()
        self._clock = datetime(2026, 1, 1, tzinfo=UTC)

    # -- what tests look at

    @property
    def records(self) -> dict[str, Record]:
        return self.store.records

    @property
    def waits(self) -> Iterable[str]:
        return self.store.waits

    @property
    def epoch(self) -> int:
        return self.store.epoch

    @property
    def ending(self) -> tuple[str, bytes | None] | None:
        return self.store.ending

    @property
    def parks(self) -> int:
        return self.left_as.count(Left.PARKED)

    @property
    def is_parked(self) -> bool:
        return self.run is None and bool(self.left_as) and self.left_as[-1] is Left.PARKED

    # -- Host

    def put(self, item: Item) -> None:
        self._queue.append(item)
        self._schedule()

    def left(self, run: Held, why: Left) -> None:
        self._changed.set()
        if isinstance(run, SpawnedStep):
            self.spawned.left(run, why)
            return
        assert isinstance(run, ActiveRun)
        if run is not self.run:
            return
        self.run = None
        self.left_as.append(why)
        if why is Left.PARKED:
            if self.evict or (self.chaos and self.chaos.happens(self.chaos.evict)):
                self.loop.call_soon(run.evict)
            else:
                self.parked[self.worker] = run
            self._wake_if_due()
        elif why is Left.RELEASED:
            self.loop.call_soon(run.evict)
            if self.chaos or self.store.phase is not Phase.BODY:
                self._stopping = None
                self._claim_soon()

    def look(self) -> None:
        if self._stopping is not None:
            self.loop.call_soon(self._stop)

    async def begin_transaction(self, *, is_async: bool) -> MemoryTransaction:
        if self.chaos:
            await asyncio.sleep(self.chaos.pause())
            self.next_commits = [Excused()] if self.chaos.happens(0.1) else []
        return MemoryTransaction(self)

    async def now(self) -> datetime:
        return self._clock + timedelta(seconds=self.loop.time())

    def random(self) -> float:
        return self._random.random()

    # -- what tests do

    def claim(self, worker: int | None = None) -> ActiveRun:
        """Take the run: from the worker's cache if it may, else from the journal."""
        assert self.run is None
        if worker is None:
            worker = self.chaos.random.randrange(self.chaos.workers) if self.chaos else 0
        self.worker = worker
        self._raise_children()
        come = self.store.claim(TURN_BITS, self.loop.time())
        cached, self.parked[worker] = self.parked[worker], None
        if cached is not None and self._may_resume(cached):
            self.run = cached
            self.on_claim(cached)
            cached.resume(self.epoch, come)
        else:
            if cached is not None:
                cached.evict()
            self.run = run = self.make_run(self._claimed(), self.workflow, self)
            self.on_claim(run)
            run.begin()
        run = self.run
        self._stop()
        self.spawned.look()
        return run

    def kill(self) -> None:
        """Forget all that is in memory, as a killed process does."""
        self._queue = []
        dead, self.parked = [self.run, *self.parked], [None] * len(self.parked)
        for run in dead:
            if run is not None:
                run.lost()  # only dropped, its body would go on in the hands of the collector
        self.spawned.drop()
        self.left_as.append(Left.LOST)

    def take_over(self) -> None:
        """Take the run away from its worker, which goes on unaware until its next write is refused."""
        if self.run is not None:
            self.zombies.append(self.run)
        self.run = None
        self._claim_soon()

    def send(self, name: str, payload: bytes = b"null") -> None:
        """Deliver an event."""
        self.store.send(name, payload, self.loop.time())
        self._has_news()

    def end_child(self, identity: str, outcome: Outcome = Outcome.OK, payload: bytes = b"null") -> None:
        """End a child execution."""
        self.store.end_child(identity, outcome, payload)
        self._has_news()

    def stop(self, signal: type[Signal] = RunCancelled, reason: str | None = None) -> None:
        """Have the run cancelled, or its deadline passed."""
        self._stopping = signal, reason
        if self.is_parked:
            self._stopping = None
            self.store.epoch += 1  # taken away from whoever has the body in memory
            if self.store.end("cancelled", b'"parked"').verdict == "released":
                self._claim_soon()
            self._changed.set()
        else:
            self._stop()

    def close(self) -> None:
        """Drop every body that is still in memory."""
        for run in [self.run, *self.parked, *self.zombies]:
            if run is not None:
                run.lost()
        self.spawned.drop()
        self.run, self.parked = None, [None] * len(self.parked)

    async def finish(self) -> tuple[str, bytes | None]:
        """Run to the end and return state and payload."""
        if self.run is None and not self.is_parked and self.ending is None:
            self.claim()
        while self.ending is None:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), self.patience)
        return self.ending

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.0001)  # not 0: on a virtual clock something has to pass

    # -- inside: claiming

    def _may_resume(self, cached: ActiveRun) -> bool:
        return cached.epoch + 1 == self.epoch

    def _claimed(self) -> ClaimedRun:
        return ClaimedRun(
            run_id=RUN_ID,
            execution_id="test",
            run_index=0,
            workflow=self.workflow.name,
            version=self.workflow.version,
            queue="default",
            tags={},
            started_at=self._clock,
            deadline=None,
            epoch=self.epoch,
            input=self.input,
            phase=self.store.phase,
            outcome=self.store.outcome,
            records=tuple(replace(record) for record in self.records.values()),
            attempts=tuple(self._attempts()),
            accepted=frozenset(self.store.accepted),
        )

    def _attempts(self) -> Iterable[AttemptRecord]:
        return (f for f in self.store.failures.values() if f.identity not in self.records)

    def _wake_if_due(self) -> None:
        """Claim a parked run that is due, now or then."""
        if not self.is_parked or self.ending is not None:
            return
        now = self.loop.time()
        due = [t for t in (self.store.next_due(now), self.store.next_attempt(now)) if t is not None]
        if due and min(due) <= 0:
            self._claim_soon()
        elif due:
            self.loop.call_later(min(due) + 0.0001, self._wake_if_due)

    def _has_news(self) -> None:
        if self.run is not None:
            self.later(self.look_outside)
        else:
            self._wake_if_due()

    def _raise_children(self) -> None:
        """Let every child that runs end in its time."""
        for identity in self.store.children.keys() - self._children:
            if self.child_life is not None:
                self._children.add(identity)
                seconds, outcome, payload = self.child_life(identity)
                self.loop.call_later(seconds, self.end_child, identity, outcome, payload)

    def _claim_soon(self) -> None:
        self.later(self._claim_if_free)

    def _claim_if_free(self) -> None:
        if self.run is None and self.ending is None:
            self.claim()

    def look_outside(self) -> None:
        """Something has come from outside: the run is to take it in."""
        if self.run is not None:
            self.run.collect()
        else:
            self._wake_if_due()

    def _stop(self) -> None:
        if self._stopping is not None and self.run is not None:
            self.run.stop(*self._stopping)

    def later(self, what: Callable[..., None], *args: Any) -> None:
        """Do it in the next turn of the loop, or somewhat later."""
        pause = self.chaos.pause() if self.chaos else 0.0
        if pause:
            self.loop.call_later(pause, what, *args)
        else:
            self.loop.call_soon(what, *args)

    # -- inside: flushes

    def _schedule(self) -> None:
        if not self._scheduled and self._flights < (self.chaos.flights if self.chaos else 1):
            self._scheduled = True
            self.later(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        size = len(self._queue)
        if self.chaos and size:
            size = self.chaos.random.choice((size, self.chaos.random.randint(1, size)))
        batch = [item for item in self._queue[:size] if not (self._locks and isinstance(item, LockedItem))]
        if not batch:
            return
        taken = set(map(id, batch))
        self._queue = [item for item in self._queue if id(item) not in taken]
        self._locks += sum(isinstance(item, LockedItem) for item in batch)
        self._flights += 1
        self.later(self._answer, self._commit(batch))
        if self._queue:
            self._schedule()

    def _commit(self, batch: list[Item]) -> list[tuple[Item, Answer]]:
        answers, is_busy = [], False
        for item in batch:
            if not (item.run is self.run or self.spawned.owns(item.run)):
                answers.append((item, Answer("lost")))
                continue
            if isinstance(item, TURNED):
                item.turn = item.run.take_turn()
            if isinstance(item, LockedItem) and self.chaos:
                is_busy = is_busy or self.chaos.happens(self.chaos.busy)
            if is_busy and isinstance(item, LockedItem):
                answers.append((item, Answer("busy")))
            else:
                answers.append((item, self.store.commit(item, self.loop.time())))
        self._raise_children()
        return answers

    def _answer(self, answers: list[tuple[Item, Answer]]) -> None:
        self._flights -= 1
        touched: dict[Held, None] = {}
        busy = [item for item, answer in answers if answer.verdict == "busy"]
        self._locks -= sum(isinstance(item, LockedItem) for item, _ in answers) - len(busy)
        for item, answer in answers:
            if item.run.gone is None:
                touched[item.run] = None
                self._enter(item, answer)
                self.after_flush(item)
        for run in touched:
            if run.gone is None:
                run.advance()
        if busy:
            self.later(self._retry, busy)
        if self._queue:
            self._schedule()

    def _enter(self, item: Item, answer: Answer) -> None:
        run = item.run
        if answer.verdict == "lost":
            run.lost()
            return
        if answer.verdict == "busy":
            if isinstance(item, TURNED):
                item.run.release_turn(item.turn)
            return
        run.answered(item)
        if isinstance(run, ActiveRun):
            for record in answer.records:
                run.enter(record)
        self._tell(run, item, answer)
        if self.chaos and self.chaos.happens(self.chaos.kills):
            if self.run is run:
                self._strike()
            elif isinstance(run, SpawnedStep):
                self.spawned.strike(run)

    def _tell(self, run: Held, item: Item, answer: Answer) -> None:
        match item:
            case RecordItem():
                item.run.recorded(item)
            case AttemptItem():
                run.attempts.attempt_recorded(item)
            case WaitItem():
                item.run.waits(item)
            case ChildItem():
                pass
            case CancelItem():
                item.run.cancelled(item)
            case CollectItem():
                item.run.collected(answer.seconds)
            case SpawnItem() | RevokeItem():
                self.spawned.look()
            case _ if answer.verdict == "unparked":
                assert isinstance(run, ActiveRun)
                run.unparked()
            case _:
                run.gone_as(LEAVES[answer.verdict])

    def _retry(self, busy: list[Item]) -> None:
        self._locks -= len(busy)
        self._queue = [item for item in busy if item.run.gone is None] + self._queue
        self._schedule()

    def _strike(self) -> None:
        assert self.chaos is not None
        fate = self.chaos.random.random()
        if fate < self.chaos.zombies:
            self.take_over()
        elif fate < self.chaos.zombies + self.chaos.drains and self.run is not None:
            self.loop.call_soon(self._drain, self.run)
        else:
            self.loop.call_soon(self._die)

    def _drain(self, run: ActiveRun) -> None:
        run.drain()
        self.later(run.abort_steps)

    def _die(self) -> None:
        if self.run is not None:
            self.kill()
            self._claim_soon()
