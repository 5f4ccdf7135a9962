"""`zart_core.testing`: a unit test lets time pass, kills workers, and is told what will never come."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from zart_core import (
    ConfigurationError,
    ExecutionBlocked,
    ExecutionFailed,
    Registry,
    RunState,
    StepTimeout,
    UsageError,
    WaitTimeout,
    context,
    now,
    sleep,
    sleep_until,
    wait_for_event,
)
from zart_core.items import Item
from zart_core.testing import Stuck, TestRun
from zart_core.testing.traps import Traps
from zart_core.testing.worker import Worker
from zart_decorators import durable, step

pytestmark = pytest.mark.anyio

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@step("charge")
async def charge(order: str) -> str:
    return f"txn-{order}"


@step("pack")
def pack(order: str) -> None:
    """A sync step."""


@step("ship", retry="exponential(4, 1h)")
async def ship(order: str, fails: int = 0) -> str:
    if (context().attempt or 0) <= fails:
        raise ConnectionError("no carrier")
    return f"sent {order}"


@durable(timeout="30d")
async def order(order_id: str, fails: int = 0) -> str:
    await charge(order_id)
    await pack(order_id)
    await sleep("settle", "3d")
    await ship(order_id, fails)
    return await wait_for_event("arrived", str, timeout="7d")


@durable
async def clockwork() -> list[datetime]:
    seen = [context().started_at, await now()]
    await asyncio.gather(sleep("a", "1h"), sleep("b", "90s"))
    seen.append(await now())
    await sleep_until("spring", datetime(2026, 3, 20, tzinfo=UTC))
    return [*seen, await now()]


# -- time


async def test_time_passes_when_it_is_let() -> None:
    async with TestRun(order, start=START) as env:
        handle = await env.start(order, "o", execution_id="e")
        assert (await handle.status(), env.effects, env.now()) == (
            RunState.SLEEPING,
            ["charge", "pack"],
            START,
        )
        await env.advance(timedelta(days=3) - timedelta(seconds=1))
        assert env.effects == ["charge", "pack"]
        await env.advance("1s")
        assert env.effects == ["charge", "pack", "ship"]
        assert await handle.status() is RunState.WAITING
        await handle.send_event("arrived", "thanks")
        assert await handle.result() == "thanks"
        assert env.now() == START + timedelta(days=3)


async def test_a_wait_for_a_result_jumps_from_timer_to_timer() -> None:
    began = time.monotonic()
    async with TestRun(order, clockwork, start=START) as env:
        handle = await env.start(order.call("o", fails=2))
        with pytest.raises(ExecutionFailed, match="EventTimeout"):
            await handle.result()
        assert env.effects == ["charge", "pack", "ship", "ship", "ship"]
        assert env.now() == START + timedelta(days=3 + 7, hours=1 + 2)
    assert time.monotonic() - began < 5


async def test_bodies_see_the_clock_to_the_microsecond() -> None:
    async with TestRun(clockwork, start=START) as env:
        handle = await env.start(clockwork)
        hour = timedelta(hours=1)
        assert await handle.result() == [START, START, START + hour, datetime(2026, 3, 20, tzinfo=UTC)]
        assert (await handle.runs())[0].completed_at == env.now()


async def test_timers_fire_one_moment_at_a_time() -> None:
    """Executions that meet in the world do so in the order of their timers, however far time is moved."""
    log: list[str] = []

    @step
    async def tick(name: str) -> None:
        log.append(name)

    @durable
    async def metronome(name: str, every: int) -> None:
        for _ in range(3):
            await sleep("beat", every)
            await tick(name)

    async with TestRun(metronome) as env:
        await env.start(metronome, "slow", 3)
        await env.start(metronome, "fast", 2)
        await env.advance("1h")
    assert log == ["fast", "slow", "fast", "slow", "fast", "slow"]  # 2, 3, 4, 6 (started first), 6, 9


async def test_what_a_step_really_waits_for_takes_no_time_on_the_clock() -> None:
    gate = asyncio.Event()

    @step(timeout="1ms")
    async def through_the_gate() -> None:
        await gate.wait()

    @durable
    async def gated() -> datetime:
        await through_the_gate()
        return await now()

    async with TestRun(gated, start=START) as env:
        asyncio.get_running_loop().call_later(0.05, gate.set)
        handle = await env.start(gated)
        assert await handle.result() == START


async def test_the_timeout_of_a_step_that_hangs_passes_with_the_time() -> None:
    @step(timeout="5s")
    async def hang() -> None:
        await asyncio.Event().wait()

    @durable
    async def hangs() -> str:
        try:
            await hang()
        except StepTimeout:
            return "late"
        return "never"

    async with TestRun(hangs) as env:
        handle = await env.start(hangs)
        await env.advance("4s")
        assert await handle.status() is RunState.RUNNING
        with pytest.raises(WaitTimeout):
            await handle.result("100ms")
        await env.advance("1s")
        assert await handle.result() == "late"


async def test_a_result_that_is_waited_for_and_an_event_that_is_sent_meanwhile() -> None:
    async with TestRun(order) as env:
        handle = await env.start(order, "o")

        async def courier() -> None:
            while await handle.status() is not RunState.WAITING:
                await env.advance("1d")
            await handle.send_event("arrived", "by courier")

        result, _ = await asyncio.gather(handle.result("6d"), courier())
    assert result == "by courier"


async def test_time_goes_forward_only() -> None:
    async with TestRun(order) as env:
        with pytest.raises(UsageError, match="forward"):
            await env.advance(-1)


# -- replay


async def test_bodies_are_replayed_at_every_wait_so_that_those_that_differ_are_found() -> None:
    passes = 0

    @durable
    async def fickle() -> str:
        nonlocal passes
        passes += 1
        await (charge("a") if passes == 1 else sleep("charge", 1))
        await sleep("night", "8h")
        return "done"

    async with TestRun(fickle) as env:
        handle = await env.start(fickle)
        with pytest.raises(ExecutionBlocked, match="charge"):
            await handle.result()
    passes = 0
    async with TestRun(fickle, evict=False) as env:
        assert await (await env.start(fickle)).result() == "done"
    assert passes == 1


# -- crashes


@dataclass
class Death:
    at: str
    effects: str


@pytest.mark.parametrize(
    "death",
    [
        Death("before-claim", "charge pack ship"),
        Death("after-claim", "charge pack ship"),
        Death("before-step:pack", "charge pack ship"),
        Death("after-effect:charge", "charge charge pack ship"),
        Death("after-effect:pack", "charge pack pack ship"),
        Death("before-commit:charge", "charge charge pack ship"),
        Death("after-commit:charge", "charge pack ship"),
        Death("after-commit:settle", "charge pack ship"),
        Death("before-park:#2", "charge pack ship"),
        Death("after-park", "charge pack ship"),
        Death("before-complete", "charge pack ship"),
        Death("after-complete", "charge pack ship"),
    ],
    ids=lambda death: death.at,
)
@pytest.mark.parametrize("evict", [True, False])
async def test_a_crash_repeats_what_was_not_recorded_and_nothing_else(death: Death, *, evict: bool) -> None:
    async with TestRun(order, evict=evict) as env:
        env.crash_at(death.at)
        handle = await env.start(order, "o")
        await env.advance("3d")
        await handle.send_event("arrived", "thanks")
        assert await handle.result() == "thanks"
        assert env.effects == death.effects.split()
        assert env._driver.worker.name == "test-worker-2"


async def test_a_step_is_given_the_same_key_after_a_crash() -> None:
    keys: list[str | None] = []

    @step("pay")
    async def pay() -> None:
        keys.append(context().idempotency_key)

    @durable
    async def pays() -> None:
        await pay()

    async with TestRun(pays) as env:
        env.crash_at("after-effect:pay")
        env.crash_at("before-commit:pay")
        await (await env.start(pays)).result()
        assert env.effects == ["pay"] * 3
    assert len(keys) == 3
    assert len(set(keys)) == 1


@pytest.mark.parametrize("evict", [True, False])
async def test_a_run_that_kills_its_workers_fails_unless_it_records_something(*, evict: bool) -> None:
    async with TestRun(order, evict=evict) as env:
        for _ in range(4):
            env.crash_at("before-step:charge")
        for _ in range(4):
            env.crash_at("before-step:pack")
        alive = await env.start(order, "o")
        assert await alive.status() is RunState.SLEEPING
        for _ in range(5):
            env.crash_at("before-step:charge")
        with pytest.raises(ExecutionFailed, match="5 workers in a row died") as caught:
            await (await env.start(order, "p", execution_id="deadly")).result()
        assert caught.value.failure.kind == "WorkerCrashed"
        assert env.effects == ["charge", "pack"]


async def test_a_crash_point_counts_the_visits_from_when_it_was_set() -> None:
    traps = Traps()
    for text in ("after-park", "after-park#3", "after-park", "before-claim"):
        traps.set(text.replace("#", ":#"))
    assert [traps.spring("after-park") for _ in range(5)] == [True, True, True, False, False]
    assert traps.unsprung == ["before-claim"]


async def test_a_crash_takes_all_executions_of_the_worker_with_it() -> None:
    gate = asyncio.Event()

    @step
    async def slow(number: int) -> int:
        await gate.wait()
        return number

    @durable
    async def waits_at_the_gate(number: int) -> int:
        return await slow(number)

    async with TestRun(waits_at_the_gate, order) as env:
        slow_ones = [await env.start(waits_at_the_gate, number) for number in range(2)]
        env.crash_at("after-commit:pack")
        await env.start(order, "o")
        gate.set()
        assert [await handle.result() for handle in slow_ones] == [0, 1]
        assert env.effects == ["slow", "slow", "charge", "pack", "slow", "slow"]


async def test_a_crash_point_that_nothing_comes_to_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="'after-commit:chrage'"):
        async with TestRun(order) as env:
            env.crash_at("after-commit:chrage")
            await env.start(order, "o")
    with pytest.raises(KeyError):  # a test that fails anyway is told its own error
        async with TestRun(order) as env:
            env.crash_at("after-commit:chrage")
            raise KeyError


@pytest.mark.parametrize("point", ["after-lunch", "after-commit:charge#0", "after-commit:charge#x", ""])
async def test_a_crash_point_must_be_one(point: str) -> None:
    async with TestRun(order) as env:
        with pytest.raises(UsageError, match=r"before-claim|must be point"):
            env.crash_at(point)


# -- what never comes


async def test_a_result_that_will_never_come_fails_at_once_and_says_why() -> None:
    @durable
    async def hears() -> str:
        return await wait_for_event("word", str)

    async with TestRun(hears) as env:
        handle = await env.start(hears, execution_id="e")
        with pytest.raises(Stuck) as caught:
            await handle.result()
        assert str(caught.value) == (
            "execution 'e' will not end by itself: it waits for the event 'word', which nobody has sent: "
            "send_event('word', ...)"
        )
        assert (
            str(pickle.loads(pickle.dumps(caught.value))) == str(copy.copy(caught.value)) == str(caught.value)
        )
        elsewhere = await env.start(order, "o")
        with pytest.raises(Stuck, match="'order' is not among the sources of TestRun, which are: hears"):
            await elsewhere.result()
        with pytest.raises(WaitTimeout):
            await elsewhere.result("1h")


async def test_an_endless_execution_is_told_from_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    @durable
    async def endless() -> None:
        while True:
            await sleep("night", "1d")

    monkeypatch.setattr("zart_core.testing.driver.MOST_JUMPS", 20)
    async with TestRun(endless) as env:
        with pytest.raises(Stuck, match="20 timers have passed"):
            await (await env.start(endless)).result()


async def test_a_child_execution_is_refused_with_what_to_do() -> None:
    @durable
    async def parent() -> str:
        return await order("o")

    async with TestRun(parent, order) as env:
        with pytest.raises(ExecutionBlocked, match="does not run child executions"):
            await (await env.start(parent)).result()


async def test_what_the_store_does_not_know_blocks_the_run_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NewItem(Item):
        """Something that only a database can do."""

    put: Callable[..., None] = Worker.put

    def other(worker: Worker, item: Item) -> None:
        put(worker, NewItem(item.run))

    monkeypatch.setattr(Worker, "put", other)
    async with TestRun(order) as env:
        with pytest.raises(
            ExecutionBlocked, match="TestRun has no NewItem: test what needs it on a database"
        ):
            await (await env.start(order, "o")).result()


# -- the test's own loop


async def test_what_still_runs_ends_with_the_test() -> None:
    ended: list[str] = []

    @step
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("step")

    @durable
    async def hangs() -> None:
        await hang()

    tasks = asyncio.all_tasks()
    async with TestRun(hangs) as env:
        await env.start(hangs)
    assert ended == ["step"]
    assert asyncio.all_tasks() == tasks


async def test_steps_run_in_the_tests_loop_with_its_context() -> None:
    loops: list[Any] = []
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")

    @step
    async def look() -> str:
        loops.append(asyncio.get_running_loop())
        return tenant.get()

    @durable
    async def looks() -> str:
        return await look()

    tenant.set("acme")
    async with TestRun(looks) as env:
        assert await (await env.start(looks)).result() == "acme"
    assert loops == [asyncio.get_running_loop()]


async def test_two_environments_know_nothing_of_each_other() -> None:
    async with TestRun(order) as one, TestRun(order) as other:
        one.crash_at("after-commit:charge")
        await other.start(order, "o", execution_id="e")
        await one.start(order, "o", execution_id="e")
        await one.advance("1d")
        assert (one.now() - other.now()) > timedelta(hours=23)
        assert (await other.list_runs()).items != (await one.list_runs()).items


async def test_it_is_used_as_a_block_once() -> None:
    with pytest.raises(ConfigurationError):
        TestRun()
    with pytest.raises(UsageError, match="time zone"):
        TestRun(order, start=datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused
    env = TestRun(order)
    with pytest.raises(UsageError, match="async with"):
        await env.start(order, "o")
    async with env:
        with pytest.raises(TypeError):
            await env.start(order, "o", conn=None)  # type: ignore[call-overload] # that is what is refused
    with pytest.raises(UsageError, match="once"):
        async with env:
            pass


async def test_context_style_works_too() -> None:
    registry = Registry()

    async def body(ctx: Any, name: str) -> str:
        await ctx.sleep("nap", "1h")
        return str(await ctx.step("greet", lambda: f"hello {name}"))

    greets = registry.workflow("greets", body)
    async with TestRun(registry) as env:
        assert await (await env.start(greets, "ada")).result() == "hello ada"
        assert env.effects == ["greet"]
