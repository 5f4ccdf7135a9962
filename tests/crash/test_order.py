"""The order workflow survives `kill -9` at every named point of the hot path (L1, L3)."""

from __future__ import annotations

import pytest
from tests.crash.checks import assert_effects, assert_nothing_is_left, survive
from tests.support import workflows
from tests.support.cluster import Cluster

from zart_scheduler import Client

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CLEAN = {"validate": 1, "pay": 2, "reserve": 1}
"""Effects without a crash: the first payment fails and is tried again."""

POINTS = {
    "before-claim": None,
    "after-claim": None,
    "before-step:validate": None,
    "after-effect:validate": "validate",
    "before-commit:validate": "validate",
    "after-commit:validate": None,
    "before-step:pay": None,
    "after-effect:pay": None,  # the attempt that fails: not recorded, made again, and succeeds
    "before-step:pay#2": None,
    "after-effect:pay#2": "pay",
    "before-commit:pay": "pay",
    "after-commit:pay": None,
    "before-step:reserve": None,
    "after-effect:reserve": "reserve",
    "before-commit:reserve": "reserve",
    "after-commit:reserve": None,
    "before-commit:settle": None,
    "after-commit:settle": None,
    "before-park": None,
    "after-park": None,
    "before-park#2": None,
    "after-park#2": None,
    "before-complete": None,
    "after-complete": None,
}
"""Where the worker dies, and which step must take effect once more for it: only one without a record."""


@pytest.mark.parametrize("point", POINTS)
async def test_an_order_survives_a_kill(cluster: Cluster, point: str) -> None:
    async with Client(cluster.url) as client:
        order = workflows.Order(order_id="o-1", amount=9.5)
        handle = await client.start(workflows.order, order, execution_id="order-1")
        event = ("shipped", workflows.Shipment(tracking="T-1"))
        receipt = await survive(cluster, client, handle, crash_at=_armed(point), event=event)
    assert receipt == workflows.Receipt(order_id="o-1", transaction="txn-o-1-9.5", tracking="T-1")
    again = POINTS[point]
    assert_effects(cluster, {name: n + (name == again) for name, n in CLEAN.items()}, attempts=4)
    await assert_nothing_is_left(cluster)
    failed = await cluster.rows("SELECT ident, attempt FROM zart_step_attempts WHERE error IS NOT NULL")
    assert failed == ([] if point == "after-effect:pay" else [{"ident": ":pay#0", "attempt": 1}])


def _armed(point: str) -> str:
    """Write a point without a step as the environment variable takes it: `before-park#2` is `before-park:#2`."""
    return point if ":" in point else point.replace("#", ":#")
