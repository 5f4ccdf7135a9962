"""Worker incarnations and their leases. All durations in seconds, all clocks the database's (L8)."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from zart_scheduler.sql import queries
from zart_scheduler.store.statement import Row, Statement, nothing

_SQL = queries("workers")
_REGISTER = _SQL["register_worker"]
_RENEW = _SQL["renew_worker"]
_RETIRE = _SQL["retire_worker"]
_MARK_DEAD = _SQL["mark_dead"]


def register(
    worker_id: UUID,
    *,
    lease: float,
    name: str,
    host: str,
    pid: int,
    queues: Sequence[str],
    workflows: Sequence[str],
    version: str,
) -> Statement[None]:
    """Begin an incarnation. `worker_id` must be new: a dead one never comes back."""
    params = {
        "worker": worker_id,
        "lease": lease,
        "name": name,
        "host": host,
        "pid": pid,
        "queues": list(queues),
        "workflows": list(workflows),
        "version": version,
    }
    return Statement(_REGISTER, params, nothing)


def renew(worker_id: UUID, lease: float) -> Statement[bool]:
    """Extend the lease to `lease` seconds from now; False: dead or expired, and nothing was changed."""
    return Statement(_RENEW, {"worker": worker_id, "lease": lease}, _flag)


def retire(worker_id: UUID) -> Statement[None]:
    """End an incarnation; tasks it still owns are taken as those of a dead worker."""
    return Statement(_RETIRE, {"worker": worker_id}, nothing)


def mark_dead(grace: float) -> Statement[list[UUID]]:
    """Declare workers dead whose lease is over, and return them.

    A worker row that some stopped client keeps locked `grace` seconds past the lease is freed by ending its connection.
    """
    return Statement(_MARK_DEAD, {"grace": grace}, lambda rows: list(rows[0][0]))


def _flag(rows: list[Row]) -> bool:
    return bool(rows[0][0])
