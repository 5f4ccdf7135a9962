"""Transactions of steps: begun for a step, and committed together with its record."""

from __future__ import annotations

from uuid import UUID

from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.rows import tuple_row

from zart_scheduler.sql import queries
from zart_scheduler.store.statement import Statement, json_text, nothing

_SQL = queries("transactions")
_IDENTIFY = f"BEGIN ISOLATION LEVEL READ COMMITTED; {_SQL['identify_transaction']}".encode()
_RECORD = f"{_SQL['record_in_transaction']}; COMMIT".encode()
_FATE = _SQL["find_fate"]
_END = _SQL["end_transaction"]

FENCED, LOST, STORED, ANOTHER = "ZT001", "ZT002", "ZT003", "ZT004"
"""SQLSTATEs with which the database refuses a record: see `zart_record_v1`."""


async def begin(connection: AsyncConnection) -> str:
    """Begin a transaction and return its number."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_IDENTIFY)
        cursor.nextset()
        row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM
    return str(row[0])


async def record_and_commit(
    connection: AsyncConnection,
    worker_id: UUID,
    xact: str,
    *,
    steps: str | bytes | None = None,
    finishes: str | bytes | None = None,
    patience: float,
) -> None:
    """Record a step's outcome in its transaction and commit, in one message.

    Args:
        connection: The one that has the transaction open.
        worker_id: Whose record; the fence (L4).
        xact: The number that `begin` returned.
        steps: The record, as a flush has it.
        finishes: In its place, the end of a spawned step, as a flush has it.
        patience: Seconds after which the server ends a client that does not go on behind the fence.

    Raises:
        psycopg.Error: Not committed, if the connection is alive; else nobody knows.
    """
    params = {
        "worker": worker_id,
        "xact": xact,
        "steps": json_text(steps),
        "finishes": json_text(finishes),
        "patience": max(round(patience * 1000), 1),
    }
    # Two statements in one message: only the simple protocol takes them, so the values are part of the text.
    async with AsyncClientCursor(connection) as cursor:
        await cursor.execute(_RECORD, params)


def find_fate(xact: str, run_id: str, identity: str, turn: int | None) -> Statement[str]:
    """Return `committed`, `gone`, or `open`: the transaction is being ended, and the question is to be asked again."""
    params = {"xact": xact, "run": run_id, "ident": identity, "turn": turn}
    return Statement(_FATE, params, lambda rows: str(rows[0][0]))


def end(xact: str) -> Statement[None]:
    """End the connection of a transaction that nobody wants any more."""
    return Statement(_END, {"xact": xact}, nothing)
