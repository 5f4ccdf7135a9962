"""From claimed tasks to runs in memory: their inputs and journals, read without holding anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from zart_core import Registry
from zart_core.spi import TURN_BITS, AttemptRecord, ClaimedRun, Kind, Outcome, Record
from zart_scheduler.store import runs, steps
from zart_scheduler.store.runs import RunInput
from zart_scheduler.store.statement import run as execute
from zart_scheduler.store.steps import AttemptRow, JournalRow
from zart_scheduler.store.tasks import Claimed, Handler


def handlers(registry: Registry) -> list[Handler]:
    """Return what the worker can run, as the claim takes it."""
    return [Handler(w.name, w.version, w.current, w.timeout) for w in registry]


async def load(
    connection: AsyncConnection[Any], claimed: Sequence[Claimed], cached: Mapping[str, int], now: float
) -> dict[str, ClaimedRun]:
    """Return the claimed runs by id.

    Args:
        connection: Any connection; nothing is locked.
        claimed: What was claimed.
        cached: The runs whose bodies are in memory; of these only what the claim itself gave a turn is read.
        now: The host loop's time, to which due times are reckoned.
    """
    ids = [task.run_id for task in claimed]
    epochs = {str(task.run_id): task.epoch for task in claimed}
    floors = [epochs[str(i)] << TURN_BITS if str(i) in cached else None for i in ids]
    inputs = await execute(connection, runs.load_inputs(ids))
    journals = _journals(await execute(connection, steps.load_journals(list(zip(ids, floors, strict=True)))))
    attempts = _attempts(await execute(connection, steps.load_attempts(ids)), now)
    return {
        str(row.run_id): _claimed_run(row, journals[row.run_id], attempts[row.run_id])
        for row in inputs
        if row.epoch == epochs[str(row.run_id)]
    }


def _claimed_run(row: RunInput, records: list[Record], attempts: list[AttemptRecord]) -> ClaimedRun:
    return ClaimedRun(
        run_id=str(row.run_id),
        execution_id=row.execution_id,
        run_index=row.run_index,
        workflow=row.workflow,
        version=row.version or "",
        queue=row.queue,
        tags=row.tags,
        started_at=_utc(row.started_at or row.created_at),
        deadline=_utc(row.deadline_at) if row.deadline_at is not None else None,
        epoch=row.epoch,
        input=bytes(row.input or b"{}"),
        records=tuple(records),
        attempts=tuple(attempts),
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _journals(rows: Iterable[JournalRow]) -> defaultdict[UUID, list[Record]]:
    found: defaultdict[UUID, list[Record]] = defaultdict(list)
    for row in rows:
        found[row.run_id].append(
            Record(
                row.ident,
                Kind(row.kind),
                Outcome(row.outcome),
                row.turn,
                row.payload,
                row.args_hash,
                row.attempt,
            )
        )
    return found


def _attempts(rows: Iterable[AttemptRow], now: float) -> defaultdict[UUID, list[AttemptRecord]]:
    """Fold the attempts of each step into what is recorded of it so far; rows come in order of their number."""
    steps_of: defaultdict[UUID, dict[str, AttemptRecord]] = defaultdict(dict)
    for row in rows:
        known = steps_of[row.run_id].get(row.ident) or AttemptRecord(row.ident, 0, None, None)
        failed = row.error is not None
        steps_of[row.run_id][row.ident] = AttemptRecord(
            row.ident,
            row.attempt if failed else known.failed,
            now + row.due_in if failed and row.due_in is not None else known.due_at,
            now + row.deadline_in if row.deadline_in is not None else known.deadline_at,
        )
    return defaultdict(list, {run_id: list(found.values()) for run_id, found in steps_of.items()})
