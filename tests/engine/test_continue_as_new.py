"""`continue_as_new`: the body gives itself up for the execution's next run, once nothing of it is open any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.engine.living import Life, ledger, live, note
from tests.support.memory_host import MemoryHost

from zart_core import (
    Context,
    Failure,
    Registry,
    Workflow,
    continue_as_new,
    current,
    saga,
    sleep,
    wait_for_event,
)
from zart_core.control import DeadlinePassed, RunCancelled, Signal
from zart_core.handlers import Phase

Body = Callable[..., Awaitable[Any]]


def next_input(life: Life) -> Any:
    assert life.state == "continued", life
    assert life.payload is not None
    return json.loads(life.payload)


async def counting(n: int, label: str = "x") -> None:
    await note(f"step {n}")
    continue_as_new(n + 1, label=label)


def test_the_next_run_gets_the_arguments_and_the_body_goes_no_further() -> None:
    async def body(n: int, label: str = "x") -> None:
        await counting(n, label)
        ledger.append("after")

    assert next_input(live(body, 1)) == {"n": 2, "label": "x"}
    assert ledger == ["step 1"]


def test_a_replay_over_all_records_comes_to_the_same_next_run_and_begins_nothing() -> None:
    store = live(counting, 1).store.copy()
    store.ending = None
    assert next_input(live(counting, 1, store=store)) == {"n": 2, "label": "x"}
    assert ledger == []


def test_it_is_an_operation_of_the_context_and_may_be_awaited() -> None:
    async def by_context(ctx: Context, n: int) -> None:
        ctx.continue_as_new(n + 1)

    async def by_current(n: int) -> None:
        current().continue_as_new(n + 1)

    async def awaited(n: int) -> None:
        await continue_as_new(n + 1)

    bodies: list[Any] = [Registry().workflow("w", by_context), by_current, awaited]
    for body in bodies:
        assert next_input(live(body, 1)) == {"n": 2}


@asynccontextmanager
async def resource() -> AsyncIterator[None]:
    try:
        yield
    finally:
        ledger.append("released")


async def caught(n: int) -> str:
    try:
        continue_as_new(n + 1)
    except Exception:
        return "caught"


async def swallowed(n: int) -> str:
    try:
        continue_as_new(n + 1)
    except BaseException:
        await note("swallowed")
        return "swallowed"


async def cleaning_up(n: int) -> None:
    async with resource():
        try:
            continue_as_new(n + 1)
        finally:
            ledger.append("finally")
            await note("never")


async def asking_again(n: int) -> None:
    try:
        continue_as_new(n + 1)
    finally:
        continue_as_new(100)


@pytest.mark.parametrize("body", [caught, swallowed, cleaning_up, asking_again])
def test_l7_code_that_catches_it_does_not_change_it(body: Body) -> None:
    life = live(body, 1)
    assert next_input(life) == {"n": 2}
    assert life.records == {}
    assert "never" not in ledger
    assert "swallowed" not in ledger


def test_async_with_is_left() -> None:
    live(cleaning_up, 1)
    assert ledger == ["finally", "released"]


# -- refused


async def in_a_task(n: int) -> None:
    async def branch() -> None:
        continue_as_new(n)

    await asyncio.create_task(branch())


async def in_gather(n: int) -> None:
    async def branch() -> None:
        continue_as_new(n)

    await asyncio.gather(note("a"), branch())


async def in_a_group(n: int) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(counting(n))


@pytest.mark.parametrize("body", [in_a_task, in_gather, in_a_group])
def test_a_branch_is_refused(body: Body) -> None:
    life = live(body, 1)
    text = str(life.failure) + life.failure.traceback
    assert "continue_as_new() was called in a branch" in text


async def with_a_forgotten_call(n: int) -> None:
    note("forgotten")
    continue_as_new(n)


async def with_an_open_task(n: int) -> None:
    task = asyncio.create_task(wait_for_event("never"))
    await note("a")
    if not task.done():
        continue_as_new(n)
    await task


async def in_an_open_group(n: int) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep("long", "1h"))
        continue_as_new(n)


async def with_a_task_that_waits_in_memory(n: int) -> None:
    task = asyncio.create_task(asyncio.Event().wait(), name="waiter")
    await note("a")
    if not task.done():
        continue_as_new(n)
    await task


async def in_a_saga(n: int) -> None:
    async with saga() as s:
        await note("a")
        s.on_rollback(lambda: note("undone"))
        continue_as_new(n)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (in_a_saga, "saga()"),
        (with_a_forgotten_call, "note"),
        (with_an_open_task, "never"),
        (in_an_open_group, "long"),
        (with_a_task_that_waits_in_memory, "waiter"),
    ],
)
def test_it_is_refused_while_something_is_open_and_the_text_names_it(body: Body, name: str) -> None:
    life = live(body, 1)
    text = str(life.failure) + life.failure.traceback
    assert f"continue_as_new() was called while this is still open: {name}" in text


def test_what_was_awaited_or_cancelled_is_not_open() -> None:
    async def body(n: int) -> None:
        done = asyncio.create_task(note("a"))
        loser = asyncio.create_task(wait_for_event("never"))
        await done
        loser.cancel()
        await asyncio.wait([loser])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait_for_event("never either"), 1)
        continue_as_new(n + 1)

    life = live(body, 1)
    assert next_input(life) == {"n": 2}
    assert list(life.host.waits) == []


def test_arguments_that_do_not_fit_are_refused_in_the_body() -> None:
    async def too_many(n: int) -> None:
        continue_as_new(n, 2)

    async def of_another_type(n: int) -> None:
        continue_as_new("two")

    async def too_large(text: str) -> None:
        continue_as_new("x" * (17 << 20))

    assert live(too_many, 1).failure.type == "TypeError"
    assert live(of_another_type, 1).failure.type == "PayloadInvalid"
    assert live(too_large, "").failure.type == "PayloadTooLarge"


# -- stopped meanwhile


def test_a_worker_that_dies_before_the_end_is_written_comes_to_it_again() -> None:
    async def script(host: MemoryHost) -> None:
        await host.until(lambda: bool(host.records))
        host.kill()
        host.claim()

    assert next_input(live(counting, 1, script=script)) == {"n": 2, "label": "x"}
    assert ledger == ["step 1"]


@pytest.mark.parametrize("signal", [RunCancelled, DeadlinePassed])
def test_a_body_that_is_being_stopped_does_not_go_on_as_another_run(signal: type[Signal]) -> None:
    async def script(host: MemoryHost) -> None:
        await host.until(lambda: host.run is not None)
        host.stop(signal, "enough")

    async def waiting(n: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            continue_as_new(n + 1)

    life = live(waiting, 1, script=script)
    assert life.state == ("cancelled" if signal is RunCancelled else "failed")


def test_a_handler_is_refused() -> None:
    async def failing(n: int) -> None:
        raise LookupError(n)

    async def handler(failure: Failure, n: int) -> None:
        continue_as_new(n)

    life = live(Workflow(failing, "w", on_failure=handler), 1)
    assert "continue_as_new() was called in a handler" in str(life.failure)


def test_a_replay_for_the_sake_of_rollbacks_does_not_go_on_as_another_run() -> None:
    async def body(n: int) -> None:
        async with saga() as s:
            await note("a")
            s.on_rollback(lambda: note("undone"))
        await wait_for_event("go")
        continue_as_new(n + 1)

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: host.is_parked)
        host.send("go")
        host.stop(RunCancelled, "enough")

    store = live(body, 1, script=script).store
    assert store.ending is not None
    assert store.ending[0] == "cancelled"
    store.ending, store.phase, store.outcome = None, Phase.UNDO_CANCELLED, b'"enough"'
    assert live(body, 1, store=store).state == "cancelled"
    assert ledger == []
