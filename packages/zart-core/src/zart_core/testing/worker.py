"""The worker in memory: it claims runs and keeps them going with the engine that the database's workers use.

Nothing here waits: whatever is to be done is done in the next turn of the test's event loop, so that the clock can
tell when nothing is going on any more.
"""

from __future__ import annotations

import logging
import random
from asyncio import AbstractEventLoop, CancelledError, Task, TimerHandle, wait
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from zart_core import crashpoints
from zart_core.codec import MAX_PAYLOAD
from zart_core.conclusion import broken
from zart_core.control import DeadlinePassed, RunCancelled
from zart_core.errors import UsageError
from zart_core.executor import ActiveRun
from zart_core.handlers import Phase
from zart_core.host import ClaimedRun, Held, Left, StepTransaction
from zart_core.items import (
    AttemptItem,
    BlockItem,
    CancelItem,
    CollectItem,
    EndItem,
    Item,
    ParkItem,
    RecordItem,
    WaitItem,
)
from zart_core.journal import AttemptRecord, Record
from zart_core.testing.clock import Clock
from zart_core.testing.rows import Run
from zart_core.testing.store import Store
from zart_core.testing.traps import Traps
from zart_core.testing.writes import ORDER, Answer, write
from zart_core.untyped import plain

log = logging.getLogger("zart")

THREADS = 8
"""Most sync steps that run at once."""

GOODBYE = 1.0
"""Seconds of real time that cancelled steps get to end when the test is over."""

LEAVES = {
    "parked": Left.PARKED,
    "released": Left.RELEASED,
    "ended": Left.ENDED,
    "blocked": Left.BLOCKED,
}


