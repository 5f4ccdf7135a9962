"""Concurrent branches survive `kill -9`: results are not swapped, and a cancelled sibling stays cancelled (L5, L12)."""

from __future__ import annotations

import pytest
from tests.crash.checks import assert_effects, assert_nothing_is_left, survive
from tests.support import workflows
from tests.support.cluster import Cluster

from zart_scheduler import Client

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

GATHERED = [
    f"{point}:{step}-{n}"
    for step, branches in (("first", (0, 2)), ("second", (1,)))
    for point in ("before-step", "after-effect", "before-commit", "after-commit")
    for n in branches
]


@pytest.mark.parametrize("point", GATHERED)
async def test_gathered_branches_survive_a_kill(cluster: Cluster, point: str) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.branches)
        assert await survive(cluster, client, handle, crash_at=point) == [0, 11, 22]
    effects = cluster.effects()
    steps = {f"{step}-{n}" for step in ("first", "second") for n in range(3)}
    assert set(effects) == steps
    assert max(effects.count(step) for step in steps) <= 2
    if point.startswith("after-commit"):
        assert effects.count(point.partition(":")[2]) == 1
    assert await cluster.value("SELECT count(*) FROM zart_steps") == 6
    await assert_nothing_is_left(cluster)


SIBLINGS = {
    "before-step:slow": {},
    "before-step:decline": {"slow": 2},
    "after-effect:decline": {"slow": 2, "decline": 2},
    "before-commit:decline": {"slow": 2, "decline": 2},
    "after-commit:decline": {},  # what has failed is delivered first, so that the sibling is not started again
    "before-commit:slow": {},
    "after-commit:slow": {},
    "before-step:apologise": {},
    "after-effect:apologise": {"apologise": 2},
    "after-commit:apologise": {},
    "before-complete": {},
}
"""Where the worker dies, and what takes effect more than once for it."""

PERHAPS = {"before-commit:slow": "apologise", "after-commit:slow": "apologise"}
"""What may have taken effect by then: nothing waits for the record of a cancel."""


@pytest.mark.parametrize("point", SIBLINGS)
async def test_a_cancelled_sibling_survives_a_kill(cluster: Cluster, point: str) -> None:
    async with Client(cluster.url) as client:
        handle = await client.start(workflows.siblings)
        assert await survive(cluster, client, handle, crash_at=point) == "sorry: no"
    expected = {"slow": 1, "decline": 1, "apologise": 1} | SIBLINGS[point]
    if (step := PERHAPS.get(point)) is not None and cluster.effects().count(step) > 1:
        expected[step] = 2
    assert_effects(cluster, expected)
    recorded = await cluster.rows("SELECT ident, outcome FROM zart_steps")
    outcomes = {row["ident"]: row["outcome"] for row in recorded}
    assert outcomes == {":slow#0": "c", ":decline#0": "e", ":apologise#0": "o"}
    await assert_nothing_is_left(cluster)
