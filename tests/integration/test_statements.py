"""What the hot path costs: statements counted by the server itself, those inside functions too."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest

from tests.support import workflows
from tests.support.cluster import Cluster
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

LONG = WorkerConfig(lease="60s", poll_interval="10s")
"""Polls, sweeps and heartbeats would blur what a step costs."""


class Counted(NamedTuple):
    """One statement as the server counts it."""

    query: str
    calls: int
    rows: int


@pytest.fixture(autouse=True)
def _statistics(database_url: str) -> Iterator[None]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        assert connection.execute("SHOW pg_stat_statements.track").fetchone() == ("all",)
    yield


async def test_a_thousand_steps_in_a_row_are_a_thousand_inserts_and_little_else(cluster: Cluster) -> None:
    steps = 1000
    async with Client(cluster.url) as client, Worker(client, workflows.plain, config=LONG):
        handle = await client.start(workflows.plain, steps)
        assert await handle.result(60) == steps
        counted = await _counted(cluster)
    flushes = [each for each in counted if "zart_flush_v1(" in each.query]
    assert sum(each.calls for each in flushes) <= steps + 10
    inserts = [each for each in counted if "INSERT INTO zart_steps " in each.query]
    assert sum(each.rows for each in inserts) == steps
    assert await cluster.value("SELECT count(*) FROM zart_steps") == steps
    allowed = {"fence": "FROM zart_workers", "insert": "INSERT INTO zart_steps ", "flush": "zart_flush_v1("}
    often = {each.query: each.calls for each in counted if each.calls > steps / 20}
    others = {query: calls for query, calls in often.items() if not any(text in query for text in allowed.values())}
    about_tables = {query: calls for query, calls in others.items() if re.search(r"\bzart_|UPDATE|SELECT.+FROM", query)}
    assert about_tables == {}, "no other statement may come with every step"
    written = [each for each in counted if re.match(r"\s*(UPDATE|DELETE)", each.query)]
    assert sum(each.calls for each in written) <= 20, written


async def test_a_hundred_runs_at_once_share_their_flushes(cluster: Cluster) -> None:
    runs, steps = 100, 10
    async with Client(cluster.url) as client, Worker(client, workflows.plain, config=LONG):
        handles = [await client.start(workflows.plain, steps) for _ in range(runs)]
        assert await asyncio.gather(*(handle.result(60) for handle in handles)) == [steps] * runs
    async with Client(cluster.url) as client:
        handles = [await client.start(workflows.plain, steps) for _ in range(runs)]
        await cluster.rows("SELECT pg_stat_statements_reset()")
        async with Worker(client, workflows.plain, config=LONG):
            assert await asyncio.gather(*(handle.result(60) for handle in handles)) == [steps] * runs
            counted = await _counted(cluster)
    flushes = sum(each.calls for each in counted if "zart_flush_v1(" in each.query)
    assert flushes / (runs * steps) <= 0.2


async def _counted(cluster: Cluster) -> list[Counted]:
    query = """SELECT s.query, s.calls, s.rows FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
               WHERE d.datname = current_database() ORDER BY s.calls DESC"""
    return [Counted(**row) for row in await cluster.rows(query)]
