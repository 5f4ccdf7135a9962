import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from zart_core import (
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionNotFound,
    SchemaOutOfDate,
    StoreUnavailable,
    UsageError,
    ZartError,
    divergence,
)
from zart_core.spi import Ending, record, result_of
from zart_scheduler import results
from zart_scheduler.connections import Connections
from zart_scheduler.results import BATCH, ResultWaiter

pytestmark = pytest.mark.anyio


class Database:
    """Answers the waiter's queries; nothing listens there."""

    conninfo = "host=127.0.0.1 port=1 connect_timeout=1"

    def __init__(self) -> None:
        self.endings: dict[str, Ending] = {}
        self.error: Exception | None = None
        self.asked: list[list[str]] = []
        self.on_query: Callable[[list[str]], None] = lambda _: None

    async def run(self, statement: Any) -> tuple[Ending, ...]:
        ids = json.loads(statement.params["ids"])
        self.asked.append(ids)
        found = tuple(self.endings[key] for key in ids if key in self.endings)
        await asyncio.sleep(0)
        self.on_query(ids)
        if self.error is not None:
            raise self.error
        return found

    def end(self, key: str) -> None:
        self.endings[key] = Ending(key, "completed", b"1")


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
async def waiter(database: Database) -> AsyncIterator[ResultWaiter]:
    waiter = ResultWaiter(cast("Connections", database))
    yield waiter
    await waiter.close()


async def test_one_query_asks_for_at_most_a_thousand(waiter: ResultWaiter, database: Database) -> None:
    keys = [str(number) for number in range(2500)]
    for key in keys:
        database.end(key)
    endings = await asyncio.gather(*(waiter.wait(key) for key in keys))
    assert [ending.execution_id for ending in endings] == keys
    assert max(len(ids) for ids in database.asked) == BATCH


async def test_a_short_outage_is_not_noticed(waiter: ResultWaiter, database: Database) -> None:
    database.error = StoreUnavailable("gone")

    def comes_back(ids: list[str]) -> None:
        if len(database.asked) > 3:
            database.error = None
            database.end("x")

    database.on_query = comes_back
    assert (await asyncio.wait_for(waiter.wait("x"), 10)).state == "completed"


async def test_a_long_outage_is_told_to_all(
    waiter: ResultWaiter, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_OUTAGE", 0.05)
    database.error = StoreUnavailable("gone")
    outcomes = await asyncio.gather(*(waiter.wait(key) for key in "abc"), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["gone"] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    database.error = None
    database.end("a")
    assert (await asyncio.wait_for(waiter.wait("a"), 10)).state == "completed"


async def test_what_patience_cannot_mend_is_told_at_once(waiter: ResultWaiter, database: Database) -> None:
    database.error = SchemaOutOfDate(None, "0001")
    with pytest.raises(SchemaOutOfDate):
        await asyncio.wait_for(waiter.wait("x"), 10)


async def test_who_comes_during_a_look_gets_one_of_its_own(waiter: ResultWaiter, database: Database) -> None:
    """The look that is under way may have missed the end; the next must not wait for the first one's pause."""
    first = asyncio.create_task(waiter.wait("x"))
    second: list[asyncio.Task[Ending]] = []

    def comes_late(ids: list[str]) -> None:
        if not second and waiter._watches["x"].pause > 0.1:
            second.append(asyncio.create_task(waiter.wait("x")))
            waiter._watches["x"].pause = 3600
            database.end("x")

    database.on_query = comes_late
    assert (await asyncio.wait_for(first, 10)).state == "completed"
    assert (await asyncio.wait_for(second[0], 10)).state == "completed"


async def test_who_gives_up_leaves_nothing_behind(waiter: ResultWaiter, database: Database) -> None:
    tasks = [asyncio.create_task(waiter.wait("x")) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert waiter._watches == {}


async def test_closing_tells_all_who_wait(waiter: ResultWaiter) -> None:
    task = asyncio.create_task(waiter.wait("x"))
    await asyncio.sleep(0)
    await waiter.close()
    with pytest.raises(UsageError, match="closed while it waited"):
        await task


async def test_an_ending_is_a_value_or_an_error() -> None:
    assert result_of(Ending("x", "completed", b'{"a":1}'), None) == {"a": 1}
    assert result_of(Ending("x", "completed", None), None) is None
    with pytest.raises(ExecutionNotFound):
        result_of(Ending("x", None, None), None)
    with pytest.raises(ExecutionFailed, match="LookupError"):
        result_of(Ending("x", "failed", record(LookupError("gone"))), None)
    with pytest.raises(ExecutionCancelled, match="because"):
        result_of(Ending("x", "cancelled", b'"because"'), None)
    details = divergence.dump(divergence.without_record(divergence.STUCK, "it waits for nothing", "x"))
    with pytest.raises(ExecutionBlocked, match="it waits for nothing"):
        result_of(Ending("x", "blocked", details), None)
    with pytest.raises(ZartError, match="unknown state"):
        result_of(Ending("x", "melted", None), None)
