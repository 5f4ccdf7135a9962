"""A workflow that tells by which Python each of its steps was run, before and after it waited.

python -m tests.pythons.flows eager|uvloop URL      runs it in a program that embeds a worker on such a loop
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from zart_core import wait_for_event
from zart_decorators import durable, step
from zart_scheduler import Client, Worker


@step
async def which(branch: str) -> str:
    return f"{branch} {sys.version_info.major}.{sys.version_info.minor}"


@step
def which_in_thread() -> str:
    return f"thread {sys.version_info.major}.{sys.version_info.minor}"


async def _branches() -> list[str]:
    return [await which("first"), *await asyncio.gather(which("a"), _branch("b")), await which_in_thread()]


async def _branch(name: str) -> str:
    return await asyncio.wait_for(which(name), 60)


@durable
async def crossing() -> list[list[str]]:
    before = await asyncio.wait_for(_branches(), 60)
    await wait_for_event("go")
    return [before, await asyncio.wait_for(_branches(), 60)]


def expected(before: str, after: str) -> list[list[str]]:
    """Return its result if the parts before and after the wait were run by these Pythons."""
    return [[f"{branch} {python}" for branch in ("first", "a", "b", "thread")] for python in (before, after)]


async def _embed(url: str) -> list[list[str]]:
    async with Client(url) as client, Worker(client, sys.modules[__name__]):
        handle = await client.start(crossing)
        await handle.send_event("go")
        return await handle.result("30s")


def _eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined] # since 3.12
    loop.set_task_factory(factory)
    return loop


def main() -> None:
    kind, url = sys.argv[1:]
    if kind == "uvloop":
        import uvloop

        factory: Any = uvloop.new_event_loop
    else:
        factory = _eager_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        print(runner.run(_embed(url)))


if __name__ == "__main__":
    main()
