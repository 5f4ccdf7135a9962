"""One attempt of a step: what it returned, raised, or that it was late. Nothing else comes out of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import pytest

from zart_core.pulse import Pulse
from zart_core.steprun import Attempted, Raised, Returned, Silent, TimedOut, attempt
from zart_core.testing.clock import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


running: list[Pulse] = []


def now() -> float:
    return asyncio.get_running_loop().time()


async def run(
    function: Callable[[], Any],
    threads: ThreadPoolExecutor,
    *,
    is_async: bool = True,
    deadline: float | None = None,
    silence: float | None = None,
) -> Attempted:
    pulse = Pulse(asyncio.get_running_loop(), silence, None, lambda _: None, 1024)
    running.append(pulse)
    return await attempt(function, is_async=is_async, deadline=deadline, threads=threads, pulse=pulse)


async def value() -> int:
    return 7


async def test_what_it_returns(threads: ThreadPoolExecutor) -> None:
    assert await run(value, threads) == Returned(7)
    assert await run(lambda: 8, threads, is_async=False) == Returned(8)
    assert await run(value, threads, is_async=False) == Returned(7)  # it turned out to be a coroutine


@pytest.mark.parametrize(
    "error", [ValueError(1), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
@pytest.mark.parametrize("is_async", [True, False])
async def test_whatever_it_raises_is_its_own(
    error: BaseException, is_async: bool, threads: ThreadPoolExecutor
) -> None:
    async def fails() -> None:
        raise error

    def blocks() -> None:
        raise error

    assert await run(fails if is_async else blocks, threads, is_async=is_async) == Raised(error)


@pytest.mark.parametrize("error", [StopIteration(1), StopAsyncIteration(1)])
async def test_what_would_read_as_a_return_value_becomes_a_runtime_error(
    error: BaseException, threads: ThreadPoolExecutor
) -> None:
    def blocks() -> None:
        raise error

    found = await run(blocks, threads, is_async=False)
    assert isinstance(found, Raised)
    assert isinstance(found.error, RuntimeError)
    assert found.error.__cause__ is error


async def test_a_deadline_that_passes(threads: ThreadPoolExecutor) -> None:
    assert await run(asyncio.Event().wait, threads, deadline=now() + 0.01) == TimedOut()
    assert await run(value, threads, deadline=now() + 60) == Returned(7)


async def test_late_is_late_whatever_it_returns_or_raises(threads: ThreadPoolExecutor) -> None:
    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 7
        return 0

    async def erring() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError from None

    assert await run(stubborn, threads, deadline=now() + 0.01) == TimedOut()
    assert await run(erring, threads, deadline=now() + 0.01) == TimedOut()


async def test_a_timeout_error_of_its_own_is_no_timeout(threads: ThreadPoolExecutor) -> None:
    async def remote() -> None:
        raise TimeoutError("504")

    found = await run(remote, threads, deadline=now() + 60)
    assert isinstance(found, Raised)
    assert isinstance(found.error, TimeoutError)


async def test_a_thread_is_not_waited_for(threads: ThreadPoolExecutor) -> None:
    go = threading.Event()
    try:
        assert await run(go.wait, threads, is_async=False, deadline=now() + 0.01) == TimedOut()
    finally:
        go.set()


async def test_somebody_outside_may_cancel_it(threads: ThreadPoolExecutor) -> None:
    task = asyncio.create_task(run(asyncio.Event().wait, threads))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_thread_sees_the_context_variables_of_its_step(threads: ThreadPoolExecutor) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("seen")
    assert await run(variable.get, threads, is_async=False) == Returned("seen")


async def test_silence_ends_it(threads: ThreadPoolExecutor) -> None:
    assert await run(asyncio.Event().wait, threads, silence=0.05) == Silent()
    gate = threading.Event()
    assert await run(gate.wait, threads, is_async=False, silence=0.05) == Silent()
    gate.set()


async def test_a_step_that_swallows_the_end_of_its_silence_was_silent(threads: ThreadPoolExecutor) -> None:
    async def swallows() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "all is well"

    assert await run(swallows, threads, silence=0.05) == Silent()


async def test_signs_of_life_keep_it_going(threads: ThreadPoolExecutor) -> None:
    async def beats() -> str:
        for _ in range(4):
            await asyncio.sleep(0.1)
            running[-1].beat(None)
        return "done"

    assert await run(beats, threads, silence=0.3) == Returned("done")


async def test_late_is_late_also_for_a_silent_one(threads: ThreadPoolExecutor) -> None:
    assert await run(asyncio.Event().wait, threads, deadline=now() + 0.05, silence=0.5) == TimedOut()


async def test_waiting_for_a_thread_is_not_silence(threads: ThreadPoolExecutor) -> None:
    gate = threading.Event()
    blocked = asyncio.create_task(run(gate.wait, threads, is_async=False))
    waiting = asyncio.create_task(run(lambda: "ran", threads, is_async=False, silence=0.1))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    gate.set()
    assert await waiting == Returned("ran")
    await blocked


async def test_the_time_that_counts_is_the_clocks(threads: ThreadPoolExecutor) -> None:
    clock = Clock(asyncio.get_running_loop(), datetime(2026, 1, 1, tzinfo=UTC))

    async def look() -> None:
        clock.move(3600.0)
        await asyncio.Event().wait()

    async def one(run: Callable[[], Any], deadline: float | None, silence: float | None = None) -> Attempted:
        pulse = Pulse(clock.loop, silence, None, lambda _: None, 1024)
        return await attempt(
            run, is_async=True, deadline=deadline, threads=threads, pulse=pulse, clock=clock.loop
        )

    assert await one(look, None, silence=60.0) == Silent()
    assert await one(look, 3600.0) == TimedOut()
    assert await one(value, 3600.0) == TimedOut()
    assert await one(value, 3600.1) == Returned(7)
    assert clock.next() is None  # no timer is left behind
