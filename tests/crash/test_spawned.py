"""Spawned steps survive `kill -9` at every named point: recorded once, and no recorded one runs again (L1, L3)."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.crash.checks import assert_nothing_is_left, survive
from tests.support import spawning
from tests.support.cluster import Cluster

from zart_scheduler import Client

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

POINTS = [
    *(
        f"{point}:job#{n}"
        for point in ("before-step", "after-effect", "before-commit", "after-commit")
        for n in (1, 3)
    ),
    *(f"{point}:tail" for point in ("before-step", "before-commit", "after-commit")),
    "before-claim:#2",
    "after-claim:#2",
    "before-park",
    "after-park",
    "before-complete",
    "after-complete",
]


@pytest.mark.parametrize("point", POINTS)
async def test_spawned_steps_survive_a_kill(cluster: Cluster, point: str) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(spawning.spread, 3, 0.02)
        assert await survive(cluster, client, handle, crash_at=point) == 3
    effects = Counter((entry["step"], entry.get("n")) for entry in cluster.entries())
    assert set(effects) == {("job", 0), ("job", 1), ("job", 2), ("tail", None)}
    assert max(effects.values()) <= 2
    if point in ("after-commit:job#3", "after-commit:tail", "before-complete", "after-complete"):
        assert max(effects.values()) == 1
    if point == "after-commit:job#1":
        assert min(effects[("job", n)] for n in range(3)) == 1
    assert await cluster.value("SELECT count(*) FROM zart_steps") == 4
    await assert_nothing_is_left(cluster)
