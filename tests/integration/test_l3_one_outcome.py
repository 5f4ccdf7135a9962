"""L3: a step may run more than once if its worker dies before the record; exactly one outcome is ever visible."""

from __future__ import annotations

import json

import pytest
from tests.integration.lives import live
from tests.support import lawful
from tests.support.cluster import Cluster

pytestmark = pytest.mark.anyio


async def test_a_step_that_ran_twice_has_the_outcome_that_was_recorded(cluster: Cluster) -> None:
    result = await live(cluster, lawful.crossing, "run", crash_at="before-commit:roll")
    rolled = [entry["value"] for entry in cluster.entries() if entry["step"] == "roll"]
    assert len(rolled) > 3, "one was rolled and not recorded"
    seen = [float(line.split()[1]) for line in result]
    stored = await cluster.rows("SELECT payload FROM zart_steps WHERE ident LIKE '%%roll%%'")
    assert sorted(seen) == sorted(json.loads(bytes(row["payload"])) for row in stored)
