"""Concurrent branches survive `kill -9`: results are not swapped, and a cancelled sibling stays cancelled (L5, L12)."""

from __future__ import annotations

import pytest
from tests.crash.checks import assert_nothing_is_left, survive
from tests.support import workflows
from tests.support.cluster import Cluster

from zart_scheduler import Client

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.mark.parametrize("n", range(3))
@pytest.mark.parametrize("point", ["before-step", "after-effect", "before-commit", "after-commit"])
@pytest.mark.parametrize("step", ["first", "second"])
async def test_gathered_branches_survive_a_kill(cluster: Cluster, step: str, point: str, n: int) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.branches, execution_id="b")
        assert await survive(cluster, client, handle, crash_at=f"{point}:{step}-{n}") == [0, 11, 22]
    recorded = await cluster.rows("SELECT ident, completed_at, worker_id FROM zart_steps ORDER BY ident")
    assert len(recorded) == 6
    counts = {name: cluster.effects().count(name) for name in set(cluster.effects())}
    assert set(counts) == {f"{kind}-{i}" for kind in ("first", "second") for i in range(3)}
    assert max(counts.values()) <= 2
    if point == "after-commit":
        assert counts[f"{step}-{n}"] == 1
    await assert_nothing_is_left(cluster)
