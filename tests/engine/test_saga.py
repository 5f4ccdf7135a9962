"""`saga()`: what was done is undone in reverse, durably and once, whatever ends the block."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.living import crash_after, ledger, live, note
from tests.support.memory_host import MemoryHost

from zart_core import ConfigurationError, Failure, Saga, Step, UsageError, Workflow, saga, wait_for_event
from zart_core.control import DeadlinePassed


async def _fail(what: str) -> None:
    ledger.append(f"fail {what}")
    raise LookupError(what)


fail: Step[[str], None] = Step(_fail, "fail")


async def do(s: Saga, what: str) -> None:
    await note(what)
    s.on_rollback(lambda: note(f"undo {what}"))


async def trip() -> None:
    async with saga() as s:
        await do(s, "seat")
        await do(s, "room")
        await fail("car")


async def waiting_trip(active: bool = False) -> None:
    async with saga() as s:
        await do(s, "seat")
        await do(s, "room")
        if active:
            await asyncio.sleep(3600)  # in memory: the run cannot park
        await wait_for_event("never")


UNDONE = ["undo room", "undo seat"]


def undone() -> list[str]:
    return [entry for entry in ledger if entry.startswith("undo")]


def test_a_block_that_raises_is_undone_in_reverse_and_its_error_goes_on() -> None:
    life = live(trip)
    assert str(life.failure) == "LookupError: car"
    assert ledger == ["seat", "room", "fail car", *UNDONE]


def test_a_block_that_ends_well_undoes_nothing() -> None:
    async def body() -> str:
        async with saga() as s:
            await do(s, "seat")
        return await note("done")

    assert live(body).value == "done"
    assert ledger == ["seat", "done"]


def test_what_is_caught_inside_undoes_nothing_and_outside_it_is_undone_before() -> None:
    async def body() -> list[str]:
        try:
            async with saga() as s:
                await do(s, "seat")
                try:
                    await fail("inside")
                except LookupError:
                    await note("goes on")
                await fail("outside")
        except LookupError:
            await note("caught")
        return ledger

    live(body)
    assert ledger == ["seat", "fail inside", "goes on", "fail outside", "undo seat", "caught"]


@pytest.mark.parametrize("records", range(9))
def test_a_kill_anywhere_undoes_each_thing_once(records: int) -> None:
    life = live(trip, script=crash_after(records))
    assert str(life.failure) == "LookupError: car"
    assert undone() == UNDONE
    complete = life.store.copy()
    complete.ending = None
    assert str(live(trip, store=complete).failure) == "LookupError: car"
    assert ledger == []


@pytest.mark.parametrize("evict", [False, True])
@pytest.mark.parametrize("parked", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_a_run_that_is_stopped_from_outside_is_undone_and_then_ends(
    evict: bool, parked: bool, late: bool
) -> None:
    async def script(host: MemoryHost) -> None:
        await host.until(lambda: ":note#1" in host.records)
        if parked:
            await host.until(lambda: host.is_parked)
        if late:
            host.stop(DeadlinePassed)
        else:
            host.stop(reason="enough")

    life = live(waiting_trip, not parked, script=script, evict=evict)
    assert ledger == ["seat", "room", *UNDONE]
    if parked or not late:
        assert life.state == "cancelled"
    else:
        assert life.failure.type == "DeadlineExceeded"


@pytest.mark.parametrize("records", range(4, 7))
def test_a_kill_while_a_stopped_run_is_undone_repeats_nothing(records: int) -> None:
    killed: list[int] = []

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: host.is_parked)
        host.stop()

        def look(_: Any) -> None:
            if len(host.records) >= records and not killed and host.run is not None:
                killed.append(records)
                host.loop.call_soon(die)

        def die() -> None:
            if host.run is not None:
                host.kill()
                host.claim()

        host.after_flush = look

    life = live(waiting_trip, script=script)
    assert life.state == "cancelled"
    assert undone() == UNDONE
    assert killed


def test_rollbacks_come_before_the_cancel_handler() -> None:
    async def handler(failure: Failure, _active: bool) -> None:
        await note(f"handled {failure.message}")

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: ":note#1" in host.records)
        host.stop(reason="enough")

    life = live(Workflow(waiting_trip, "trip", on_cancel=handler), True, script=script)
    assert life.state == "cancelled"
    assert ledger == ["seat", "room", *UNDONE, "handled enough"]


def test_a_run_that_is_stopped_while_it_undoes_goes_on_with_it() -> None:
    async def slow() -> str:
        await wait_for_event("ready")
        return await note("undo slowly")

    async def body() -> None:
        async with saga() as s:
            await do(s, "seat")
            await note("slow")
            s.on_rollback(slow)
            await do(s, "room")
            await fail("car")

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: host.is_parked)
        assert undone() == ["undo room"]
        host.stop()
        await host.until(lambda: host.epoch >= 3 and host.is_parked)
        host.send("ready")

    life = live(body, script=script)
    assert life.state == "cancelled"
    assert undone() == ["undo room", "undo slowly", "undo seat"]


def test_all_rollbacks_are_tried_and_those_that_fail_are_told_together() -> None:
    async def body() -> None:
        async with saga() as s:
            await do(s, "seat")
            s.on_rollback(lambda: fail("to undo"))
            await do(s, "room")
            await fail("car")

    failure = live(body).failure
    assert failure.type == "ExceptionGroup"
    assert "a saga could not be rolled back" in failure.message
    assert undone() == UNDONE


def test_a_branch_that_is_cancelled_undoes_its_saga() -> None:
    async def branch() -> None:
        async with saga() as s:
            await do(s, "seat")
            await wait_for_event("never")

    async def sibling() -> None:
        await wait_for_event("go")
        await fail("sibling")

    async def body() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(branch())
                group.create_task(sibling())
        except* LookupError:
            pass
        return await note("done")

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: host.is_parked)
        host.send("go")

    life = live(body, script=script)
    assert life.value == "done"
    assert ledger == ["seat", "fail sibling", "undo seat", "done"]


def test_a_nested_saga_is_undone_first() -> None:
    async def body() -> None:
        async with saga() as outer:
            await do(outer, "seat")
            async with saga() as inner:
                await do(inner, "room")
                await wait_for_event("never")

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: host.is_parked)
        host.stop()

    live(body, script=script)
    assert undone() == UNDONE


def test_misuse_is_refused() -> None:
    async def body() -> list[str]:
        said = []
        async with saga() as s:
            try:
                s.on_rollback(note("x"))  # type: ignore[arg-type] # the mistake
            except ConfigurationError as error:
                said.append(str(error))
        for wrong in (lambda: s.on_rollback(lambda: note("x")), s.__aenter__):
            try:
                await wrong()  # type: ignore[misc] # it does not come so far
            except UsageError as error:
                said.append(str(error))
        return said

    first, second, third = live(body).value
    assert "takes a function that makes the call" in first
    assert "outside of the saga's block" in second
    assert "call saga() again" in third
