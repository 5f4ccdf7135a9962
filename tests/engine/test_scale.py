"""Ten thousand of anything: time in proportion, and the worker's loop is never held up for long by a replay."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
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


async def run(body: Body, count: int, store: MemoryStore | None = None) -> MemoryStore:
    """Run `body` to its end and return what is recorded of it."""
    host = MemoryHost(Workflow(body, "test"), count, store=store)
    state, payload = await host.finish()
    assert (state, payload) == ("completed", str(sum(range(count))).encode())
    host.close()
    host.store.ending = None
    return host.store


@bodies
async def test_ten_thousand_run_and_replay_without_running_again(body: Body) -> None:
    executed.clear()
    store = await run(body, MANY)
    assert sorted(executed) in ([], list(range(MANY)))
    executed.clear()
    await run(body, MANY, store)
    assert executed == []


async def test_a_long_replay_lets_others_have_their_turn() -> None:
    store, turns = await run(one_after_another, MANY), 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    await run(one_after_another, MANY, store)
    task.cancel()
    assert turns > 10


async def test_the_work_of_a_replay_grows_with_its_records_and_not_with_their_square() -> None:
    few = await calls_of_a_replay(500)
    assert await calls_of_a_replay(4000) < 10 * few


async def calls_of_a_replay(count: int) -> int:
    """Return how many functions of Python's are called."""
    store, calls = await run(one_after_another, count), 0

    def count_calls(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count_calls)
    try:
        await run(one_after_another, count, store)
    finally:
        sys.setprofile(None)
    return calls
