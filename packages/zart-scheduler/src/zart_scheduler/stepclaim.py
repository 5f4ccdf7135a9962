"""From claimed tasks of spawned steps to steps in memory: read what they are to do, without holding anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from psycopg import AsyncConnection

from zart_core import Registry
from zart_core.spi import AttemptRecord, ClaimedStep, Host, SpawnedStep, Task
from zart_scheduler.attempts import fold_attempts
from zart_scheduler.store import runs, steps
from zart_scheduler.store.runs import SpawnedRow
from zart_scheduler.store.statement import run as execute
from zart_scheduler.store.tasks import Claimed


async def load_steps(
    connection: AsyncConnection[Any], claimed: Sequence[Claimed], now: float
) -> list[ClaimedStep]:
    """Return the claimed spawned steps; one that is gone again is left out.

    Args:
        connection: Any connection; nothing is locked.
        claimed: What was claimed.
        now: The host loop's time, to which due times are reckoned.
    """
    if not claimed:
        return []
    epochs = {task.task_id: task.epoch for task in claimed}
    rows = await execute(connection, runs.load_spawned(list(epochs)))
    tried = await execute(connection, steps.load_spawned_attempts([(row.run_id, row.ident) for row in rows]))
    attempts = fold_attempts(tried, now)
    return [_claimed_step(row, attempts[row.run_id]) for row in rows if row.epoch == epochs[row.task_id]]


def _claimed_step(row: SpawnedRow, attempts: Mapping[str, AttemptRecord]) -> ClaimedStep:
    known = attempts.get(row.ident)
    return ClaimedStep(
        task_id=str(row.task_id),
        epoch=row.epoch,
        identity=row.ident,
        sequence=row.seq,
        payload=bytes(row.payload),
        attempts=(known,) if known is not None else (),
        is_wanted=row.wanted,
        run_id=str(row.run_id),
        execution_id=row.execution_id,
        run_index=row.run_index,
        workflow=row.workflow,
        version=row.version,
        queue=row.queue,
        tags=row.tags,
        started_at=(row.started_at or row.created_at).astimezone(UTC),
        deadline=row.deadline_at.astimezone(UTC) if row.deadline_at is not None else None,
    )


def spawned_step(claimed: ClaimedStep, registry: Registry, host: Host) -> SpawnedStep:
    """Return the step, with its function if this worker has it."""
    task = Task.read(claimed.payload)
    return SpawnedStep(claimed, task, registry.find_step(task.step, task.code), host)
