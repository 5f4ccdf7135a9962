"""Repairing executions: what blocks a run, and letting it try again."""

from __future__ import annotations

from typing import Literal, NamedTuple
from uuid import UUID

from zart_scheduler.sql import queries
from zart_scheduler.store.statement import Statement

_SQL = queries("repairs")
_FIND_BLOCK = _SQL["find_block"]
_LIST_IDENTITIES = _SQL["list_identities"]
_UNBLOCK = _SQL["unblock_execution"]


class Block(NamedTuple):
    """An execution's current run. `divergence` is what it is blocked by, as it is stored; None if it is not."""

    run_id: UUID
    state: str
    divergence: bytes | None


class Unblocked(NamedTuple):
    """`changed`: the run is not what it was when it was looked at. `state` is what it is in now."""

    status: Literal["unblocked", "refused", "changed"]
    state: str | None


def find_block(execution_id: str) -> Statement[Block | None]:
    """Find out what blocks an execution; None if there is no such execution."""
    return Statement(
        _FIND_BLOCK, {"execution_id": execution_id}, lambda rows: Block(*rows[0]) if rows else None
    )


def list_identities(run_id: UUID) -> Statement[list[str]]:
    """List the identities of all records of a run."""
    return Statement(_LIST_IDENTITIES, {"run_id": run_id}, lambda rows: [row[0] for row in rows])


def unblock(
    execution_id: str, run_id: UUID, *, accept: str | None, reset: str | None, actor: str, reason: str | None
) -> Statement[Unblocked]:
    """Let the blocked run `run_id` try again, with one call accepted or one record forgotten; both by identity."""
    params = {
        "execution_id": execution_id,
        "run_id": run_id,
        "accept": accept,
        "reset": reset,
        "actor": actor,
        "reason": reason,
    }
    return Statement(_UNBLOCK, params, lambda rows: Unblocked(*rows[0]))
