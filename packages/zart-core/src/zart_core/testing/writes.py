"""What a checkpoint of a worker comes to: one item is one write to the store in memory.

As in the database, an item counts only while the run is its writer's by its epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pydantic_core import from_json, to_json

from zart_core.errors import ZartError
from zart_core.items import (
    AttemptItem,
    BlockItem,
    CancelItem,
    ChildItem,
    CollectItem,
    EndItem,
    Item,
    LeavingItem,
    ParkItem,
    RecordItem,
    ReleaseItem,
    WaitItem,
)
from zart_core.journal import UNSET, Kind, Outcome, Record
from zart_core.testing.rows import Attempt, Run, Step, Task, Wait
from zart_core.testing.store import Store

ORDER: tuple[type[Item], ...] = (
    RecordItem,
    AttemptItem,
    CancelItem,
    WaitItem,
    CollectItem,
    ParkItem,
    ReleaseItem,
    BlockItem,
    EndItem,
)
"""In which order a checkpoint does them: one kind prepares the next."""


@dataclass(slots=True)
class Answer:
    """What a write came to. `records` are outcomes that the run learns of by it; `seconds`: when to look again."""

    verdict: str = "ok"
    records: list[Record] = field(default_factory=list)
    seconds: float | None = None


def write(store: Store, item: Item) -> Answer:
    """Do one write.

    Raises:
        ZartError: The store in memory does not know what is asked for.
    """
    run, now = store.live.get(item.run.id), store.clock.time()
    if run is None or run.task is not Task.ACTIVE or run.epoch != item.run.epoch:
        return Answer("lost")
    match item:
        case RecordItem():
            return _record(store, run, item)
        case AttemptItem():
            return _attempt(run, item, now)
        case CancelItem():
            return _cancel(run, item, now)
        case WaitItem():
            return _wait(run, item, now)
        case CollectItem():
            come, due = store.give_turns(run, item.turn), run.next_wake()
            return Answer(records=come, seconds=None if due is None else due - now)
        case _:
            return _leave(store, run, item)


def _record(store: Store, run: Run, item: RecordItem) -> Answer:
    now, wake_at = store.clock.time(), None
    if item.length is not None:
        wake_at = now + item.length
    elif item.until is not None:
        wake_at = store.clock.seconds(item.until)
    started = None if item.elapsed is None else now - item.elapsed
    record = replace(item.to_record(), value=UNSET)
    run.steps.setdefault(item.identity, Step(record, item.sequence, now, started, wake_at, run.worker))
    if item.published is not None:
        run.published[item.name] = item.published, now
    return Answer()


def _attempt(run: Run, item: AttemptItem, now: float) -> Answer:
    """What is known of an attempt is never replaced: a deadline stays the first one."""
    tries = run.attempts.setdefault(item.identity, [])
    if not tries or tries[-1].number != item.attempt:
        tries.append(Attempt(item.kind, item.attempt, now - (item.elapsed or 0.0), run.worker or ""))
    known = tries[-1]
    if item.deadline is not None and known.deadline_at is None:
        known.deadline_at = now + item.deadline
    if item.heartbeat is not None:
        known.heartbeat = item.heartbeat
    if item.payload is not None and known.error is None:
        known.error, known.ended_at = item.payload, now
        known.started_at = now - (item.elapsed or 0.0)
        known.next_at = None if item.delay is None else now + item.delay
    return Answer()


def _cancel(run: Run, item: CancelItem, now: float) -> Answer:
    """Close a sleep or wait; an event set aside for it goes to the next wait of its name, or back to its place."""
    run.waits.pop(item.identity, None)
    known = run.steps.get(item.identity)
    turn = known.record.turn if known is not None and known.record.turn is not None else item.turn
    run.steps[item.identity] = Step(
        Record(item.identity, item.kind, Outcome.CANCELLED, turn, None, sequence=item.sequence),
        item.sequence,
        now,
        wake_at=known.wake_at if known is not None else None,
        worker=run.worker,
    )
    for event in run.execution.events:
        if event.consumed_by == (run.run_id, item.identity):
            event.consumed_by = None
            run.meet_wait(event, now)
    return Answer()


def _wait(run: Run, item: WaitItem, now: float) -> Answer:
    """Consume the oldest event of that name, or wait for one; a wait that is registered stays as it is."""
    step = run.steps.get(item.identity)
    if step is not None:
        is_known = step.record.turn is not None and step.record.outcome is not Outcome.CANCELLED
        return Answer(records=[replace(step.record)] if is_known else [])
    if item.identity in run.waits:
        return Answer()
    for event in run.execution.events:
        if event.name == item.name and event.consumed_by is None:
            event.consumed_by = (run.run_id, item.identity)
            record = Record(
                item.identity, Kind.EVENT, Outcome.OK, item.turn, event.payload, sequence=item.sequence
            )
            run.steps[item.identity] = Step(record, item.sequence, now, now, worker=run.worker)
            return Answer(records=[replace(record)])
    deadline = None if item.timeout is None else now + item.timeout
    run.waits[item.identity] = Wait(item.identity, item.sequence, item.name, deadline, now)
    return Answer()


def _leave(store: Store, run: Run, item: Item) -> Answer:
    if isinstance(item, LeavingItem):
        run.unsee(item.unseen)
    match item:
        case ParkItem():
            return _park(run, item, store.clock.time())
        case EndItem():
            run.orphans.extend(item.orphans)
            store.end(run, item.state, item.payload, undo=item.undo)
            return Answer("ended" if run.task is None else "released")
        case ReleaseItem():
            if not store.end_if_cancelled(run):
                run.task, run.worker, run.due_at = Task.READY, None, None
            return Answer("released")
        case BlockItem():
            if not store.end_if_cancelled(run):
                run.task, run.worker, run.due_at = Task.BLOCKED, None, None
                run.state, run.divergence = "blocked", _with_evidence(store, run, item.payload)
            return Answer("blocked")
        case ChildItem():
            raise ZartError("TestRun does not run child executions: test this workflow on a database")
        case _:
            raise ZartError(f"TestRun has no {type(item).__name__}: test what needs it on a database")


def _with_evidence(store: Store, run: Run, divergence: bytes) -> bytes:
    """Add to a divergence when its record was made, and by whom."""
    details = from_json(divergence)
    recorded = details.get("recorded") or {}
    if (step := run.steps.get(recorded.get("identity", ""))) is None:
        return divergence
    recorded |= {"completed_at": store.clock.moment(step.completed_at), "worker": step.worker}
    return to_json(details)


def _park(run: Run, item: ParkItem, now: float) -> Answer:
    """Give up slot and owner, unless something awaited has come or a cancel was asked for."""
    awaited = [run.steps[identity] for identity in item.awaited if identity in run.steps]
    has_come = any(
        step.record.outcome is not Outcome.CANCELLED and (step.record.turn is not None or step.has_come(now))
        for step in awaited
    )
    if has_come or run.cancel_asked:
        return Answer("unparked")
    times = [time for time in (run.next_wake(), run.next_attempt()) if time is not None]
    run.task, run.worker, run.crash_count = Task.PARKED, None, 0
    run.due_at = min(times, default=None)
    return Answer("parked")
