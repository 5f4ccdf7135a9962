"""Lists of runs: filters, and pages that nothing started meanwhile can disturb."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection
from tests.support.histories import block, end, execute, park

from zart_core import RunState, RunSummary, UsageError
from zart_core.spi import RunFilter
from zart_scheduler import Client, call
from zart_scheduler.store import reads
from zart_scheduler.store.statement import Statement, run

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with Client(database_url) as client:
        yield client


@pytest.fixture
async def runs(client: Client, database_url: str) -> None:
    """One run in each state."""
    for state in (
        "scheduled",
        "running",
        "sleeping",
        "waiting",
        "blocked",
        "completed",
        "failed",
        "cancelled",
    ):
        await client.start(
            call(f"flow-{state[0]}"), execution_id=state, tags={"state": state, "all": "yes"}, queue=state
        )
    for state in ("completed", "failed", "cancelled"):
        end(database_url, state, state, ValueError("x") if state == "failed" else None)
    block(database_url, "blocked", "why")
    park(database_url, "sleeping")
    run_id = park(database_url, "waiting")
    execute(
        database_url,
        "INSERT INTO zart_waits (run_id, ident, execution_id, seq, name) VALUES (%s, ':e#0', 'waiting', 1, 'e')",
        run_id,
    )
    execute(
        database_url,
        "UPDATE zart_tasks SET state = 'a', worker_id = gen_random_uuid(), epoch = 1 WHERE execution_id = 'running'",
    )


async def ids(client: Client, **options: Any) -> list[str]:
    return [run.execution_id for run in await client.list_runs(**options)]


@pytest.mark.usefixtures("runs")
async def test_each_state_lists_its_runs(client: Client) -> None:
    for state in (
        "scheduled",
        "running",
        "sleeping",
        "waiting",
        "blocked",
        "completed",
        "failed",
        "cancelled",
    ):
        page = await client.list_runs(state=state)
        assert [(run.execution_id, run.state) for run in page] == [(state, RunState(state))]
        assert page.next_cursor is None
    assert await ids(client, state=RunState.PAUSED) == []


@pytest.mark.usefixtures("runs")
async def test_a_list_is_newest_first(client: Client) -> None:
    everything = (await client.list_runs()).items
    assert len(everything) == 8
    assert [run.created_at for run in everything] == sorted(
        (run.created_at for run in everything), reverse=True
    )
    assert everything[0].execution_id == "cancelled"


@pytest.mark.usefixtures("runs")
async def test_filters_restrict_the_list_together(client: Client) -> None:
    assert await ids(client, workflow="flow-s") == ["sleeping", "scheduled"]
    assert await ids(client, workflow="flow-s", state="sleeping") == ["sleeping"]
    assert await ids(client, workflow="flow-c", state="sleeping") == []
    assert await ids(client, queue="failed") == ["failed"]
    assert await ids(client, queue="running", state="running") == ["running"]
    assert await ids(client, tags={"state": "waiting"}) == ["waiting"]
    assert len(await ids(client, tags={"all": "yes"})) == 8
    assert await ids(client, tags={"all": "yes", "state": "nothing"}) == []
    assert await ids(client, search="EEPI") == ["sleeping"]
    assert await ids(client, search="flow-w") == ["waiting"]
    assert await ids(client, search="100%_") == []


@pytest.mark.usefixtures("runs")
async def test_since_and_until_meet_without_gap_or_overlap(client: Client) -> None:
    everything = (await client.list_runs()).items
    middle = everything[3].created_at
    assert await ids(client, since=middle) == [run.execution_id for run in everything[:4]]
    assert await ids(client, until=middle) == [run.execution_id for run in everything[4:]]
    assert await ids(client, since=middle, until=middle + timedelta(microseconds=1)) == [
        everything[3].execution_id
    ]


async def test_pages_join_without_gap_or_overlap_also_at_equal_times(
    client: Client, database_url: str
) -> None:
    for number in range(25):
        await client.start(call("flow"), execution_id=str(number))
    execute(database_url, "UPDATE zart_execution_runs SET created_at = date_trunc('hour', created_at)")
    seen: list[RunSummary] = []
    cursor: str | None = None
    while True:
        page = await client.list_runs(limit=10, cursor=cursor)
        seen += page.items
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        await client.start(call("flow"), execution_id=f"late-{cursor[-20:]}")
    assert sorted(run.execution_id for run in seen) == sorted(str(number) for number in range(25))
    assert len(page) == 5


async def test_a_full_last_page_has_no_next(client: Client) -> None:
    for number in range(4):
        await client.start(call("flow"), execution_id=str(number))
    first = await client.list_runs(limit=2, state="scheduled")
    second = await client.list_runs(limit=2, state="scheduled", cursor=first.next_cursor)
    assert [run.execution_id for run in (*first, *second)] == ["3", "2", "1", "0"]
    assert second.next_cursor is None


async def test_impossible_filters_are_refused(client: Client) -> None:
    impossible: list[tuple[dict[str, Any], str]] = [
        ({"limit": 0}, "limit must be"),
        ({"limit": 1001}, "limit must be"),
        ({"limit": True}, "limit must be"),
        ({"state": "asleep"}, "the states are scheduled, running"),
        ({"cursor": "abc"}, "the cursor 'abc'"),
        ({"cursor": "☃"}, "the cursor"),
        ({"since": datetime(2030, 1, 1)}, "with a time zone"),  # noqa: DTZ001 - that is what is refused
        ({"tags": {"a": 1}}, "tags must be"),
    ]
    for options, reason in impossible:
        with pytest.raises(UsageError, match=reason):
            await client.list_runs(**options)


async def test_a_page_reads_in_proportion_to_itself(client: Client, database_url: str) -> None:
    execute(
        database_url,
        """
        WITH runs AS (
          INSERT INTO zart_execution_runs (run_id, execution_id, workflow, queue, state, finished_at, created_at)
          SELECT gen_random_uuid(), 'old-' || n, 'flow', 'default', 'completed', now(), now() - n * interval '1 s'
            FROM generate_series(1, 20000) AS n
          RETURNING run_id, execution_id)
        INSERT INTO zart_executions (execution_id, workflow, input_hash, current_run_id)
        SELECT execution_id, 'flow', '', run_id FROM runs
        """,
    )
    execute(database_url, "ANALYZE")
    first = await client.list_runs(limit=20)
    last = first.items[-1]
    for after in (None, (last.created_at, UUID(last.run_id))):
        statement = reads.list_runs(RunFilter(), 20, after)
        assert await _rows_read(database_url, statement) <= 20 * 5


async def _rows_read(database_url: str, statement: Statement[Any]) -> int:
    """Execute and return how many rows the scans of tables gave, by the server's own count."""
    explained = Statement(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", statement.params, lambda rows: rows[0][0]
    )
    async with await AsyncConnection.connect(database_url) as connection:
        found = await run(connection, explained)

    def scanned(node: dict[str, Any]) -> int:
        own = node["Actual Rows"] * node["Actual Loops"] if "Relation Name" in node else 0
        return int(own) + sum(scanned(child) for child in node.get("Plans", ()))

    plan = json.loads(found) if isinstance(found, str | bytes) else found
    return scanned(plan[0]["Plan"])


async def test_an_unknown_filter_is_refused(client: Client) -> None:
    with pytest.raises(TypeError, match="no option 'colour'"):
        await client.list_runs(colour="red")  # type: ignore[call-arg] # that is what is refused
