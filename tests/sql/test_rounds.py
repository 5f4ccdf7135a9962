"""Ten thousand rounds of an event and its wait in one run cost ten thousand times one round: nothing is scanned again.

Rows and pages that the server touches are counted: dead rows and dead index entries of earlier rounds are in pages.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from tests.sql.scene import Scene, collect, wait

ROUNDS = 600
DELIVER = "SELECT * FROM zart_deliver_v1(%s, 'x', NULL, '7')"
BROADCAST = "SELECT * FROM zart_broadcast_v1('x', 'K', NULL, '7', NULL, true)"
MEET = "SELECT * FROM zart_meet_broadcast_v1((SELECT max(event_id) FROM zart_broadcasts), 0, 100)"
FLUSH = "SELECT * FROM zart_flush_v1(%s, NULL, %s, false)"


def one_round(
    scene: Scene, worker: UUID, run: UUID, order: str, n: int
) -> list[tuple[str, tuple[object, ...]]]:
    key = "K" if order == "broadcast" else None
    register = json.dumps({"waits": [wait(run, f"W{n}", 2 * n + 1, key=key)]}, default=str)
    look = json.dumps({"collects": [collect(run, 2 * n + 2)]}, default=str)
    steps: dict[str, tuple[str, tuple[object, ...]]] = {
        "deliver": (DELIVER, (str(run),)),
        "broadcast": (BROADCAST, ()),
        "meet": (MEET, ()),
        "wait": (FLUSH, (worker, register)),
        "collect": (FLUSH, (worker, look)),
    }
    orders = {
        "event first": ("deliver", "wait"),
        "wait first": ("wait", "deliver", "collect"),
        "broadcast": ("wait", "broadcast", "meet", "collect"),
    }
    return [steps[name] for name in orders[order]]


READ = """SELECT coalesce(sum(seq_tup_read) + sum(idx_tup_fetch), 0)::int
          FROM pg_stat_xact_user_tables WHERE relname LIKE 'zart%'"""


def touched(scene: Scene, statement: str, args: tuple[object, ...]) -> int:
    """Return how many rows and pages the server touches for a statement."""
    scene.sql("BEGIN")
    ((before,),) = scene.sql(READ)
    ((plan,),) = scene.sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *args)
    ((after,),) = scene.sql(READ)
    scene.sql("COMMIT")
    top: Any = plan[0]["Plan"]
    return int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"]) + int(after - before)


@pytest.mark.parametrize("order", ["event first", "wait first", "broadcast"])
def test_a_round_costs_the_same_after_many_rounds(scene: Scene, order: str) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    cost = {}
    for n in range(ROUNDS + 20):
        statements = one_round(scene, worker, run, order, n)
        if n in range(20, 40) or n >= ROUNDS:
            cost[n] = sum(touched(scene, *statement) for statement in statements)
        else:
            for text, args in statements:
                scene.sql(text, *args)
    early = sorted(cost[n] for n in range(20, 40))[10]
    late = sorted(cost[n] for n in range(ROUNDS, ROUNDS + 20))[10]
    assert {outcome for outcome, _ in scene.journal(run).values()} == {"o"}
    assert len(scene.journal(run)) == ROUNDS + 20
    assert late < 2 * early + 20, f"{early} in an early round, {late} in a late one"
