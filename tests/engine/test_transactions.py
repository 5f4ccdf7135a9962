"""`transaction()` as the engine drives it, on a host in memory: order, cancels, and what spends an attempt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.living import Life, ledger, live, note, replay
from tests.support.memory_host import MemoryHost
from tests.support.memory_transactions import Excused

from zart_core import NotInRun, Step, StepTimeout, TransactionInUse, context, transaction
from zart_core.journal import Outcome


async def _pay(tag: str, seconds: float = 0) -> str:
    async with transaction() as conn:
        conn.write(tag)  # type: ignore[attr-defined] # the connection of a host in memory
        ledger.append(f"{tag}, attempt {context().attempt}")
        await asyncio.sleep(seconds)
    return tag


async def _idle(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "plain"


pay: Step[[str, float], str] = Step(_pay, "pay", retry="fixed(2, 1s)")
idle: Step[[float], str] = Step(_idle, "idle")


def outcome_of(life: Life, name: str) -> Outcome:
    (outcome,) = (record.outcome for identity, record in life.records.items() if name in identity)
    return outcome


def test_l3_the_effect_comes_with_the_record() -> None:
    async def body() -> list[str]:
        return [await pay("a", 0), await pay("b", 0)]

    life = live(body)
    assert life.value == ["a", "b"]
    assert life.store.effects == ["a", "b"]
    again = replay(life)
    assert again.value == ["a", "b"]
    assert again.store.effects == ["a", "b"]
    assert ledger == []


def late_commits(host: MemoryHost, seconds: float) -> None:
    """Let the answer to a commit come that late."""
    host.after_commit = lambda tell: host.loop.call_later(seconds, tell)


def slow_flushes(host: MemoryHost, seconds: float) -> None:
    """Let the answer to a flush come that late."""
    answer = host._answer
    host._answer = lambda answers: host.loop.call_later(seconds, answer, answers)  # type: ignore[method-assign,assignment] # of this host only


def test_l11_a_later_plain_outcome_waits_for_the_answer_to_an_earlier_commit() -> None:
    order: list[str] = []

    async def branch(call: Any) -> None:
        order.append(await call)

    async def body() -> list[str]:
        order.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(branch(pay("committing", 0)))
            group.create_task(branch(idle(0.5)))
        return list(order)

    async def script(host: MemoryHost) -> None:
        late_commits(host, 1)

    life = live(body, script=script)
    assert life.value == ["committing", "plain"]
    assert replay(life).value == life.value


def test_l11_an_earlier_plain_outcome_is_not_overtaken_by_a_commit() -> None:
    order: list[str] = []

    async def branch(call: Any) -> None:
        order.append(await call)

    async def body() -> list[str]:
        order.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(branch(note("plain")))
            group.create_task(branch(pay("committing", 0)))
        return list(order)

    async def script(host: MemoryHost) -> None:
        slow_flushes(host, 1)

    life = live(body, script=script)
    assert life.value == ["plain", "committing"]
    assert replay(life).value == life.value


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(Excused(), [1, 1]), (ValueError("a constraint"), [1, 2])],
    ids=["excused", "refused"],
)
def test_l6_only_what_the_step_is_to_blame_for_spends_an_attempt(
    error: Exception, attempts: list[int]
) -> None:
    async def body() -> str:
        return await pay("a", 0)

    async def script(host: MemoryHost) -> None:
        host.next_commits = [error]

    life = live(body, script=script)
    assert life.value == "a"
    assert ledger == [f"a, attempt {number}" for number in attempts]
    assert life.store.effects == ["a"]


def test_l6_an_error_that_the_database_is_to_blame_for_spends_no_attempt() -> None:
    tries: list[int] = []

    async def step() -> int:
        async with transaction() as conn:
            conn.write("x")  # type: ignore[attr-defined] # as above
            tries.append(context().attempt or 0)
            if len(tries) < 5:
                raise Excused
        return len(tries)

    paying: Step[[], int] = Step(step, "paying")

    async def body() -> int:
        return await paying()

    life = live(body)
    assert life.value == 5
    assert tries == [1] * 5
    assert life.store.effects == ["x"]


async def _giving_up() -> str:
    """Give the payment up when the other step, which was recorded before, is heard of."""
    paying = asyncio.create_task(pay("a", 1))
    await idle(0.5)
    paying.cancel()
    await note("second")
    return "given up"


def test_l12_a_call_cancelled_in_its_transaction_is_rolled_back() -> None:
    life = live(_giving_up)
    assert life.value == "given up"
    assert life.store.effects == []
    assert [t.end for t in life.host.transactions] == ["rolled back"]
    assert outcome_of(life, "pay") is Outcome.CANCELLED


@pytest.mark.parametrize(
    "error", [None, Excused(), ValueError("a constraint")], ids=["ok", "excused", "refused"]
)
def test_l12_a_call_cancelled_while_it_commits(error: Exception | None) -> None:
    """It stands if it was committed, else it is recorded as cancelled, and is not run again."""

    async def script(host: MemoryHost) -> None:
        slow_flushes(host, 5)
        late_commits(host, 10)
        host.next_commits = [error]

    life = live(_giving_up, script=script)
    assert life.value == "given up"
    assert ledger == ["a, attempt 1", "second"]
    assert outcome_of(life, "pay") is (Outcome.CANCELLED if error else Outcome.OK)
    assert life.store.effects == ([] if error else ["a"])
    again = replay(life)
    assert again.value == "given up"
    assert ledger == []


@pytest.mark.parametrize("end", [ValueError("after the block"), 5], ids=["raises", "times out"])
def test_a_step_that_fails_after_its_block_is_rolled_back(end: Exception | float) -> None:
    async def step() -> None:
        async with transaction() as conn:
            conn.write("x")  # type: ignore[attr-defined] # as above
        if isinstance(end, Exception):
            raise end
        await asyncio.sleep(10)

    failing: Step[[], None] = Step(step, "failing", timeout=5)

    async def body() -> str:
        try:
            await failing()
        except (ValueError, StepTimeout) as error:
            return type(error).__name__
        return "committed"

    life = live(body)
    assert life.value != "committed"
    assert [t.end for t in life.host.transactions] == ["rolled back"]
    assert life.store.effects == []


def test_a_step_that_has_timed_out_does_not_commit() -> None:
    async def body() -> str:
        try:
            return await pay("a", 10).with_timeout(5)
        except StepTimeout:
            return "StepTimeout"

    life = live(body)
    assert life.value == "StepTimeout"
    assert life.store.effects == []


def test_what_fails_in_the_block_is_rolled_back_also_if_the_step_goes_on() -> None:
    async def step() -> str:
        try:
            async with transaction() as conn:
                conn.write("x")  # type: ignore[attr-defined] # as above
                raise ValueError
        except ValueError:
            return "mended"

    mending: Step[[], str] = Step(step, "mending")

    async def body() -> str:
        return await mending()

    life = live(body)
    assert life.value == "mended"
    assert life.store.effects == []


@pytest.mark.parametrize("nested", [True, False])
def test_a_second_transaction_of_an_attempt_is_refused(nested: bool) -> None:
    async def step() -> None:
        async with transaction():
            if nested:
                transaction()
        transaction()

    twice: Step[[], None] = Step(step, "twice")

    async def body() -> str:
        with pytest.raises(TransactionInUse, match="'twice' has opened its transaction already"):
            await twice()
        with pytest.raises(NotInRun, match="only inside a step"):
            transaction()
        return "refused"

    life = live(body)
    assert life.value == "refused"
    assert life.store.effects == []


def test_outside_a_run_there_is_no_transaction() -> None:
    with pytest.raises(NotInRun, match="only inside a step"):
        transaction()


def test_l4_a_run_that_was_taken_over_does_not_commit() -> None:
    async def body() -> str:
        return await pay("a", 1)

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: len(ledger) == 1)
        host.take_over()
        await host.until(lambda: host.run is not None)

    life = live(body, script=script)
    assert life.value == "a"
    assert sorted(str(t.end) for t in life.host.transactions) == ["committed", "refused"]
    assert life.store.effects == ["a"]