class Worker:
    """Runs everything that is ready, as the only worker; when it is killed, another goes on in its place."""

    def __init__(self, clock: Clock, store: Store, *, evict: bool) -> None:
        self.traps = Traps()
        self.effects: list[str] = []
        self._clock, self._store, self._evict = clock, store, evict
        self._random = random.Random(0)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="zart-step")
        self._context = copy_context()
        self._context.run(crashpoints.watcher.set, self._watch)
        self._active: dict[str, ActiveRun] = {}
        self._parked: dict[str, ActiveRun] = {}
        self._items: list[Item] = []
        self._is_flush_due = self._is_look_due = self._is_dying = False
        self._alarm: TimerHandle | None = None
        self._lives = 1

    @property
    def name(self) -> str:
        """What details call it; another one has another name."""
        return f"test-worker-{self._lives}"

    @property
    def is_executing(self) -> bool:
        """Whether a step, or a thread of a body, is under way."""
        return any(run.attempts.running or run.loop.threads for run in self._active.values())

    @property
    def executing(self) -> list[str]:
        """What is under way, by the identity of each step."""
        return [identity for run in self._active.values() for identity in run.attempts.running]

    # -- what its runs need (zart_core.host.Host)

    @property
    def loop(self) -> AbstractEventLoop:
        """The test's loop, with the clock's time."""
        return self._clock.loop

    @property
    def threads(self) -> Executor:
        """Where sync steps run."""
        return self._threads

    @property
    def max_payload(self) -> int:
        """Largest stored value in bytes."""
        return MAX_PAYLOAD

    def put(self, item: Item) -> None:
        """Write `item` with the next flush, and answer the run."""
        if self._is_dying:
            return
        self._items.append(item)
        if not self._is_flush_due:
            self._is_flush_due = True
            self._clock.call_soon(self._flush, context=self._context)

    def left(self, run: Held, why: Left) -> None:
        """Free the run's slot; keep a parked body as a cache, if that is wanted."""
        run = _body(run)
        if self._active.get(run.id) is run:
            del self._active[run.id]
        if why is Left.PARKED and not self._evict:
            self._parked[run.id] = run
        elif why in (Left.PARKED, Left.RELEASED):
            self._clock.call_soon(run.evict, context=self._context)
        self.look()

    def look(self) -> None:
        """Look soon for work, and whether a run is to be stopped or something has come for it."""
        if not self._is_look_due and not self._is_dying:
            self._is_look_due = True
            self._clock.call_soon(self._look, context=self._context)

    async def begin_transaction(self, *, is_async: bool) -> StepTransaction:  # noqa: ARG002 - the protocol's
        """Refuse: there is no database."""
        raise UsageError("TestRun has no database, so transaction() cannot be used: test this step on one")

    async def now(self) -> datetime:
        """Return the clock's time."""
        return self._clock.now()

    def random(self) -> float:
        """Return a number in [0, 1), the same ones in every test."""
        return self._random.random()

    # -- work

    def _look(self) -> None:
        self._is_look_due = False
        if self._is_dying:
            return
        self._store.pass_time()
        for run in list(self._active.values()):
            self._look_at(run)
        while not self._is_dying and (found := self._claim()):
            self._go_on(*found)
        due = self._store.next_due()
        if self._alarm is not None:
            self._alarm.cancel()
        if due is not None and due > self._clock.time():
            self._alarm = self._clock.call_at(due, self.look)

    def _look_at(self, run: ActiveRun) -> None:
        stored, now = self._store.live.get(run.id), self._clock.time()
        if stored is None or stored.epoch != run.epoch:
            return
        with self._blocking_on_bugs(run):
            if stored.cancel_asked:
                run.stop(RunCancelled, plain(stored.cancel_reason))
            elif stored.deadline_at is not None and stored.deadline_at <= now:
                run.stop(DeadlinePassed)
            elif stored.news(now):
                run.collect()

    def _claim(self) -> tuple[Run, list[Record]] | None:
        if self.traps.spring("before-claim"):
            self._die()
            return None
        found = self._store.claim(self.name)
        if found is not None and self.traps.spring("after-claim"):
            self._die()
            return None
        return found

    def _go_on(self, stored: Run, come: list[Record]) -> None:
        cached = self._parked.pop(stored.run_id, None)
        if cached is not None and cached.epoch + 1 != stored.epoch:
            cached.evict()
            cached = None
        workflow = self._store.registry.get(stored.execution.workflow, stored.version)
        run = cached or ActiveRun(self._claimed(stored), workflow, self)
        self._active[run.id] = run
        with self._blocking_on_bugs(run):
            if cached is not None:
                cached.resume(stored.epoch, come)
            else:
                run.begin()

    def _claimed(self, run: Run) -> ClaimedRun:
        moment = self._clock.moment
        is_body = run.phase is Phase.BODY
        return ClaimedRun(
            run_id=run.run_id,
            execution_id=run.execution.execution_id,
            run_index=run.run_index,
            workflow=run.execution.workflow,
            version=run.version,
            queue=run.queue,
            tags=run.execution.tags,
            started_at=moment(run.created_at if run.started_at is None else run.started_at),
            deadline=moment(run.deadline_at) if is_body and run.deadline_at is not None else None,
            epoch=run.epoch,
            input=run.input,
            phase=run.phase,
            outcome=run.outcome,
            records=tuple(replace(step.record) for step in run.steps.values()),
            attempts=tuple(_attempts(run)),
        )

    # -- checkpoints

    def _flush(self) -> None:
        self._is_flush_due = False
        batch, self._items = self._items, []
        if self._is_dying or any(self._reaches("before", item) for item in batch):
            self._die()
            return
        for item in batch:
            if isinstance(item, WaitItem | CancelItem | CollectItem) and item.run.gone is None:
                item.turn = item.run.take_turn()
        answers = {id(item): self._write(item) for item in sorted(batch, key=_place)}
        if any(self._reaches("after", item) for item in batch):
            self._die()
            return
        touched: dict[ActiveRun, None] = {}
        for item in batch:
            if item.run.gone is None:
                touched[_body(item.run)] = None
                self._enter(item, answers[id(item)])
        for run in touched:
            if run.gone is None:
                with self._blocking_on_bugs(run):
                    run.advance()

    def _write(self, item: Item) -> Answer:
        if item.run.gone is not None and not isinstance(item, BlockItem):
            return Answer("lost")
        try:
            return write(self._store, item)
        except Exception as error:
            log.exception("%r cannot go on", item.run)
            item.run.lost()
            return write(self._store, broken(_body(item.run), str(error)))

    def _enter(self, item: Item, answer: Answer) -> None:
        run = _body(item.run)
        if answer.verdict == "lost":
            run.lost()
            return
        run.answered(item)
        for record in answer.records:
            run.enter(record)
        match item:
            case _ if answer.verdict in LEAVES:
                run.gone_as(LEAVES[answer.verdict])
            case RecordItem():
                run.recorded(item)
            case AttemptItem():
                run.attempts.attempt_recorded(item)
            case WaitItem():
                run.waits(item)
            case CancelItem():
                run.cancelled(item)
            case CollectItem():
                run.collected(answer.seconds)
            case ParkItem():
                run.unparked()

    @contextmanager
    def _blocking_on_bugs(self, run: ActiveRun) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            log.exception("%r cannot go on: this is a bug of Zart", run)
            run.lost()
            self.put(broken(run, f"the engine failed while running it: {error!r}"))

    # -- death

    def _watch(self, point: str, step: str | None) -> None:
        """Called by steps where a test may kill their worker; one that begins takes effect."""
        if self._is_dying or self.traps.spring(point, step):
            self._die()
            raise CancelledError
        if point == "before-step" and step is not None:
            self.effects.append(step)

    def _reaches(self, when: str, item: Item) -> bool:
        match item:
            case RecordItem():
                return self.traps.spring(f"{when}-commit", item.name)
            case ParkItem():
                return self.traps.spring(f"{when}-park")
            case EndItem():
                return self.traps.spring(f"{when}-complete")
            case _:
                return False

    def _die(self) -> None:
        """Do nothing more, and forget all that is in memory before anything else happens."""
        if not self._is_dying:
            self._is_dying = True
            self._clock.call_soon(self._be_replaced, context=self._context)

    def _be_replaced(self) -> None:
        log.info("%s is killed, and another goes on", self.name)
        self._drop_all()
        self._store.requeue()
        self._is_dying = self._is_flush_due = self._is_look_due = False
        self._lives += 1
        self.look()

    def _drop_all(self) -> None:
        self._items = []
        dead, self._active, self._parked = [*self._active.values(), *self._parked.values()], {}, {}
        for run in dead:
            run.lost()

    async def close(self) -> None:
        """Drop everything. Steps that still run are cancelled."""
        self._is_dying = True
        steps: list[Task[Any]] = [t for run in self._active.values() for t in run.attempts.running.values()]
        self._drop_all()
        if self._alarm is not None:
            self._alarm.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if steps:
            await wait(steps, timeout=GOODBYE)


def _place(item: Item) -> tuple[int, int]:
    return ORDER.index(type(item)) if type(item) in ORDER else len(ORDER), getattr(item, "sequence", 0)


def _attempts(run: Run) -> Iterator[AttemptRecord]:
    """Fold the attempts of each step that has no outcome into what is recorded of it so far."""
    for identity, tries in run.attempts.items():
        if identity not in run.steps:
            failed = [attempt for attempt in tries if attempt.error is not None]
            deadlines = [attempt.deadline_at for attempt in tries if attempt.deadline_at is not None]
            yield AttemptRecord(
                identity,
                failed[-1].number if failed else 0,
                failed[-1].next_at if failed else None,
                min(deadlines, default=None),
                next((a.heartbeat for a in reversed(tries) if a.heartbeat is not None), None),
            )


def _body(run: Held) -> ActiveRun:
    """Return `run` as what it is here: a body, since nothing is spawned without a database."""
    return cast("ActiveRun", run)
