"""L11: outcomes reach a body in one order, live and on replay, wherever they came from."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.lives import live
from tests.support import lawful
from tests.support.cluster import Cluster, until

from zart_scheduler import Handle

pytestmark = pytest.mark.anyio


async def two_events(handle: Handle[Any]) -> None:
    await handle.send_event("said", "a")
    await handle.send_event("said", "b")


@pytest.mark.parametrize("max_parked", [0, 1000])
async def test_a_race_of_steps_a_timer_and_events_is_decided_once(cluster: Cluster, max_parked: int) -> None:
    """The worker is killed before the end is recorded: the other replays the whole journal and must see the same."""
    traces: list[Any] = []

    async def script(handle: Handle[Any]) -> None:
        await two_events(handle)
        await until(lambda: cluster.workers[0].exit_status is not None)
        rows = await cluster.rows("SELECT ident FROM zart_steps ORDER BY turn, ident")
        traces.append([row["ident"] for row in rows])

    result = await live(
        cluster, lawful.racing, "run", script=script, crash_at="before-complete", max_parked=max_parked
    )
    assert len(result) == 5 + 5 + 4
    after = await cluster.rows("SELECT ident FROM zart_steps ORDER BY turn, ident")
    assert [row["ident"] for row in after] == traces[0], "the replay has begun nothing"
    arrived = [seen for seen in result if seen in ("a", "b", "nap", "fast", "slow")]
    order = {"a": ".3:said#0", "b": ".4:said#0", "nap": ".2:nap#0", "fast": ".0:work#0", "slow": ".1:work#0"}
    turns = {row["ident"]: n for n, row in enumerate(after)}
    swapped = {**order, "a": ".4:said#0", "b": ".3:said#0"}
    assert any(sorted(arrived, key=lambda s: turns[by[s]]) == arrived for by in (order, swapped))


@pytest.mark.parametrize("nth", [2, 4, 6])
async def test_a_kill_in_the_middle_of_a_race_goes_on_from_what_was_seen(cluster: Cluster, nth: int) -> None:
    result = await live(cluster, lawful.racing, "run", script=two_events, crash_at=f"after-commit:#{nth}")
    assert sorted(seen for seen in result if seen.startswith("task")) == [f"task {n}" for n in range(5)]
    assert sorted(set(result) - {f"task {n}" for n in range(5)}) == [
        "a", "b", "fast", "fast-again", "heard-1", "heard-2", "nap", "slow", "slow-again",
    ]  # fmt: skip
