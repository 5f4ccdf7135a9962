"""L1: a step whose outcome is recorded does not execute again in that run, wherever its worker dies."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from tests.integration.lives import live
from tests.support import lawful
from tests.support.cluster import Cluster

from zart_scheduler import Handle

pytestmark = pytest.mark.anyio

STEPS = {"first", "left", "right", "last"}


async def say(handle: Handle[Any]) -> None:
    await handle.send_event("said", "hello")


@pytest.mark.parametrize("max_parked", [0, 1000])
@pytest.mark.parametrize("nth", range(1, 6))
async def test_a_kill_after_the_nth_record_repeats_no_recorded_step(
    cluster: Cluster, nth: int, max_parked: int
) -> None:
    result = await live(
        cluster, lawful.mixed, "run", script=say, crash_at=f"after-commit:#{nth}", max_parked=max_parked
    )
    assert result == ["first", "left", "right", "hello", "last"]
    effects = Counter(entry["n"] for entry in cluster.entries())
    assert effects.keys() == STEPS
    dead = cluster.workers[0].pid
    recorded_before = [e["n"] for e in cluster.entries() if e["pid"] == dead]
    again = [e["n"] for e in cluster.entries() if e["pid"] != dead and e["n"] in recorded_before]
    # Only what was under way at the kill: of two steps in parallel one may be without its record.
    assert len(again) <= 1
    assert max(effects.values()) <= 2
    assert await cluster.value("SELECT count(*) FROM zart_steps") == 6
