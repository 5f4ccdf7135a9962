"""L1, L2, L5, L11: what a body sees the first time is what it sees on replay."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.memory_host import MemoryHost

from zart_core import CallNotAwaited, Step, StepTimeout, Workflow, faults, sleep, wait_for_event
from zart_core.items import Item, RecordItem
from zart_core.journal import Outcome

pytestmark = pytest.mark.anyio

ledger: list[str] = []


@pytest.fixture(autouse=True)
def _empty_ledger() -> None:
    ledger.clear()


async def _note(text: str) -> str:
    ledger.append(text)
    return text


note: Step[[str], str] = Step(_note, "note")


async def _two_steps() -> list[str]:
    return [await note("a"), await note("b")]


async def test_a_workflow_returns_what_its_steps_return() -> None:
    host = MemoryHost(Workflow(_two_steps))
    assert await host.finish() == ("completed", b'["a","b"]')
    assert ledger == ["a", "b"]
    assert list(host.records) == [":note#0", ":note#1"]


async def _three_branches() -> list[str]:
    order: list[str] = []

    async def branch(name: str) -> None:
        first = await note(name + "1")
        await asyncio.sleep(0)
        await note(first + "2")
        order.append(name)

    await asyncio.gather(branch("x"), branch("y"), branch("z"))
    return order


@pytest.mark.parametrize("records", range(1, 7))
@pytest.mark.parametrize("evict", [False, True])
async def test_l1_a_kill_after_any_record_repeats_no_recorded_step(records: int, evict: bool) -> None:
    host = MemoryHost(Workflow(_three_branches), evict=evict)

    def kill(item: Item) -> None:
        if isinstance(item, RecordItem) and len(host.records) == records and host.epoch == 1:
            host.loop.call_soon(host.kill)

    host.after_flush = kill
    host.claim()
    await host.until(lambda: host.run is None)
    recorded = {r.identity: r.payload for r in host.records.values()}
    state, payload = await host.finish()
    assert state == "completed"
    assert set(host.records) == {f".{i}:note#{n}" for i in range(3) for n in range(2)}
    for identity, value in recorded.items():
        assert host.records[identity].payload == value
    assert payload is not None


async def _sleeps_and_waits() -> list[Any]:
    await sleep("nap", 0.01)
    event = await wait_for_event("go", int)
    return [event, await note("after")]


@pytest.mark.parametrize("evict", [False, True])
async def test_a_sleeping_and_a_waiting_run_are_parked(evict: bool) -> None:
    host = MemoryHost(Workflow(_sleeps_and_waits), evict=evict)
    host.claim()
    await host.until(lambda: bool(host.waits) and host.run is None)
    assert host.parks == 2
    host.send("go", b"7")
    assert await host.finish() == ("completed", b'[7,"after"]')


async def _early_event() -> int:
    await sleep("nap", 0.01)
    return await wait_for_event("go", int)


async def test_an_event_before_its_wait_is_kept() -> None:
    host = MemoryHost(Workflow(_early_event))
    host.send("go", b"5")
    assert await host.finish() == ("completed", b"5")


fails: list[int] = []


async def _flaky(times: int) -> str:
    fails.append(1)
    if len(fails) <= times:
        raise ValueError(f"failure {len(fails)}")
    return "ok"


flaky: Step[[int], str] = Step(_flaky, "flaky", retry="fixed(2, 10ms)")


async def _retries(times: int) -> str:
    try:
        return await flaky(times)
    except ValueError as error:
        return f"{error} {error.__notes__}"


@pytest.mark.parametrize(
    ("times", "result"), [(2, b'"ok"'), (3, b'"failure 3 [\\"step \'flaky\' failed 3 times\\"]"')]
)
async def test_a_failed_step_is_tried_again_until_its_budget_is_spent(times: int, result: bytes) -> None:
    fails.clear()
    host = MemoryHost(Workflow(_retries), times)
    assert await host.finish() == ("completed", result)
    assert len(fails) == min(times + 1, 3)


async def _slow() -> None:
    await asyncio.sleep(5)


slow: Step[[], None] = Step(_slow, "slow", timeout="20ms")


async def _times_out() -> str:
    try:
        await slow()
    except StepTimeout as error:
        return str(error)
    return "no"


async def test_a_step_that_is_too_slow_times_out() -> None:
    host = MemoryHost(Workflow(_times_out))
    assert await host.finish() == ("completed", b"\"step 'slow' did not finish within 0.02 s\"")


async def _forgets() -> None:
    note("never")


async def test_l15_a_forgotten_call_fails_the_run() -> None:
    host = MemoryHost(Workflow(_forgets))
    state, payload = await host.finish()
    assert state == "failed"
    assert payload is not None
    failure = faults.failure(payload)
    assert failure.kind == CallNotAwaited.__name__
    assert "test_replay.py" in failure.message


async def _does_io() -> None:
    await asyncio.open_connection("127.0.0.1", 1)


async def test_l13_io_in_a_body_fails_at_once_and_says_where_it_belongs() -> None:
    host = MemoryHost(Workflow(_does_io))
    state, payload = await host.finish()
    assert state == "failed"
    assert payload is not None
    assert "do I/O in a step" in faults.failure(payload).message


async def _task_group() -> str:
    async def fails_soon() -> None:
        await note("first")
        raise RuntimeError("sibling")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(slow_forever())
            group.create_task(fails_soon())
    except* RuntimeError:
        pass
    return await note("after")


slow_forever: Step[[], None] = Step(_slow, "forever")


async def test_l12_a_cancelled_sibling_is_recorded_and_not_started_again() -> None:
    host = MemoryHost(Workflow(_task_group))

    def kill(item: Item) -> None:
        if isinstance(item, RecordItem) and item.identity.endswith(":note#0") and host.epoch == 1:
            host.loop.call_soon(host.kill)

    host.after_flush = kill
    host.claim()
    await host.until(lambda: host.run is None)
    assert (await host.finish()) == ("completed", b'"after"')
    assert host.records[":forever#0"].outcome is Outcome.CANCELLED
