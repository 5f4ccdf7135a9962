"""L1, L5, L11, L12 on random programs, in memory: see trials.py for what is checked.

ZART_FUZZ_PROGRAMS says how many, ZART_FUZZ_SEED where to begin; a failure names its seed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from tests.properties.programs import BRANCHES
from tests.properties.trials import Found, mailbox_trial, order_free_trial, stopped_trial, trial
from tests.support import virtual_time

PROGRAMS = int(os.environ.get("ZART_FUZZ_PROGRAMS", "300"))
SEED = int(os.environ.get("ZART_FUZZ_SEED", "0"))
CHUNKS = 6


async def try_many(one: Callable[[int], Awaitable[Found]], seeds: range) -> list[Found]:
    found = []
    for seed in seeds:
        found.append(await one(seed))
        assert not found[-1].violations, _story(found[-1])
    return found


def _story(found: Found) -> str:
    wrong = "\n  ".join(found.violations[:5])
    return (
        f"seed {found.seed} (ZART_FUZZ_SEED={found.seed} ZART_FUZZ_PROGRAMS=1):\n  {wrong}\n  {found.program}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_live_is_replay_for_random_programs(chunk: int) -> None:
    seeds = range(SEED + chunk, SEED + PROGRAMS, CHUNKS)
    found = virtual_time.run(try_many(trial, seeds))
    total: Counter[str] = Counter()
    for one in found:
        total += one.counts
    print(f"seeds {seeds}: {dict(sorted(total.items()))}")
    if len(found) >= 50:
        check_distribution(found, total)


def check_distribution(found: list[Found], total: Counter[str]) -> None:
    """Programs must do enough of everything to prove anything."""
    assert sorted(one.counts["records"] for one in found)[len(found) // 2] >= 8
    assert share(found, *(f"has {kind}" for kind in BRANCHES)) >= 0.4
    assert share(found, "has race") >= 0.2
    for kind in (
        "event",
        "sleep",
        "flaky",
        "late",
        "slow",
        "generator",
        "group",
        "child",
        "spawn",
        "fan",
        "handles",
    ):
        assert share(found, f"has {kind}") >= 0.15, kind
    assert share(found, "cancelled") >= 0.15
    assert share(found, "children") >= 0.15
    assert share(found, "spawned") >= 0.3
    assert total["claims"] > 1.5 * total["runs"]
    assert total["passes"] > 1.3 * total["runs"]


def share(found: list[Found], *names: str) -> float:
    return sum(any(one.counts[name] for name in names) for one in found) / len(found)


@pytest.mark.slow
def test_of_the_waits_for_one_name_none_lies_beside_its_event() -> None:
    virtual_time.run(try_many(mailbox_trial, range(SEED, SEED + PROGRAMS // 4)))


@pytest.mark.slow
def test_branches_keep_their_identity_whatever_delays_them_and_whatever_is_inserted() -> None:
    virtual_time.run(try_many(order_free_trial, range(SEED, SEED + PROGRAMS // 4)))


@pytest.mark.slow
def test_a_program_that_is_cancelled_at_any_moment_begins_nothing_more_and_ends() -> None:
    found = virtual_time.run(try_many(stopped_trial, range(SEED, SEED + PROGRAMS // 4)))
    cancelled = sum(one.counts["cancelled"] for one in found)
    assert len(found) < 50 or 0.2 * len(found) < cancelled
