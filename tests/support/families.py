"""Workflows that run others as their children, for worker processes."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.workflows import CardDeclined, count, finish, take_effect
from zart_core import DeadlineExceeded, ExecutionCancelled, Failure, context, saga, sleep, wait_for_event
from zart_decorators import detached, durable, step


@durable("child")
async def child(n: int) -> int:
    """Take a step, sleep, take another step."""
    await count(n)
    await sleep("nap", "50ms")
    return await count(n * 10)


@durable("parent")
async def parent(n: int) -> list[int]:
    """Run a child between two steps."""
    return [await finish(1), await child(n), await finish(2)]


@durable("double")
async def double(n: int) -> int:
    return n * 2


@durable("fan")
async def fan(children: int) -> list[int]:
    """Run many children at once."""
    return list(await asyncio.gather(*(double(n) for n in range(children))))


@durable("nest")
async def nest(depth: int) -> str:
    """Run itself as its child, so deep; the innermost takes a step."""
    if depth == 0:
        await finish(0)
        return "."
    return f"({await nest(depth - 1)})"


@durable("listener")
async def listener() -> str:
    return await wait_for_event("said", str)


@durable("chain")
async def chain(depth: int) -> str:
    """Wait for a chain of children of which the innermost waits for an event; start a detached one beside it."""
    if depth == 0:
        return await listener()
    await detached(listener.call())
    return await chain(depth - 1)


@durable("chain-with-deadline", timeout="1s")
async def chain_with_deadline(depth: int) -> str:
    return await chain(depth)


@durable("busy-child")
async def busy_child() -> int:
    """Take a step for a minute."""
    return await count(0, 60)


@durable("leaver")
async def leaver(fails: bool, busy: bool = False) -> str:
    """Return or raise while a child is open, and a detached one."""
    await detached(listener.call())
    task = asyncio.create_task(busy_child() if busy else listener())
    await sleep("nap", "100ms")
    if fails:
        raise LookupError("enough")
    return f"done: {task.done()}"


@durable("impatient-parent")
async def impatient_parent(seconds: float) -> str:
    """Give a child up when another branch fails."""

    async def fails() -> None:
        await sleep("soon", seconds)
        raise TimeoutError("enough")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(listener())
            group.create_task(fails())
    except* TimeoutError:
        pass
    await finish(1)
    return await wait_for_event("said", str)


@durable("declining")
async def declining(how: str) -> int:
    match how:
        case "declined":
            raise CardDeclined("no funds", 7)
        case "local":

            class Local(Exception):
                """Cannot be restored: nobody can import it."""

            raise Local("from inside")
        case "result":
            return "no number"  # type: ignore[return-value] # what a child's result must not be
    return 0


@durable("too-slow", timeout="100ms")
async def too_slow() -> str:
    return await wait_for_event("never", str)


@durable("observer")
async def observer(how: str) -> list[Any]:
    """Return what became of a child."""
    try:
        return ["came", await (too_slow() if how == "too-slow" else declining(how))]
    except CardDeclined as error:
        return ["declined", *error.args]
    except DeadlineExceeded as error:
        return ["late", str(error)]
    except Exception as error:
        return [type(error).__name__, str(error)]


@durable("caller")
async def caller() -> str:
    """Return how a child was cancelled."""
    try:
        return await listener()
    except ExecutionCancelled as error:
        return f"{error.execution_id} was cancelled: {error.reason}"


@durable("old", version="1", current=False, queue="default", priority=3)
async def old() -> list[Any]:
    where = context()
    return [where.version, where.queue, dict(where.tags)]


@durable("old", version="2")
async def new() -> list[Any]:
    return ["new"]


@durable("reporter")
async def reporter() -> list[Any]:
    """Return what a child of a version that is not current knows of itself."""
    return await old()


@step("say")
async def say(text: str) -> str:
    take_effect()
    return text


@durable("messenger")
async def messenger() -> str:
    """Start a detached child between two steps."""
    await say("before")
    sent = await detached(child.call(4))
    await say("after")
    return sent.execution_id


async def _apologise(failure: Failure, n: int) -> str:
    """Run a child, as a body may."""
    return f"{failure.type}: {await double(n)}"


@durable("fragile", on_failure=_apologise)
async def fragile(n: int) -> str:
    """Fail while a child is open."""
    task = asyncio.create_task(listener())
    await sleep("nap", "100ms")
    raise LookupError("done" if task.done() else "enough")


@durable("booking")
async def booking() -> str:
    """Do something that is to be undone, then wait."""
    async with saga() as s:
        await finish(1)
        s.on_rollback(lambda: finish(-1))
        return await wait_for_event("said", str)


@durable("agency")
async def agency() -> str:
    return await booking()
