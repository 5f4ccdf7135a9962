"""A parent and its child survive `kill -9` at every named point between the parent's start and both ends (L1, L3)."""

from __future__ import annotations

import pytest
from tests.crash.checks import assert_effects, assert_nothing_is_left, survive
from tests.support import families
from tests.support.cluster import Cluster

from zart_scheduler import Client

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CLEAN = {"finish": 2, "count": 2}
"""Effects without a crash: the parent's step on either side of the child, and the child's two."""

POINTS = {
    "before-claim": None,
    "after-claim": None,
    "before-step:finish": None,
    "after-effect:finish": "finish",
    "after-commit:finish": None,
    "before-child:child": None,
    "after-child:child": None,
    "before-park:": None,
    "after-park:": None,
    "before-claim:#2": None,
    "after-claim:#2": None,
    "before-step:count": None,
    "after-effect:count": "count",
    "before-commit:count": "count",
    "after-commit:count": None,
    "before-park:#2": None,
    "after-park:#2": None,
    "after-effect:count#2": "count",
    "before-complete": None,  # the child's
    "after-complete": None,
    "before-step:finish#2": None,
    "after-effect:finish#2": "finish",
    "before-commit:finish#2": "finish",
    "after-commit:finish#2": None,
    "before-complete:#2": None,
    "after-complete:#2": None,
}
"""Where the worker dies, and which step must take effect once more for it: only one without a record."""


@pytest.mark.parametrize("point", POINTS)
async def test_a_parent_and_its_child_survive_a_kill(cluster: Cluster, point: str) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(families.parent, 3, execution_id="p")
        assert await survive(cluster, client, handle, crash_at=point) == [1, 30, 2]
    again = POINTS[point]
    assert_effects(cluster, {name: n + (name == again) for name, n in CLEAN.items()})
    assert await cluster.value("SELECT count(*) FROM zart_executions") == 2
    await assert_nothing_is_left(cluster)


DETACHED = [
    "before-child:child",
    "after-child:child",
    "before-step:say#2",
    "before-complete",
    "after-complete",
]


@pytest.mark.parametrize("point", DETACHED)
async def test_a_detached_child_is_started_once_whenever_its_parent_is_killed(
    cluster: Cluster, point: str
) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(families.messenger, execution_id="m")
        assert await survive(cluster, client, handle, crash_at=point) == "m~/:child#0"
        assert await cluster.value("SELECT count(*) FROM zart_executions") == 2
        child = client.handle("m~/:child#0", families.child)
        await cluster.worker()
        assert await child.result(10) == 40
    await assert_nothing_is_left(cluster)


LEFT = ["before-complete", "after-complete", "before-child:listener#2", "after-child:listener#2"]


@pytest.mark.parametrize("point", LEFT)
async def test_children_that_a_killed_parent_has_left_are_cancelled(cluster: Cluster, point: str) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(families.leaver, False, execution_id="l")
        assert await survive(cluster, client, handle, crash_at=point) == "done: False"
        await cluster.worker()
        left = client.handle("l~/:listener#1")
        await handle.result(0)
        with pytest.raises(Exception, match="its parent has ended"):
            await left.result(10)
    states = await cluster.rows("SELECT execution_id, state FROM zart_execution_runs ORDER BY 1")
    assert [row["state"] for row in states] == ["completed", "live", "cancelled"]
    assert await cluster.value("SELECT count(*) FROM zart_cancellations") == 0
