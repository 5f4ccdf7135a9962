"""What a checkpoint looks like on its way to the database, and what the answer means for each item. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from zart_core.spi import (
    ActiveRun,
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
    Kind,
    LeavingItem,
    Left,
    Outcome,
    OutcomeItem,
    ParkItem,
    Record,
    RecordItem,
    ReleaseItem,
    RevokeItem,
    SpawnItem,
    WaitItem,
    input_hash,
    new_run_id,
)
from zart_scheduler.store.steps import FlushRow

GROUPS: dict[type[Item], str] = {
    AttemptItem: "attempts",
    CancelItem: "cancels",
    WaitItem: "waits",
    ChildItem: "children",
    RevokeItem: "revokes",
    SpawnItem: "spawns",
    FinishItem: "finishes",
    CollectItem: "collects",
    ParkItem: "parks",
    DelayItem: "delays",
    ReleaseItem: "releases",
    BlockItem: "blocks",
    EndItem: "ends",
    ContinueItem: "continues",
}
"""Where each kind of item goes that is not a plain record."""

LEAVES: dict[str, Left] = {
    "parked": Left.PARKED,
    "released": Left.RELEASED,
    "ended": Left.ENDED,
    "continued": Left.CONTINUED,
    "blocked": Left.BLOCKED,
}
"""The answers after which a task is not this worker's any more."""

SPAWNED = SpawnItem | RevokeItem | FinishItem | DelayItem
"""What is about spawned steps."""

TURNED = WaitItem | ChildItem | CancelItem | RevokeItem | CollectItem
"""What takes its turn when the flush is built."""


@dataclass(frozen=True, slots=True)
class Message:
    """A checkpoint as JSON texts; None where there is nothing of that sort."""

    steps: bytes | None
    rest: bytes | None


def compose(batch: Iterable[Item]) -> Message:
    """Return `batch` as the database takes it.

    What the database decides gets its turn here: a new one at every try, the same one when the message is resent.
    """
    steps: list[dict[str, Any]] = []
    rest: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in batch:
        if isinstance(item, RecordItem):
            steps.append(_record(item))
            if item.published is not None:
                rest["states"].append(_published(item))
        else:
            if isinstance(item, TURNED):
                item.turn = item.run.take_turn()
            facts = _facts_of_spawned(item) if isinstance(item, SPAWNED) else _facts(item)
            row = {"t": item.run.id, "e": item.run.epoch, **facts}
            if isinstance(item, LeavingItem) and item.unseen:
                row["unseen"] = item.unseen
            rest[GROUPS[type(item)]].append(row)
    steps.sort(key=_place)  # one order for all writers: no deadlock over the journal's keys
    return Message(to_json(steps) if steps else None, to_json(rest) if rest else None)


def compose_outcome(item: OutcomeItem) -> dict[str, bytes]:
    """Return the outcome of a step as its own transaction takes it: `steps`, or `finishes` of a spawned one."""
    if isinstance(item, RecordItem):
        return {"steps": to_json([_record(item)])}
    return {"finishes": to_json([{"t": item.run.id, "e": item.run.epoch, **_facts_of_spawned(item)}])}


def _place(step: dict[str, Any]) -> tuple[str, str]:
    return step["t"], step["i"]


def _record(item: RecordItem) -> dict[str, Any]:
    return {
        "t": item.run.id,
        "e": item.run.epoch,
        "i": item.identity,
        "q": item.sequence,
        "k": item.kind.value,
        "o": item.outcome.value,
        "n": item.turn,
        "w": item.length,
        "u": item.until,
        "h": item.args_hash.hex() if item.args_hash is not None else None,
        "a": item.attempt,
        "d": item.elapsed,
        "p": text(item.payload),
    }


def _published(item: RecordItem) -> dict[str, Any]:
    return {
        "t": item.run.id,
        "i": item.identity,
        "n": item.turn,
        "key": item.name,
        "p": text(item.published),
    }


