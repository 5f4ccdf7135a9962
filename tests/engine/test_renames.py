"""L10: what was inserted runs, what was renamed blocks, what was removed is told; and what people can do about it."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.engine.living import Body, Life, bare, crash_after, ledger, live, note, replay, started
from tests.support.memory_host import MemoryHost

from zart_core import (
    ConfigurationError,
    Divergence,
    DuplicateName,
    Step,
    Workflow,
    capture,
    context,
    new_uuid,
    now,
    sleep,
    wait_for_event,
)


async def _pay(order: str = "o") -> str:
    ledger.append(f"pay {order}")
    return f"paid {order}"


pay: Step[..., str] = Step(_pay, "pay")
charge: Step[..., str] = Step(_pay, "charge")
charge_or_pay: Step[..., str] = Step(_pay, "charge", aliases=("pay",))


def body_of(*calls: Callable[[], Awaitable[Any]]) -> Body:
    async def body() -> list[Any]:
        return [await call() for call in calls]

    return body


def accepting(life: Life, *identities: str) -> Life:
    """The same life, with calls that somebody has vouched for."""
    store = life.store.copy()
    store.accepted = {*store.accepted, *identities}
    life.host.store = store
    return life


# -- renames


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pay, charge),
        (bare, lambda: bare().named("other")),
        (lambda: pay().keyed("k"), lambda: charge().keyed("k")),
        (pay, lambda: pay().keyed("k")),
        (lambda: pay().keyed("k"), pay),
        (lambda: sleep("a", 1), lambda: sleep("b", 1)),
        (lambda: wait_for_event("a", timeout=1), lambda: wait_for_event("b", timeout=1)),
        (lambda: capture("a", lambda: 1), lambda: capture("b", lambda: 1)),
    ],
)
def test_a_call_like_the_next_record_that_nothing_met_is_taken_for_it_renamed(
    before: Callable[[], Any], after: Callable[[], Any]
) -> None:
    def caught(call: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
        async def one() -> Any:
            try:
                return await call()
            except TimeoutError:
                return None

        return one

    again = replay(live(body_of(caught(before), lambda: note("end"))), body_of(caught(after)))
    assert again.state == "blocked"
    assert again.divergence.code == "ZART-D003"
    assert ledger == []


def test_a_rename_is_told_with_both_sides_and_the_ways_out() -> None:
    again = replay(live(body_of(lambda: pay("a"))), body_of(lambda: charge("a")))
    told = again.divergence
    assert told.recorded is not None
    assert told.current is not None
    assert (told.recorded.identity, told.recorded.kind, told.recorded.outcome) == (":pay#0", "step", "ok")
    assert (told.current.identity, told.current.name, told.current.arguments) == (
        ":charge#0",
        "charge",
        "('a')",
    )
    assert "test_renames.py" in told.current.where
    assert told.recorded.args == told.current.args
    assert [remedy.command for remedy in told.remedies] == [
        "zart runs unblock test --accept charge",
        "zart runs unblock test",
    ]
    assert "aliases=('pay',)" in told.remedies[1].effect
    assert "`zart runs unblock test --accept charge`" in str(told)


def test_a_divergence_is_an_error_with_the_code_of_its_details() -> None:
    error = Divergence(replay(live(body_of(pay)), body_of(charge)).divergence)
    for twin in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (twin.code, twin.details, str(twin)) == ("ZART-D003", error.details, str(error.details))
    assert Divergence.code == "ZART-D000"


def test_an_accepted_call_runs_as_new_once_and_has_its_own_record_from_then_on() -> None:
    life, after = live(body_of(pay)), body_of(charge)
    assert replay(life, after).state == "blocked"
    again = replay(accepting(life, ":charge#0"), after)
    assert again.value == ["paid o"]
    assert ledger == ["pay o"]
    assert again.store.orphans == (":pay#0",)
    assert replay(again, after).value == ["paid o"]
    assert ledger == []


def test_a_call_is_not_judged_again_when_it_is_retried() -> None:
    """Meanwhile another record is the next that nothing has met."""
    failures = iter([ValueError("again"), None])

    async def flaky(order: str) -> str:
        ledger.append("flaky")
        if error := next(failures):
            raise error
        return order

    step: Step[..., str] = Step(flaky, "flaky", retry="fixed(1, 5s)")

    async def first() -> list[str]:
        return [await pay("other"), await pay("same").named("later")]

    async def edited() -> list[Any]:
        retried = asyncio.create_task(step("same"))
        await sleep("a moment", 1)
        return [await pay("other"), await retried]

    life = live(first)
    again = replay(life, edited)
    assert again.value == ["paid other", "same"]
    assert ledger == ["flaky", "flaky"]


# -- insertions


@pytest.mark.parametrize(
    "inserted",
    [
        lambda: charge("x"),
        lambda: sleep("new", 1),
        lambda: capture("new", lambda: 1),
        lambda: charge("a").keyed("another"),
    ],
)
def test_a_call_unlike_the_next_record_is_an_insertion_and_runs(inserted: Callable[[], Any]) -> None:
    def one(order: str) -> Callable[[], Any]:
        return lambda: pay(order).keyed(order)

    life = live(body_of(one("a"), one("b")))
    again = replay(life, body_of(inserted, one("a"), one("b")))
    assert again.value[1:] == ["paid a", "paid b"]
    assert len(started) == 1
    assert again.store.orphans == ()


def test_what_the_engine_names_is_never_a_rename() -> None:
    async def first() -> str:
        await capture("stamp", lambda: 1)
        await new_uuid()
        return await note("end")

    async def edited() -> str:
        await now()
        return await first()

    assert replay(live(first), edited).value == "end"
    assert started == [":now#0"]


def test_a_call_of_another_branch_is_not_taken_for_a_renamed_one() -> None:
    async def branch() -> str:
        return await pay()

    async def first() -> list[str]:
        return [await asyncio.create_task(branch())]

    async def edited() -> list[str]:
        before = await charge()
        return [await asyncio.create_task(branch()), before]

    assert replay(live(first), edited).value == ["paid o", "paid o"]
    assert started == [":charge#0"]


def test_a_call_that_was_made_and_not_awaited_yet_has_its_record() -> None:
    async def first() -> list[str]:
        return [await pay()]

    async def edited() -> list[str]:
        old = pay()
        return [await charge(), await old]

    assert replay(live(first), edited).value == ["paid o", "paid o"]
    assert started == [":charge#0"]


def test_a_loop_that_goes_on_longer_runs_only_what_is_new() -> None:
    def loop(times: int) -> Body:
        return body_of(*[bare] * times)

    life = live(loop(3))
    assert replay(life, loop(5)).state == "completed"
    assert started == [":bare#3", ":bare#4"]


def test_an_unchanged_body_that_waits_in_memory_is_not_taken_for_an_edited_one() -> None:
    """The second call has its record, and after a crash it comes only when the timer has fired."""

    async def slow(order: str) -> str:
        await asyncio.sleep(30)
        return await _pay(order)

    slow_step: Step[..., str] = Step(slow, "slow")

    async def body() -> list[str]:
        task = asyncio.create_task(slow_step("o"))
        await asyncio.sleep(1)
        return [await pay("o"), await task]

    assert live(body, script=crash_after(1)).value == ["paid o", "paid o"]
    assert ledger == ["pay o", "pay o"]


def test_an_edited_body_that_waits_in_memory_is_found_by_the_place_of_the_call() -> None:
    async def first() -> list[str]:
        return [await pay("o")]

    async def edited() -> list[str]:
        asyncio.get_running_loop().call_later(1, int)
        return [await charge("o")]

    assert replay(live(first), edited).state == "blocked"


# -- aliases


def test_a_record_under_an_alias_is_met_as_the_steps_own() -> None:
    calls = [lambda: pay("a"), lambda: pay("b"), lambda: pay("c").keyed("k")]
    renamed = [lambda: charge_or_pay("a"), lambda: charge_or_pay("b"), lambda: charge_or_pay("c").keyed("k")]
    again = replay(
        live(body_of(*calls)),
        Workflow(body_of(*renamed, lambda: charge_or_pay("d")), "w", on_divergence="block"),
    )
    assert again.value == ["paid a", "paid b", "paid c", "paid d"]
    assert started == [":charge#2"]
    assert again.store.orphans == ()
    assert replay(again).value == again.value
    assert started == []


def test_other_arguments_under_an_alias_are_found_too() -> None:
    again = replay(
        live(body_of(lambda: pay("a"), lambda: pay("b"))),
        body_of(lambda: charge_or_pay("b"), lambda: charge_or_pay("a")),
    )
    assert again.divergence.code == "ZART-D002"
    assert ledger == []


def test_an_alias_may_be_filled_from_the_arguments() -> None:
    before: Step[..., str] = Step(_pay, "pay-{order}")
    after: Step[..., str] = Step(_pay, "charge-{order}", aliases=("pay-{order}",))
    assert replay(live(body_of(lambda: before("a"))), body_of(lambda: after("a"))).value == ["paid a"]
    assert ledger == []


def test_a_call_that_was_given_a_name_has_no_aliases() -> None:
    again = replay(live(body_of(lambda: pay("a"))), body_of(lambda: charge_or_pay("b").named("new")))
    assert again.value == ["paid b"]
    assert started == [":new#0"]


def test_failed_attempts_under_an_alias_count_and_the_key_for_others_stays() -> None:
    keys = []

    async def fail() -> str:
        keys.append((context().attempt, context().idempotency_key))
        raise ValueError("no")

    before: Step[[], str] = Step(fail, "before", retry="fixed(2, 5s)")
    after: Step[[], str] = Step(fail, "after", retry="fixed(2, 5s)", aliases=("before",))

    async def until_the_first_has_failed(host: MemoryHost) -> None:
        await host.until(lambda: ":before#0" in host.store.failures and host.is_parked)
        host.stop()

    life = live(body_of(before), script=until_the_first_has_failed)
    again = replay(life, body_of(after))
    assert again.failure.type == "ValueError"
    assert [attempt for attempt, _ in keys] == [1, 2, 3]
    assert len({key for _, key in keys}) == 1


def test_a_record_that_another_call_has_met_is_not_met_again_by_an_alias() -> None:
    other: Step[..., str] = Step(_pay, "other")
    edited = body_of(lambda: other("a").named("pay"), lambda: charge_or_pay("b"))
    assert replay(live(body_of(lambda: pay("a"))), edited).value == ["paid a", "paid b"]
    assert started == [":charge#0"]


@pytest.mark.parametrize("first", [pay, charge_or_pay])
def test_an_alias_that_is_another_steps_name_is_refused(first: Step[..., str]) -> None:
    second = pay if first is charge_or_pay else charge_or_pay
    life = live(body_of(lambda: first("a"), lambda: second("b")))
    assert life.failure.type == DuplicateName.__name__
    assert "two steps are named 'pay'" in life.failure.message


@pytest.mark.parametrize("aliases", ["pay", ("charge",), ("",), ("pay-{nothing}",), (7,)])
def test_aliases_that_cannot_be_are_refused_where_they_are_written(aliases: Any) -> None:
    with pytest.raises(ConfigurationError):
        Step(_pay, "charge", aliases=aliases)


# -- accepted arguments, orphans


def test_an_accepted_call_takes_its_record_in_spite_of_other_arguments() -> None:
    before, after = body_of(lambda: pay("a"), lambda: pay("b")), body_of(lambda: pay("x"), lambda: pay("b"))
    life = live(before)
    assert replay(life, after).divergence.code == "ZART-D002"
    again = replay(accepting(life, ":pay#0"), after)
    assert again.value == ["paid a", "paid b"]
    assert ledger == []


def test_records_that_no_call_met_are_told_when_the_body_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    life = live(body_of(lambda: pay("a"), lambda: note("n"), lambda: sleep("z", 1)))
    assert life.store.orphans == ()
    again = replay(life, body_of(lambda: note("n")))
    assert again.store.orphans == (":pay#0", ":z#0")
    assert "ended with 2 records that no call has met: :pay#0, :z#0" in caplog.text


def test_a_body_that_fails_tells_its_orphans_too() -> None:
    async def failing() -> None:
        raise ValueError("no")

    again = replay(live(body_of(pay)), failing)
    assert again.failure.type == "ValueError"
    assert again.store.orphans == (":pay#0",)
