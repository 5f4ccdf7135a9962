"""A user's transaction that has sent an event and stays open holds up no step of any run."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from contextlib import suppress

import psycopg
import pytest
from tests.support.cluster import Cluster, until

from zart_core import EventTimeout, context, wait_for_event
from zart_decorators import durable, step
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

RUNS = 50
HELD = 2.0
MOST = 1.0
"""The longest gap in seconds: well below HELD, and well above what a slow machine makes of the 0.2 s that is meant."""

moments: defaultdict[str, list[float]] = defaultdict(list)
is_over = False


@step
async def tick() -> bool:
    moments[context().execution_id].append(time.monotonic())
    await asyncio.sleep(0.05)
    return is_over


@durable
async def busy() -> None:
    """Step after step; and beside that waits, whose records need the row that the sender holds."""
    done = False

    async def waits() -> None:
        while not done:
            with suppress(EventTimeout):
                await wait_for_event("other", timeout=0.1)

    beside = asyncio.create_task(waits())
    while not done:
        done = await tick()
    await beside


async def test_an_open_send_event_beside_busy_runs_makes_no_gap_in_their_steps(cluster: Cluster) -> None:
    global is_over
    is_over = False
    moments.clear()
    config = WorkerConfig(lease="60s", poll_interval="200ms", concurrency=RUNS)
    async with Client(cluster.url) as client, Worker(client, busy, config=config):
        handles = [await client.start(busy) for _ in range(RUNS)]
        await until(lambda: len(moments) == RUNS)
        async with await psycopg.AsyncConnection.connect(cluster.url) as conn:
            await handles[0].send_event("news", 1, conn=conn)
            began = time.monotonic()
            waiting = await _sessions_that_wait_for_locks(cluster, until_=began + HELD)
            ended = time.monotonic()
            await conn.commit()
        is_over = True
        await asyncio.gather(*(handle.result(30) for handle in handles))
        (event,) = (await handles[0].describe()).events
        assert event.state == "pending"
    assert waiting == []
    assert max(_longest_gap(times, began, ended) for times in moments.values()) < MOST


async def _sessions_that_wait_for_locks(cluster: Cluster, *, until_: float) -> list[str]:
    """Look again and again until a moment."""
    found: list[str] = []
    query = """SELECT query FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'transactionid'"""
    while time.monotonic() < until_:
        found += [row["query"] for row in await cluster.rows(query)]
    return found


def _longest_gap(times: list[float], began: float, ended: float) -> float:
    inside = [moment for moment in times if began <= moment <= ended]
    assert inside, "no step began in all that time"
    stops = [began, *inside, ended]
    return max(later - earlier for earlier, later in itertools.pairwise(stops))
