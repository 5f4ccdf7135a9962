"""L5, L11: whatever asyncio offers for concurrent code works in a body, and decides on replay as it did live."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from tests.engine.living import Body, bare, crash_after, ledger, live, note, replay, started

from zart_core import Step, capture, sleep


async def _slowly(name: str, seconds: float) -> str:
    ledger.append(name)
    await asyncio.sleep(seconds)
    return f"{name} {random.random()}"


slowly: Step[[str, float], str] = Step(_slowly, "slowly")


def blocking(name: str) -> str:
    ledger.append(name)
    return name


sync: Step[[str], str] = Step(blocking, "sync")


async def branch(name: str, seconds: float) -> list[Any]:
    first = await slowly(name, seconds)
    await asyncio.sleep(0)
    return [first, await bare(), await note(name)]


async def sequence() -> Any:
    return [await note("a"), await sync("b"), await capture("c", _value), await bare()]


async def _value() -> int:
    return random.randrange(1000)


async def gather() -> Any:
    return await asyncio.gather(branch("a", 0.3), branch("b", 0.1), branch("c", 0.2))


async def gather_of_calls() -> Any:
    return await asyncio.gather(slowly("a", 0.3), slowly("b", 0.1), bare(), bare())


async def gather_of_one_call_twice() -> Any:
    call = slowly("a", 0.1)
    return await asyncio.gather(call, call)


async def create_task() -> Any:
    tasks = [asyncio.create_task(branch("a", 0.3)), asyncio.create_task(branch("b", 0.1))]
    return [await task for task in tasks]


async def create_task_of_a_call() -> Any:
    tasks = [
        asyncio.create_task(slowly("a", 0.3)),
        asyncio.create_task(bare()),
        asyncio.ensure_future(bare()),
    ]
    return [await task for task in tasks]


async def task_group() -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(branch("a", 0.3)), group.create_task(slowly("b", 0.1))]
    return [task.result() for task in tasks]


async def nested() -> Any:
    async def outer(name: str, seconds: float) -> Any:
        await bare()
        return await asyncio.gather(branch(name, seconds), branch(name, seconds / 2), bare())

    return await asyncio.gather(outer("a", 0.3), outer("b", 0.2))


async def wait_for() -> Any:
    return [
        await asyncio.wait_for(branch("a", 0.1), 60),
        await asyncio.wait_for(slowly("b", 0.1), 60),
        await asyncio.wait_for(branch("c", 0.1), None),
    ]


async def wait_for_around_a_group() -> Any:
    async def two(name: str) -> Any:
        return await asyncio.gather(branch(name, 0.2), branch(name, 0.1))

    return [await asyncio.wait_for(two("a"), None), await asyncio.wait_for(two("b"), 60)]


async def wait_for_with_no_time_left() -> Any:
    late = 0
    for awaitable in (branch("a", 0.1), slowly("b", 0.1)):
        try:
            await asyncio.wait_for(awaitable, 0)
        except TimeoutError:
            late += 1
    return [late, await asyncio.gather(branch("c", 0.1), slowly("d", 0.1))]


async def wait_for_in_branches() -> Any:
    async def patient(name: str, seconds: float) -> Any:
        first = await asyncio.wait_for(branch(name, seconds), 60)
        return [first, await asyncio.wait_for(asyncio.wait_for(branch(name, seconds), 60), 60)]

    return await asyncio.gather(patient("a", 0.2), patient("b", 0.1), asyncio.wait_for(bare(), 60))


async def timeout() -> Any:
    async with asyncio.timeout(60):
        return await asyncio.gather(branch("a", 0.1), branch("b", 0.2))


async def shield() -> Any:
    return [await asyncio.shield(slowly("a", 0.1)), await asyncio.shield(branch("b", 0.1))]


async def as_completed_over_calls() -> Any:
    calls = [slowly("a", 0.3), slowly("b", 0.1), slowly("c", 0.2)]
    return [await note((await done)[0]) for done in asyncio.as_completed(calls)]


async def as_completed_over_tasks() -> Any:
    tasks = [asyncio.create_task(branch(name, seconds)) for name, seconds in [("a", 0.3), ("b", 0.1)]]
    return [await note((await done)[0]) for done in asyncio.as_completed(tasks)]


async def first_completed() -> Any:
    tasks = [asyncio.create_task(slowly(name, 0.1)) for name in "abc"]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    winners = [await note(task.result()) for task in tasks if task in done]
    return [winners, await asyncio.gather(*tasks)]


async def first_completed_with_cancelled_losers() -> Any:
    tasks = [
        asyncio.create_task(branch(name, seconds)) for name, seconds in [("a", 0.2), ("b", 0.1), ("c", 0.3)]
    ]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    done = [task.done() for task in tasks]
    for task in tasks:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [done, [type(value).__name__ for value in found], await note("after")]


async def in_the_order_of_completion() -> Any:
    tasks, order = {asyncio.create_task(slowly(name, 0.1)) for name in "abc"}, []
    while tasks:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        order += sorted(task.result() for task in done)
    return [await note(name) for name in order]


async def branches_made_in_the_order_of_completion() -> Any:
    made = []
    for done in asyncio.as_completed([slowly("a", 0.3), slowly("b", 0.1), slowly("c", 0.2)]):
        made.append(asyncio.create_task(branch(await done, 0.1)))
    return [await task for task in made]


async def queue() -> Any:
    queue: asyncio.Queue[str] = asyncio.Queue(1)

    async def producer(name: str, seconds: float) -> None:
        await queue.put(await slowly(name, seconds))

    tasks = [asyncio.create_task(producer(name, 0.1)) for name in "abc"]
    return [await note(await queue.get()) for _ in tasks]


async def lock_and_semaphore() -> Any:
    lock, semaphore, log = asyncio.Lock(), asyncio.Semaphore(2), []

    async def worker(name: str, seconds: float) -> None:
        async with semaphore:
            await slowly(name, seconds)
        async with lock:
            log.append(await note(name))

    await asyncio.gather(worker("a", 0.2), worker("b", 0.1), worker("c", 0.1))
    return log


async def condition_event_and_barrier() -> Any:
    event, barrier, condition, log = asyncio.Event(), asyncio.Barrier(2), asyncio.Condition(), []

    async def waiter(name: str) -> None:
        await event.wait()
        async with condition:
            log.append(await note(name))
            condition.notify_all()
        await barrier.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(waiter("a"))
        group.create_task(waiter("b"))
        await slowly("first", 0.1)
        event.set()
    return log


async def list_filled_by_branches() -> Any:
    order: list[str] = []

    async def fill(name: str, seconds: float) -> None:
        await slowly(name, seconds)
        order.append(name)

    await asyncio.gather(fill("a", 0.3), fill("b", 0.1), fill("c", 0.2))
    return [order, await note(order[0])]


async def async_generator() -> Any:
    async def values() -> AsyncIterator[str]:
        try:
            for name in "abc":
                yield await slowly(name, 0.1)
        finally:
            await note("closed")

    return [value async for value in values()]


async def async_generator_left_early() -> Any:
    async def values() -> AsyncIterator[str]:
        try:
            for name in "abc":
                yield await slowly(name, 0.1)
        finally:
            await bare()

    async def first() -> str:
        async for value in values():
            return value
        return ""

    return [await first(), await note("between"), await first(), await note("after")]


async def failing_sibling() -> Any:
    seen: list[str] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(branch("a", 5))
            group.create_task(slowly("b", 5))
            group.create_task(failing())
    except* ValueError as errors:
        seen += map(str, errors.exceptions)
    return [seen, await note("after")]


async def _fail() -> None:
    raise ValueError(f"failed {random.random()}")


failing: Step[[], None] = Step(_fail, "failing")


async def gathered_exceptions() -> Any:
    found = await asyncio.gather(branch("a", 0.1), failing(), failing(), return_exceptions=True)
    return [str(value) for value in found]


async def sleeps_in_branches() -> Any:
    async def nap(name: str, seconds: float) -> str:
        await sleep("nap", seconds)
        return await note(name)

    return await asyncio.gather(nap("a", 0.3), nap("b", 0.1), slowly("c", 0.2))


async def callback_that_sets_a_future() -> Any:
    future = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(slowly("a", 0.1))
    task.add_done_callback(lambda done: future.set_result(done.result()))
    return await note(await future)


async def task_in_an_empty_context() -> Any:
    task = asyncio.create_task(branch("a", 0.1), context=contextvars.Context())
    return [await task, await asyncio.create_task(bare(), context=contextvars.Context())]


async def call_made_here_and_awaited_there() -> Any:
    call = slowly("a", 0.1)

    async def there() -> str:
        return await call

    return [await asyncio.create_task(there()), await bare()]


async def anyio_task_group() -> Any:
    order: list[str] = []

    async def fill(name: str, seconds: float) -> None:
        order.append(await slowly(name, seconds))

    async with anyio.create_task_group() as group:
        for name, seconds in [("a", 0.3), ("b", 0.1), ("c", 0.2)]:
            group.start_soon(fill, name, seconds)
    with anyio.move_on_after(60):
        await note("in time")
    return order


async def anyio_task_group_with_a_failing_sibling() -> Any:
    async def wait() -> None:
        await slowly("a", 5)

    async def fail() -> None:
        await failing()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(fail)
    except* ValueError:
        pass
    return await note("after")


SHAPES: list[Body] = [
    sequence,
    gather,
    gather_of_calls,
    gather_of_one_call_twice,
    create_task,
    create_task_of_a_call,
    task_group,
    nested,
    wait_for,
    wait_for_around_a_group,
    wait_for_with_no_time_left,
    wait_for_in_branches,
    timeout,
    shield,
    as_completed_over_calls,
    as_completed_over_tasks,
    first_completed,
    first_completed_with_cancelled_losers,
    in_the_order_of_completion,
    branches_made_in_the_order_of_completion,
    queue,
    lock_and_semaphore,
    condition_event_and_barrier,
    list_filled_by_branches,
    async_generator,
    async_generator_left_early,
    failing_sibling,
    gathered_exceptions,
    sleeps_in_branches,
    callback_that_sets_a_future,
    task_in_an_empty_context,
    call_made_here_and_awaited_there,
    anyio_task_group,
    anyio_task_group_with_a_failing_sibling,
]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)


@shapes
def test_l11_a_replay_begins_nothing_and_returns_what_the_body_returned_live(shape: Body) -> None:
    lived = live(shape)
    begun = len(started)
    again = replay(lived)
    assert again.value == lived.value
    assert (started, ledger) == ([], [])
    assert begun == len(lived.records)


@shapes
def test_l1_a_kill_after_any_record_repeats_no_recorded_call_and_loses_none(shape: Body) -> None:
    whole = live(shape)
    for records in range(len(whole.records)):
        lived = live(shape, script=crash_after(records))
        assert lived.state == "completed"
        assert set(lived.records) == set(whole.records)
        assert len(started) == len(set(started)) <= len(whole.records) - records
        assert replay(lived).value == lived.value


@shapes
def test_a_body_that_is_evicted_at_each_wait_comes_to_the_same_end(shape: Body) -> None:
    lived = live(shape, evict=True)
    assert set(lived.records) == set(live(shape).records)


IDENTITIES = {
    "gather": {".0:slowly#0", ".0:bare#0", ".0:note#0", ".1:slowly#0", ".2:note#0"},
    "gather_of_calls": {":slowly#0", ":slowly#1", ":bare#0", ":bare#1"},
    "create_task_of_a_call": {":slowly#0", ":bare#0", ":bare#1"},
    "task_group": {".0:slowly#0", ".0:note#0", ":slowly#0"},
    "nested": {".0:bare#0", ".0:bare#1", ".0.0:slowly#0", ".1.1:note#0"},
    "wait_for": {":slowly#0", ":slowly#1", ":slowly#2", ":note#1"},
    "wait_for_around_a_group": {".0:slowly#0", ".1:slowly#0", ".2:slowly#0", ".3:slowly#0"},
    "wait_for_with_no_time_left": {":slowly#1", ".0:slowly#0"},
    "wait_for_in_branches": {".0:slowly#0", ".0:slowly#1", ".1:slowly#1", ".0:note#1", ":bare#0"},
    "shield": {":slowly#0", ".0:slowly#0"},
    "call_made_here_and_awaited_there": {":slowly#0", ":bare#0"},
    "async_generator_left_early": {".0:bare#0", ".1:bare#0", ":slowly#0", ":slowly#1"},
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_l5_a_branch_is_numbered_by_its_maker_and_a_task_of_a_call_has_no_number(name: str) -> None:
    shape = next(shape for shape in SHAPES if shape.__name__ == name)
    assert set(live(shape).records) >= IDENTITIES[name]
