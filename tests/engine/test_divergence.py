"""L10: a record that is another call's is found, not used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.engine.living import Body, ledger, live, note, replay, started

from zart_core import Step, Workflow, capture, sleep, wait_for_event


async def _charge(order: str, amount: int = 1) -> str:
    ledger.append(f"charge {order}")
    return order


charge: Step[..., str] = Step(_charge, "charge")


async def step_x() -> None:
    await note("x").named("x")


async def sleep_x() -> None:
    await sleep("x", 1)


async def event_x() -> None:
    await wait_for_event("x", timeout=1)


async def capture_x() -> None:
    await capture("x", lambda: 1)


KINDS = [step_x, sleep_x, event_x, capture_x]


@pytest.mark.parametrize("before", KINDS, ids=lambda body: body.__name__)
@pytest.mark.parametrize("after", KINDS, ids=lambda body: body.__name__)
def test_a_record_of_another_kind_blocks(before: Body, after: Body) -> None:
    async def first() -> str:
        try:
            await before()
        except TimeoutError:
            pass
        return await note("end")

    async def then() -> str:
        try:
            await after()
        except TimeoutError:
            pass
        return await note("end")

    again = replay(live(first), then)
    if before is after:
        assert again.value == "end"
        return
    assert again.state == "blocked"
    assert "':x#0' is recorded as a" in again.reason
    assert "test_divergence.py" in again.reason
    assert (ledger, started) == ([], [])


def loop_over(*orders: str, key: Callable[[str], str] | None = None) -> Body:
    async def body() -> list[str]:
        calls = [charge(order) for order in orders]
        return [
            await (call.keyed(key(order)) if key else call) for call, order in zip(calls, orders, strict=True)
        ]

    return body


def test_other_arguments_at_a_position_that_is_inferred_block() -> None:
    again = replay(live(loop_over("a", "b", "c")), loop_over("a", "c", "b"))
    assert again.state == "blocked"
    assert "':charge#1' is recorded with other arguments" in again.reason
    assert ".keyed()" in again.reason
    assert ledger == []


def test_other_arguments_of_a_keyed_call_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    def first_letter(order: str) -> str:
        return order[0]

    before, after = loop_over("a1", "b1", key=first_letter), loop_over("a1", "b2", key=first_letter)
    again = replay(live(before), after)
    assert again.value == ["a1", "b1"]
    assert caplog.text.count("recorded with other arguments") == 1
    assert "':charge#=b'" in caplog.text


def test_other_arguments_of_the_only_call_of_its_name_are_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert replay(live(loop_over("a")), loop_over("b")).value == ["a"]
    assert "recorded with other arguments" in caplog.text


def test_other_arguments_block_where_the_workflow_asks_for_it() -> None:
    strict: Workflow[..., Any] = Workflow(loop_over("b"), "test", on_divergence="block")
    again = replay(live(loop_over("a")), strict)
    assert again.state == "blocked"
    assert ledger == []


@pytest.mark.parametrize(
    "same",
    [
        lambda: charge("a"),
        lambda: charge(order="a"),
        lambda: charge("a").with_retry("fixed(1, 1s)"),
        lambda: charge("a").with_timeout("1h"),
    ],
)
def test_arguments_are_compared_by_parameter_and_without_what_is_not_one(same: Callable[[], Any]) -> None:
    async def body() -> list[str]:
        return [await same(), await charge("b")]

    assert replay(live(loop_over("a", "b")), Workflow(body, "test", on_divergence="block")).value == [
        "a",
        "b",
    ]


def test_durations_and_timeouts_are_no_arguments() -> None:
    def body_of(length: int) -> Workflow[..., Any]:
        async def body() -> str:
            await sleep("nap", length)
            try:
                await wait_for_event("never", timeout=length)
            except TimeoutError:
                pass
            return await note("end")

        return Workflow(body, "test", on_divergence="block")

    assert replay(live(body_of(5)), body_of(500)).value == "end"
    assert started == []


def test_a_divergence_stops_the_run_although_the_body_swallows_everything() -> None:
    async def body() -> str:
        try:
            await sleep("note", 1)
        except BaseException:
            ledger.append("swallowed")
        try:
            await charge("a")
        except BaseException:
            ledger.append("swallowed")
        return "done"

    async def first() -> str:
        return await note("a")

    again = replay(live(first), body)
    assert again.state == "blocked"
    assert ledger == ["swallowed", "swallowed"]


def test_a_divergence_lets_running_steps_be_recorded_and_begins_nothing() -> None:
    async def slow() -> str:
        await asyncio.sleep(5)
        ledger.append("slow")
        return "slow"

    slow_step: Step[[], str] = Step(slow, "slow")

    async def first() -> list[str]:
        return [await note("a"), await note("b").named("x")]

    async def then() -> list[Any]:
        task = asyncio.create_task(slow_step())
        await note("a")
        await asyncio.sleep(1)
        await sleep("x", 1)
        return [await task, await charge("never")]

    again = replay(live(first), then)
    assert again.state == "blocked"
    assert ledger == ["slow"]
    assert ":slow#0" in again.records


# -- edited code


def test_an_inserted_step_runs_and_everything_else_keeps_its_record() -> None:
    async def first() -> list[str]:
        return list(await asyncio.gather(branch("a"), branch("b")))

    async def branch(name: str) -> str:
        return await note(await note(name + "1") + "2")

    async def edited() -> list[str]:
        return list(await asyncio.gather(branch_with_more("a"), branch_with_more("b")))

    async def branch_with_more(name: str) -> str:
        one = await note(name + "1")
        await charge(name)
        return await note(one + "2")

    life = live(first)
    again = replay(life, edited)
    assert again.value == life.value
    assert sorted(ledger) == ["charge a", "charge b"]


def test_a_removed_step_leaves_an_orphan_and_nothing_runs_again() -> None:
    async def first() -> str:
        await note("a")
        await charge("a")
        return await note("b")

    async def edited() -> str:
        await note("a")
        return await note("b")

    assert replay(live(first), edited).value == "b"
    assert ledger == []


def test_an_inserted_branch_shifts_the_numbers_of_those_made_after_it() -> None:
    """Which is why new branches go last; the mix-up is found because the arguments differ."""

    async def branch(name: str) -> list[str]:
        return [await charge(name), await charge(name)]

    async def first() -> list[list[str]]:
        return list(await asyncio.gather(branch("a"), branch("b")))

    async def edited() -> list[list[str]]:
        return list(await asyncio.gather(branch("new"), branch("a"), branch("b")))

    assert replay(live(first), edited).state == "blocked"
