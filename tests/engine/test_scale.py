"""Ten thousand of anything: time in proportion, and the worker's loop is never held up for long by a replay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.memory_host import MemoryHost
from tests.support.memory_store import MemoryStore
from zart_core import Step, Workflow, sleep

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MANY = 10_000
executed: list[int] = []


async def _work(number: int) -> int:
    executed.append(number)
    return number


work: Step[[int], int] = Step(_work, "work")


async def one_after_another(count: int) -> int:
    total = 0
    for number in range(count):
        total += await work(number)
    return total


async def all_at_once(count: int) -> int:
    return sum(await asyncio.gather(*(work(number) for number in range(count))))


async def in_branches(count: int) -> int:
    async def branch(number: int) -> int:
        return await work(number)

    return sum(await asyncio.gather(*(branch(number) for number in range(count))))


async def sleepers(count: int) -> int:
    await asyncio.gather(*(sleep("nap", 0.01) for _ in range(count)))
    return sum(range(count))


Body = Callable[[int], Awaitable[int]]
BODIES: list[Body] = [one_after_another, all_at_once, in_branches, sleepers]
bodies = pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)


@dataclass
class Measured:
    seconds: float
    longest: float
    store: MemoryStore


async def measure(body: Body, count: int, store: MemoryStore | None = None) -> Measured:
    """Run `body` to its end; `longest` is how long the loop had no turn for others."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)

    host = MemoryHost(Workflow(body, "test"), count, store=store)
    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    began = time.perf_counter()
    state, payload = await host.finish()
    seconds = time.perf_counter() - began
    watcher.cancel()
    assert (state, payload) == ("completed", str(sum(range(count))).encode())
    host.close()
    return Measured(seconds, longest, host.store)


@bodies
async def test_ten_thousand_run_and_replay_without_running_again(body: Body) -> None:
    executed.clear()
    lived = await measure(body, MANY)
    count = len(executed)
    lived.store.ending = None
    replayed = await measure(body, MANY, lived.store)
    assert len(executed) == count
    print(f"\n{body.__name__}: live {lived.seconds:.2f} s, longest {lived.longest * 1000:.0f} ms; "
          f"replay {replayed.seconds:.2f} s, longest {replayed.longest * 1000:.0f} ms")


async def test_the_time_of_a_replay_grows_with_its_records_and_not_with_their_square() -> None:
    stores = {count: (await measure(one_after_another, count)).store for count in (MANY // 8, MANY)}
    times: dict[int, Any] = {}
    for count, store in stores.items():
        store.ending = None
        times[count] = min([(await measure(one_after_another, count, _again(store))).seconds for _ in range(3)])
    assert times[MANY] < 4 * 8 * times[MANY // 8]


def _again(store: MemoryStore) -> MemoryStore:
    again = store.copy()
    again.ending = None
    return again
