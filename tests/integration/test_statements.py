"""What the hot path costs: statements counted by the server itself, those inside functions too."""

from __future__ import annotations

import asyncio
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
def _statistics(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        assert connection.execute("SHOW pg_stat_statements.track").fetchone() == ("all",)


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
    # Nothing else comes with every step: no UPDATE, and no SELECT but the fence's lock and look.
    often = [each.query for each in counted if each.calls > steps / 20]
    parts = (
        "FOR KEY SHARE",
        "lease_expires_at > clock_timestamp()",
        "INSERT INTO zart_steps ",
        "zart_flush_v1(",
    )
    assert all(sum(part in query for query in often) == 1 for part in parts)
    assert len(often) == len(parts), often


async def test_a_hundred_runs_at_once_share_their_flushes(cluster: Cluster) -> None:
    runs, steps = 100, 10
    async with Client(cluster.url) as client:
        handles = [await client.start(workflows.plain, steps) for _ in range(runs)]
        async with Worker(client, workflows.plain, config=LONG):
            assert await asyncio.gather(*(handle.result(60) for handle in handles)) == [steps] * runs
            counted = await _counted(cluster)
    flushes = sum(each.calls for each in counted if "zart_flush_v1(" in each.query)
    assert flushes / (runs * steps) <= 0.2


async def _counted(cluster: Cluster) -> list[Counted]:
    query = """SELECT s.query, s.calls, s.rows FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
               WHERE d.datname = current_database() ORDER BY s.calls DESC"""
    return [Counted(**row) for row in await cluster.rows(query)]
