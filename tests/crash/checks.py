"""What must hold after a worker was killed and another has finished its runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.support import families, spawning, workflows
from tests.support.cluster import LEASE, Cluster

from zart_scheduler import Client, Handle, Worker, WorkerConfig

TAKEOVER = LEASE + 5
"""Seconds from a death within which another worker must have taken over; these runs are over then, too."""


async def survive(
    cluster: Cluster, client: Client, handle: Handle[Any], *, crash_at: str, event: Any = None
) -> Any:
    """Have a worker die at a crash point and another one finish; return the result.

    `event` is sent before the worker starts if it has to get beyond the wait to die, else after its death.
    """
    early = crash_at.endswith("-complete")
    if event is not None and early:
        await handle.send_event(*event)
    victim = await cluster.worker(crash_at=crash_at)
    await victim.died()
    died_at = time.monotonic()
    before = await journal(cluster, handle)
    config = WorkerConfig(lease=LEASE, poll_interval="100ms", queues=("default",))
    async with Worker(client, workflows, families, spawning, config=config):
        if event is not None and not early:
            await handle.send_event(*event)
        result = await handle.result(TAKEOVER)
    assert time.monotonic() - died_at < TAKEOVER
    after = await journal(cluster, handle)
    assert {ident: after[ident] for ident in before} == before, "a recorded outcome has changed"
    return result


async def journal(cluster: Cluster, handle: Handle[Any]) -> dict[str, tuple[Any, ...]]:
    """Return what is recorded by identity. Outcomes of sleeps and waits get their turn later, so it is left out."""
    found = await cluster.rows(
        """SELECT s.ident, s.kind, s.outcome, s.attempt, s.payload, s.completed_at
             FROM zart_steps s JOIN zart_execution_runs r USING (run_id) WHERE r.execution_id = %(id)s""",
        id=handle.execution_id,
    )
    return {row["ident"]: tuple(row.values()) for row in found}


async def assert_nothing_is_left(cluster: Cluster, state: str = "completed") -> None:
    """Check that all runs are over and nothing waits, is owned or was not delivered any more."""
    assert await cluster.value("SELECT count(*) FROM zart_tasks") == 0
    assert await cluster.value("SELECT count(*) FROM zart_waits") == 0
    assert await cluster.value("SELECT count(*) FROM zart_steps WHERE turn IS NULL") == 0
    assert await cluster.value("SELECT count(*) FROM zart_events WHERE consumed_run IS NULL") == 0
    assert await cluster.rows("SELECT DISTINCT state FROM zart_execution_runs") == [{"state": state}]
    assert await cluster.value("SELECT count(*) FROM zart_execution_runs WHERE finished_at IS NULL") == 0


def assert_effects(cluster: Cluster, expected: Mapping[str, int], *, attempts: int = 1) -> None:
    """Check how often each step took effect, and that no attempt was numbered beyond the budget or backwards."""
    assert Counter(cluster.effects()) == Counter(expected)
    for name in expected:
        numbers = [entry["attempt"] for entry in cluster.entries() if entry["step"] == name]
        assert numbers == sorted(numbers)
        assert max(numbers) <= attempts
