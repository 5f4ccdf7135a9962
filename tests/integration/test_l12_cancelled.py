"""L12: a call that the body cancels is not delivered, not started again, and takes no event away."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.support import lawful
from tests.support.cluster import LEASE, Cluster, until

from zart_scheduler import Client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "crash_at", [None, "after-commit:work#1", "after-commit:work#2", "after-commit:work#3"]
)
async def test_a_cancelled_sibling_stays_cancelled_whenever_the_worker_dies(
    cluster: Cluster, crash_at: str | None
) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(lawful.giving_up, execution_id="run")
        first = await cluster.worker(crash_at=crash_at)
        if crash_at is not None:
            await first.died()
            await cluster.worker()
        await until(lambda: cluster.value("SELECT 1 FROM zart_steps WHERE ident LIKE ':work#%%'"))
        await until(lambda: cluster.value("SELECT 1 FROM zart_waits WHERE ident LIKE ':said#1'"))
        await handle.send_event("said", "hello")
        assert await handle.result(LEASE + 20) == ["after", "hello", "end"]
    begun = Counter(entry["n"] for entry in cluster.entries())
    if crash_at in (None, "after-commit:work#2", "after-commit:work#3"):
        assert begun["never-done"] == 1, "its cancel was recorded, and it does not start again"
    assert begun["after"] <= 2
    outcomes = await cluster.rows("SELECT ident, outcome::text FROM zart_steps")
    cancelled = {row["ident"] for row in outcomes if row["outcome"] == "c"}
    assert cancelled == {":work#0", ":said#0"}
