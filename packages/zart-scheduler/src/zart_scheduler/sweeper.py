"""What any worker does for all: declare the dead dead, hand their runs on, fire timers, end the overdue and the left.

Each round is bounded, takes rows SKIP LOCKED, and costs index probes only; several workers may do it at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from zart_core import DeadlineExceeded, WorkerCrashed
from zart_core.spi import record
from zart_scheduler.store import executions, tasks, workers
from zart_scheduler.store.statement import Statement
from zart_scheduler.store.statement import run as execute

BATCH = 500
"""Most rows of one statement."""

FEW = 100
"""Most runs that one transaction ends; it holds their rows."""

ROUNDS = 20
"""Most statements of one kind in one sweep."""

LOCK_GRACE = 5.0
"""Seconds past its lease after which a worker row that is still locked is freed by ending its connection."""


async def fire_due(connection: AsyncConnection[Any], worker_id: UUID) -> int:
    """Make waiting runs ready whose time has come; return how many."""
    total = 0
    for _ in range(ROUNDS):
        fired = await execute(connection, tasks.fire_due(worker_id, BATCH))
        total += fired
        if fired < BATCH:
            break
    return total


async def cancel_children(run: Callable[[Statement[int]], Awaitable[int]]) -> int:
    """Cancel what parents have left behind, level by level; return how many runs have ended or are asked to.

    `run` is to run each statement in a transaction of its own.
    """
    total = 0
    for _ in range(ROUNDS):
        cancelled = await run(tasks.cancel_children(FEW))
        total += cancelled
        if not cancelled:
            break
    return total


async def meet_broadcasts(connection: AsyncConnection[Any]) -> int:
    """Meet waits whose broadcast was part of a transaction, or whose sender is gone; return how many broadcasts."""
    unmet = await execute(connection, executions.find_unmet(ROUNDS))
    for event_id in unmet:
        after = 0
        for _ in range(ROUNDS):
            met = await execute(connection, executions.meet_broadcast(event_id, after, BATCH))
            if met.after is None:
                break
            after = met.after
    return len(unmet)


async def sweep(connection: AsyncConnection[Any], worker_id: UUID, lease: float) -> int:
    """Do one round for `worker_id`; return how many runs have become ready or ended.

    `lease` is how many seconds an owner gets to obey a cancel or a deadline.
    """
    total = await fire_due(connection, worker_id)
    await execute(connection, workers.mark_dead(LOCK_GRACE))
    for _ in range(ROUNDS):
        requeued = await execute(connection, tasks.requeue_dead(BATCH))
        total += requeued
        if requeued < BATCH:
            break
    for crashed in await execute(connection, tasks.list_crashed(BATCH)):
        payload = record(WorkerCrashed(crashed.execution_id, crashed.deaths), kind="WorkerCrashed")
        total += await execute(connection, tasks.fail_crashed(crashed.run_id, payload))
    total += await meet_broadcasts(connection)
    overdue = record(
        DeadlineExceeded("the workflow did not finish within its timeout"), kind="DeadlineExceeded"
    )
    total += await execute(connection, tasks.end_overdue(BATCH, lease, overdue))
    return total + await cancel_children(partial(execute, connection))
