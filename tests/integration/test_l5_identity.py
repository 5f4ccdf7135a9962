"""L5: branches that call the same step never swap results, in whatever order they finish or their worker dies."""

from __future__ import annotations

import pytest
from tests.integration.lives import live
from tests.support import lawful
from tests.support.cluster import Cluster

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("nth", range(1, 10, 2))
async def test_branches_keep_their_own_results_after_a_kill(cluster: Cluster, nth: int) -> None:
    result = await live(cluster, lawful.crossing, "run", crash_at=f"after-commit:#{nth}")
    recorded = await cluster.rows(
        "SELECT ident, convert_from(payload, 'UTF8') AS value FROM zart_steps WHERE ident LIKE '%%:roll#0' "
        "ORDER BY ident"
    )
    assert [line.split()[0] for line in result] == ["a-1", "b-1", "c-1"]
    assert [line.split()[2] for line in result] == ["a-2", "b-2", "c-2"]
    assert [float(line.split()[1]) for line in result] == [float(row["value"]) for row in recorded]
    assert [row["ident"] for row in recorded] == [".0:roll#0", ".1:roll#0", ".2:roll#0"]
