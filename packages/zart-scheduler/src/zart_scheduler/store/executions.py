"""Starting, telling and cancelling executions. These statements may run in a caller's own transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from zart_core.spi import Cancelled, Delivered, Started
from zart_scheduler.sql import queries
from zart_scheduler.store.statement import Statement, nothing

_SQL = queries("executions")
_START = _SQL["start_execution"]
_DELIVER = _SQL["deliver_event"]
_BROADCAST = _SQL["broadcast_event"]
_MEET = _SQL["meet_broadcast"]
_COUNT_USES = _SQL["count_uses"]
_FIND_UNMET = _SQL["find_unmet"]
_CANCEL = _SQL["cancel_execution"]
_HINT = _SQL["hint"]

READY_CHANNEL = "zart_ready"
"""Something may be claimable, or has come for an active run."""
DONE_CHANNEL = "zart_done"
"""Runs have ended."""


class Broadcast(NamedTuple):
    """What became of a broadcast; `event_id` is that of the first if it was sent before."""

    status: Literal["accepted", "duplicate", "mismatch"]
    event_id: int


class Met(NamedTuple):
    """Where to go on meeting waits, None at their end; `skipped` are those whose runs somebody holds."""

    after: int | None
    skipped: int


def start(
    execution_id: str,
    run_id: UUID,
    workflow: str,
    *,
    input_hash: bytes,
    input: bytes,
    version: str = "",
    queue: str = "default",
    priority: int = 0,
    tags: Mapping[str, str] | None = None,
    delay: float | None = None,
    at: datetime | None = None,
    restart: bool = False,
    in_callers: bool = False,
    actor: str = "",
) -> Statement[Started]:
    """Start an execution once per id; `delay` in seconds, `at` aware; `version` empty = bound at the first claim.

    With `restart` one of the same workflow that is there gets a new run; `in_callers`: in a caller's transaction.
    """
    params = {
        "execution_id": execution_id,
        "run_id": run_id,
        "workflow": workflow,
        "version": version,
        "queue": queue,
        "priority": priority,
        "input_hash": input_hash,
        "input": input,
        "tags": Jsonb(dict(tags or {})),
        "delay": delay,
        "at": at,
        "restart": restart,
        "owned": not in_callers,
        "actor": actor,
    }
    return Statement(_START, params, lambda rows: Started(*rows[0]))


def deliver(execution_id: str, name: str, *, payload: bytes, key: str | None = None) -> Statement[Delivered]:
    """Send an event; `payload` is JSON text, `key` the sender's idempotency key."""
    params = {"execution_id": execution_id, "name": name, "key": key, "payload": payload}
    return Statement(_DELIVER, params, lambda rows: Delivered(*rows[0]))


def broadcast(
    name: str, key: str, *, payload: bytes, idem_key: str | None, retain: float | None, alone: bool
) -> Statement[Broadcast]:
    """Accept an event for a topic.

    Args:
        name: The event's name.
        key: With the name, the topic.
        payload: JSON text.
        idem_key: The sender's idempotency key, one acceptance per topic.
        retain: For how many seconds also later waits take it.
        alone: Nothing else is in the transaction, which ends with this statement.
    """
    params = {
        "name": name,
        "key": key,
        "idem_key": idem_key,
        "payload": payload,
        "retain": retain,
        "alone": alone,
    }
    return Statement(_BROADCAST, params, lambda rows: Broadcast(*rows[0]))


def meet_broadcast(event_id: int, after: int, limit: int) -> Statement[Met]:
    """Meet up to `limit` of the waits that a broadcast is for, from the place `after` on."""
    params = {"event_id": event_id, "after": after, "limit": limit}
    return Statement(_MEET, params, lambda rows: Met(*rows[0]))


def count_uses(event_id: int) -> Statement[int]:
    """Return how many waits a broadcast has met so far."""
    return Statement(_COUNT_USES, {"event_id": event_id}, lambda rows: int(rows[0][0]))


def find_unmet(limit: int) -> Statement[list[int]]:
    """Return broadcasts that may still have waits to meet."""
    return Statement(_FIND_UNMET, {"limit": limit}, lambda rows: [row[0] for row in rows])


def cancel(execution_id: str, reason: str | None = None) -> Statement[Cancelled]:
    """Cancel the current run at once if nobody owns it, else ask its owner."""
    return Statement(
        _CANCEL, {"execution_id": execution_id, "reason": reason}, lambda rows: Cancelled(*rows[0])
    )


def hint(channel: str) -> Statement[None]:
    """Wake the listeners of `channel`. Never part of a flush, and at most one per 50 ms and process."""
    return Statement(_HINT, {"channel": channel}, nothing)
