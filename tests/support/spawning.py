"""Workflows that spawn steps, for worker processes and for workers in the tests themselves."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.support.deposits import deposit, deposit_in_thread
from tests.support.workflows import take_effect
from zart_core import (
    StepFailed,
    StepTimeout,
    as_completed,
    context,
    fan_out,
    heartbeat,
    last_heartbeat,
    sleep,
    spawn,
    wait_all,
    wait_any,
    wait_for_event,
)
from zart_decorators import durable, step


class Flaw(Exception):
    pass


@step("job")
async def job(n: int, seconds: float = 0) -> int:
    take_effect(n=n)
    await asyncio.sleep(seconds)
    return n


@step("tail")
async def tail(total: int) -> int:
    take_effect()
    return total


@durable("spawn-spread")
async def spread(jobs: int, seconds: float = 0) -> int:
    """Spawn jobs, each longer than the one before, and one step after them."""
    handles = [spawn(job(n, seconds * (n + 1))) for n in range(jobs)]
    return await tail(sum(await wait_all(*handles)))


@step("double")
def double(n: int) -> int:
    return 2 * n


@durable("spawn-fan")
async def fan(items: int, concurrency: int | None = None) -> int:
    return sum(await fan_out(double, range(items), concurrency=concurrency))


@step("patient", retry="fixed(2, 400ms)")
async def patient() -> int:
    take_effect(attempt_seen=context().attempt)
    if (context().attempt or 0) < 3:
        raise Flaw("again")
    return context().attempt or 0


@step("late", timeout="300ms")
async def late() -> None:
    take_effect()
    await asyncio.Event().wait()


@step("flawed")
def flawed() -> None:
    raise Flaw("no luck")


@durable("spawn-failing")
async def failing() -> list[str]:
    """Return what became of a step that is retried, one that times out and one that fails."""
    found = [str(await spawn(patient()))]
    for handle in (spawn(late()), spawn(flawed())):
        try:
            await handle
        except (StepTimeout, Flaw) as error:
            found.append(type(error).__name__)
    return found


@step("endless")
async def endless() -> None:
    """Wait for ever, and tell when that is over."""
    take_effect()
    try:
        await asyncio.Event().wait()
    finally:
        take_effect(over=True)


@durable("spawn-cancelling")
async def cancelling() -> str:
    handle = spawn(endless())
    await wait_for_event("now")
    await handle.cancel()
    try:
        await handle
    except StepFailed as error:
        return error.kind
    return "it ended"


@durable("spawn-leaving")
async def leaving() -> str:
    spawn(endless())
    await wait_for_event("now")
    return "left"


@durable("spawn-first-of")
async def first_of() -> list[int]:
    """Race two jobs, then await the loser; what was first decides what runs next."""
    handles = [spawn(job(0, 0.4)), spawn(job(1, 0.05))]
    index, value = await wait_any(*handles)
    await tail(index)
    return [index, value, await handles[0]]


@durable("spawn-in-turn")
async def in_turn() -> list[int]:
    given = as_completed(spawn(job(0, 0.3)), spawn(job(1)), job(2, 0.15))
    return [value async for _, value in given]


@step("freeze")
async def freeze() -> int:
    """Stop the process the first time, after the effect and before its record."""
    if (times := take_effect()) == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return times


@durable("spawn-freezing")
async def freezing() -> int:
    return await spawn(freeze())


@durable("spawn-dozing")
async def dozing() -> int:
    """Sleep while a job runs."""
    handle = spawn(job(1, 0.3))
    await sleep("nap", 0.1)
    return await handle


@durable("spawn-deposits")
async def depositing(steps: int, seconds: float = 0) -> int:
    """Spawn steps that write in their own transactions, async ones and sync ones in turn."""
    calls = [deposit(n, seconds) if n % 2 else deposit_in_thread(n, seconds) for n in range(steps)]
    return sum(await wait_all(*(spawn(call) for call in calls)))


@durable("spawn-deposit-in-vain")
async def depositing_in_vain() -> str:
    """Cancel a step while its transaction is open."""
    handle = spawn(deposit(1, 0.5))
    await wait_for_event("now")
    await handle.cancel()
    try:
        await handle
    except StepFailed as error:
        return error.kind
    return "it ended"


@step("moody", retry="fixed(1, 10ms)")
async def moody() -> str:
    """Fail twice, then succeed, and tell what the last attempt has seen of the first."""
    before = last_heartbeat()
    times = take_effect()
    heartbeat({"times": times})
    if times < 3:
        raise Flaw(times)
    return str(before)


@durable("spawn-moody")
async def mooding() -> str:
    first = await spawn(job(1))
    return f"{first} {await spawn(moody())}"


@durable("spawn-room")
async def leaving_room(seconds: float) -> int:
    return await spawn(job(1, seconds))
