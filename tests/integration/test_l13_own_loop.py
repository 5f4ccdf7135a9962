"""L13: a body has a loop of its own; I/O in it fails at once, and nothing is installed on the worker's loop."""

from __future__ import annotations

import asyncio
import sys

import pytest
from tests.support import lawful
from tests.support.cluster import LEASE, Cluster

from zart_core import ExecutionFailed
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio

CONFIG = WorkerConfig(lease=LEASE, poll_interval="100ms")


async def test_io_in_a_body_fails_the_run_and_says_where_it_belongs(cluster: Cluster) -> None:
    async with Client(cluster.url) as client, Worker(client, lawful, config=CONFIG):
        handle = await client.start(lawful.fetching)
        with pytest.raises(ExecutionFailed, match="do I/O in a step"):
            await handle.result(10)


async def test_a_worker_installs_nothing_on_the_loop_it_runs_on(cluster: Cluster) -> None:
    loop = asyncio.get_running_loop()
    before = (loop.get_task_factory(), loop.get_exception_handler(), sys.get_asyncgen_hooks())
    async with Client(cluster.url) as client, Worker(client, lawful, config=CONFIG):
        handle = await client.start(lawful.crossing)
        await handle.result(10)
        assert (loop.get_task_factory(), loop.get_exception_handler(), sys.get_asyncgen_hooks()) == before
