"""A statement as a value: what to send and how to read the answer, apart from who sends it and on which connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from psycopg import AsyncConnection, Connection
from psycopg.rows import tuple_row
from psycopg.types.json import Json

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Statement(Generic[T_co]):
    """SQL text with `%(name)s` parameters, their values, and the function that turns the rows into an answer."""

    sql: str
    params: Mapping[str, Any]
    parse: Callable[[list[Row]], T_co]


async def run(conn: AsyncConnection[Any], statement: Statement[T]) -> T:
    """Execute on `conn`, in its transaction if one is open; its row factory does not matter.

    Raises:
        psycopg.Error: As it comes; `database.store_errors()` maps it.
    """
    async with conn.cursor(binary=True, row_factory=tuple_row) as cursor:
        await cursor.execute(statement.sql.encode(), statement.params)
        return statement.parse(await cursor.fetchall() if cursor.description else [])


def run_sync(conn: Connection[Any], statement: Statement[T]) -> T:
    """Execute on `conn`, blocking; otherwise as `run`."""
    with conn.cursor(binary=True, row_factory=tuple_row) as cursor:
        cursor.execute(statement.sql.encode(), statement.params)
        return statement.parse(cursor.fetchall() if cursor.description else [])


def json_text(value: str | bytes | None) -> object:
    """Return `value`, JSON text already, in the form that psycopg sends as it is."""
    return Json(value, dumps=_as_is) if isinstance(value, bytes) else value


def nothing(rows: list[Row]) -> None:
    """Read no answer."""


def _as_is(value: bytes) -> bytes:
    return value
