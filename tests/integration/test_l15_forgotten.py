"""L15: a call that is neither awaited nor handed on fails the run, and its source line is told."""

from __future__ import annotations

import pytest
from tests.support import lawful
from tests.support.cluster import LEASE, Cluster

from zart_core import CallNotAwaited, ExecutionFailed
from zart_scheduler import Client, Worker, WorkerConfig

pytestmark = pytest.mark.anyio


async def test_a_forgotten_await_fails_the_run_and_names_call_and_line(cluster: Cluster) -> None:
    config = WorkerConfig(lease=LEASE, poll_interval="100ms")
    async with Client(cluster.url) as client, Worker(client, lawful, config=config):
        handle = await client.start(lawful.forgetful)
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result(10)
    failure = failed.value.failure
    assert failure.kind == "CallNotAwaited"
    assert isinstance(failure.exception, CallNotAwaited)
    assert "'work'" in failure.message
    assert "lawful.py:" in failure.message
    assert "in forgetful" in failure.message
    assert [entry["n"] for entry in cluster.entries()] == ["kept"], "the forgotten step was never run"