def _facts(item: Item) -> dict[str, Any]:
    match item:
        case AttemptItem():
            return {
                "j": item.run.context.run_id,
                "i": item.identity,
                "a": item.attempt,
                "k": item.kind.value,
                "d": item.elapsed,
                "x": text(item.payload),
                "w": item.delay,
                "l": item.deadline,
                "b": text(item.heartbeat),
            }
        case WaitItem():
            return {
                "i": item.identity,
                "q": item.sequence,
                "name": item.name,
                "key": item.key,
                "w": item.timeout,
                "n": item.turn,
            }
        case ChildItem():
            return _child(item)
        case CancelItem():
            return {
                "i": item.identity,
                "q": item.sequence,
                "k": item.kind.value,
                "n": item.turn,
                "x": item.child,
            }
        case CollectItem():
            return {"n": item.turn}
        case ParkItem() | EndItem() | ContinueItem() | BlockItem():
            return _parting(item)
        case _:
            return {}


def _parting(item: ParkItem | EndItem | ContinueItem | BlockItem) -> dict[str, Any]:
    """Return the facts of an item by which a run leaves its worker."""
    match item:
        case ParkItem():
            return {"await": item.awaited}
        case EndItem():
            orphans = {"orphans": item.orphans} if item.orphans else {}
            return {"s": item.state, "p": text(item.payload), "u": item.undo, **orphans}
        case ContinueItem():
            return {"p": text(item.payload), "r": str(new_run_id())}
        case BlockItem():
            return {"p": text(item.payload), "now": item.at_once}


def _child(item: ChildItem) -> dict[str, Any]:
    workflow = item.workflow
    return {
        "i": item.identity,
        "q": item.sequence,
        "n": item.turn,
        "x": item.execution_id,
        "r": str(new_run_id()),
        "name": workflow.name,
        "v": workflow.version,
        "queue": workflow.queue,
        "pr": workflow.priority,
        "p": text(item.input),
        "ih": input_hash(item.input).hex(),
        "h": item.args_hash.hex() if item.args_hash is not None else None,
        "d": text(item.reference),
    }


def _facts_of_spawned(item: SpawnItem | RevokeItem | FinishItem | DelayItem) -> dict[str, Any]:
    match item:
        case SpawnItem():
            return {"i": item.identity, "q": item.sequence, "s": new_run_id(), "p": text(item.payload)}
        case RevokeItem():
            return {"i": item.identity, "q": item.sequence, "n": item.turn}
        case FinishItem():
            return {
                "o": item.outcome.value if item.outcome is not None else None,
                "p": text(item.payload),
                "h": item.args_hash.hex() if item.args_hash is not None else None,
                "a": item.attempt,
                "d": item.elapsed,
            }
        case DelayItem():
            return {"w": item.delay}


def text(payload: bytes | None) -> str | None:
    """Return a payload as the text that JSON can carry."""
    return payload.decode() if payload is not None else None


def by_run(rows: Iterable[FlushRow]) -> dict[str, list[FlushRow]]:
    """Return the answers that are not plain success, by run."""
    found: defaultdict[str, list[FlushRow]] = defaultdict(list)
    for row in rows:
        if row.task is not None:
            found[str(row.task)].append(row)
    return found


def is_busy(item: Item, rows: Iterable[FlushRow]) -> bool:
    """Return whether `item` was not done because somebody holds its run's task row."""
    identity = getattr(item, "identity", None)
    return any(row.verdict == "busy" and row.ident == identity for row in rows)


def enter(item: Item, rows: Iterable[FlushRow]) -> None:
    """Tell the run what became of `item`. Its own outcomes come first, what it asked for after them."""
    match item:
        case RecordItem():
            item.run.recorded(item)
        case AttemptItem():
            item.run.attempts.attempt_recorded(item)
        case CancelItem():
            item.run.cancelled(item)
        case WaitItem():
            _enter_known(item, rows)
            item.run.waits(item)
        case ChildItem() | SpawnItem() | RevokeItem():
            _enter_known(item, rows)
        case CollectItem():
            _enter_outcomes(item.run, (row for row in rows if row.verdict == "turn"))
            item.run.collected(next((row.secs for row in rows if row.verdict == "collected"), None))


def _enter_known(item: WaitItem | ChildItem | SpawnItem | RevokeItem, rows: Iterable[FlushRow]) -> None:
    known = (row for row in rows if row.verdict == "have" and row.ident == item.identity)
    _enter_outcomes(item.run, known)


def _enter_outcomes(run: ActiveRun, rows: Iterable[FlushRow]) -> None:
    for row in rows:
        if row.ident is not None and row.kind is not None and row.outcome is not None:
            run.enter(Record(row.ident, Kind(row.kind), Outcome(row.outcome), row.turn, row.payload))
