"""Child executions as the engine sees them: a call whose outcome comes from another execution."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel
from tests.engine.living import Script, ledger, live, note, replay, started
from tests.support.memory_host import MemoryHost

from zart_core import (
    DetachedChild,
    ExecutionCancelled,
    PayloadInvalid,
    RunCancelled,
    Step,
    UsageError,
    Workflow,
    detached,
    faults,
    sleep,
)
from zart_core.journal import Outcome


class Parcel(BaseModel):
    weight: int


class TooHeavy(Exception):
    def __init__(self, weight: int) -> None:
        super().__init__(f"{weight} kg")
        self.weight = weight


async def _ship(parcel: Parcel, fast: bool = False) -> Parcel:
    ledger.append(f"shipped {parcel.weight}")
    return parcel


ship: Workflow[..., Parcel] = Workflow(_ship, "ship")
SHIP = ":ship#0"


def ending(identity: str = SHIP, outcome: Outcome = Outcome.OK, payload: bytes = b'{"weight":8}') -> Script:
    """End the child of this call as soon as it runs."""

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: identity in host.store.children)
        host.end_child(identity, outcome, payload)

    return script


async def ships() -> int:
    return (await ship(Parcel(weight=7))).weight


@pytest.mark.parametrize("evict", [False, True])
def test_l2_a_childs_result_is_decoded_by_the_childs_own_annotation(evict: bool) -> None:
    life = live(ships, script=ending(), evict=evict)

    assert life.value == 8
    assert life.host.parks == 1
    again = replay(life)
    assert (again.value, started) == (8, [])


def test_a_childs_input_is_stored_by_parameter_name_as_it_was_when_the_call_was_made() -> None:
    inputs: list[bytes] = []

    async def body() -> int:
        parcel = Parcel(weight=7)
        call = ship(parcel, fast=True)
        parcel.weight = 9
        return (await call).weight

    async def script(host: MemoryHost) -> None:
        host.after_flush = lambda item: inputs.append(getattr(item, "input", b""))
        await ending()(host)

    assert live(body, script=script).value == 8
    assert inputs[0] == b'{"fast":true,"parcel":{"weight":7}}'


def test_l2_a_childs_error_arrives_as_its_own_type_with_its_attributes_live_and_on_replay() -> None:
    async def body() -> str:
        try:
            await ship(Parcel(weight=99))
        except TooHeavy as error:
            return f"{type(error).__name__} {error.weight} {error}"
        return "shipped"

    life = live(body, script=ending(outcome=Outcome.ERROR, payload=faults.record(TooHeavy(99))))

    assert life.value == "TooHeavy 99 99 kg"
    assert replay(life).value == life.value


def test_a_child_that_somebody_else_cancelled_raises_execution_cancelled() -> None:
    async def body() -> list[str | None]:
        try:
            await ship(Parcel(weight=1))
        except ExecutionCancelled as error:
            return [error.execution_id, error.reason]
        return []

    life = live(body, script=ending(outcome=Outcome.CANCELLED_ELSEWHERE, payload=b'"no stock"'))

    assert life.value == ["test~/:ship#0", "no stock"]
    assert replay(life).value == life.value


def test_l2_arguments_that_cannot_be_stored_are_the_failure_of_the_call_and_start_nothing() -> None:
    async def body() -> str:
        calls = [ship({"weight": "heavy"}), ship(Parcel(weight=1))]
        found = await asyncio.gather(*calls, return_exceptions=True)
        return f"{type(found[0]).__name__} {found[1]!r}"

    life = live(body, script=ending(":ship#1"))

    assert life.value == f"{PayloadInvalid.__name__} Parcel(weight=8)"
    assert life.store.born == [":ship#1"]
    assert "argument 'parcel'" in str(faults.restore(life.records[SHIP].payload or b""))
    assert replay(life).value == life.value


def test_arguments_that_do_not_fit_are_refused_at_the_call() -> None:
    async def body() -> str:
        try:
            ship()
        except TypeError as error:
            return str(error)
        return ""

    assert live(body).value == "_ship() missing a required argument: 'parcel'"


def test_l12_a_child_whose_call_was_cancelled_is_cancelled_and_not_started_again() -> None:
    async def fails() -> None:
        await sleep("soon", 1)
        raise ValueError("enough")

    async def body() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(ship(Parcel(weight=1)))
                group.create_task(fails())
        except* ValueError:
            pass
        return await note("after")

    life = live(body)

    assert life.value == "after"
    assert life.store.born == [SHIP]
    assert life.store.children == {}
    assert life.records[SHIP].outcome is Outcome.CANCELLED
    assert replay(life).value == "after"
    assert started == []


def test_l12_a_call_that_is_cancelled_before_it_starts_starts_no_child_even_if_an_earlier_pass_did() -> None:
    async def body() -> str:
        task = asyncio.create_task(ship(Parcel(weight=1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return await note("after")

    life = live(body)

    assert life.value == "after"
    assert life.store.born == []
    assert life.records[SHIP].outcome is Outcome.CANCELLED


def test_l12_a_child_that_ended_before_its_call_was_cancelled_stays_cancelled() -> None:
    async def body() -> str:
        task = asyncio.create_task(ship(Parcel(weight=1)))
        await sleep("nap", 1)
        task.cancel()
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else "came"

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: SHIP in host.store.children)
        await host.until(lambda: host.is_parked)
        host.store.end_child(SHIP, Outcome.OK, b'{"weight":8}')  # the nap and this have one turn

    life = live(body, script=script)

    assert life.value == "cancelled"
    assert life.records[SHIP].outcome is Outcome.CANCELLED
    assert replay(life).value == "cancelled"


def test_l10_a_child_whose_record_has_other_arguments_is_warned_about_or_blocks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def other() -> int:
        return (await ship(Parcel(weight=70))).weight

    life = live(ships, script=ending())

    assert replay(life, other).value == 8
    assert "':ship#0' is recorded with other arguments" in caplog.text
    strict: Workflow[[], int] = Workflow(other, "test", on_divergence="block")
    assert replay(life, strict).state == "blocked"


def test_l10_a_child_that_an_earlier_pass_started_with_other_arguments_is_noticed_when_it_ends() -> None:
    async def other() -> int:
        return (await ship(Parcel(weight=70))).weight

    async def swap(host: MemoryHost) -> None:
        await host.until(lambda: SHIP in host.store.children and host.is_parked)
        host.kill()
        host.workflow = Workflow(other, "test", on_divergence="block")
        host.claim()
        await host.until(lambda: host.is_parked)
        host.end_child(SHIP, Outcome.OK, b'{"weight":8}')

    life = live(ships, script=swap)

    assert life.state == "blocked"
    assert "':ship#0' is recorded with other arguments" in life.reason


def test_l10_a_child_in_place_of_a_step_blocks() -> None:
    step: Step[[Parcel], Parcel] = Step(_ship, "ship")

    async def body() -> int:
        return (await step(Parcel(weight=7))).weight

    again = replay(live(body), ships)

    assert again.state == "blocked"
    assert "is recorded as a step, and today's code makes a child of it" in again.reason


def test_a_result_that_todays_code_cannot_read_blocks() -> None:
    life = live(ships, script=ending(payload=b'{"weight":"heavy"}'))

    assert life.state == "blocked"
    assert "result of child 'ship'" in life.reason


def test_l5_a_child_is_identified_by_scope_and_number_among_the_calls_of_its_name() -> None:
    async def branch(weight: int) -> int:
        return (await ship(Parcel(weight=weight))).weight

    async def body() -> list[int]:
        return [*await asyncio.gather(branch(1), branch(2), ship_one(3)), await branch(4)]

    async def ship_one(weight: int) -> int:
        await note("ship").named("ship")
        return (await ship(Parcel(weight=weight))).weight

    async def script(host: MemoryHost) -> None:
        for number, identities in enumerate([[".1:ship#0", ".2:ship#1", ".0:ship#0"], [SHIP]]):
            for identity in identities:
                await host.until(lambda wanted=identity: wanted in host.store.children)  # type: ignore[misc]
            for identity in identities:
                host.end_child(
                    identity, Outcome.OK, json.dumps({"weight": number * 10 + len(identity)}).encode()
                )

    assert live(body, script=script).value == [9, 9, 9, 17]


@pytest.mark.parametrize("fails", [False, True])
def test_a_body_that_ends_with_a_child_open_is_warned_about_by_name(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> str:
        task = asyncio.create_task(ship(Parcel(weight=1)))
        await sleep("nap", 1)
        if fails:
            raise ValueError("enough")
        return f"done: {task.done()}"

    life = live(body)

    assert life.state == ("failed" if fails else "completed")
    assert "ended with calls still open, which are cancelled: ship" in caplog.text
    assert SHIP not in life.records


def test_l15_a_child_that_is_not_awaited_fails_the_run_and_is_not_started() -> None:
    async def body() -> None:
        ship(Parcel(weight=1))

    life = live(body)

    assert life.failure.kind == "CallNotAwaited"
    assert "'ship' at" in life.failure.message
    assert life.store.born == []


def test_a_child_inside_a_step_is_refused_before_any_effect() -> None:
    async def inside() -> None:
        await ship(Parcel(weight=1))

    step: Step[[], None] = Step(inside, "inside")

    async def body() -> None:
        await step()

    assert live(body).failure.kind == "NestedStep"
    assert ledger == []


async def starts_detached() -> str:
    child = await detached(ship.call(Parcel(weight=1)))
    assert isinstance(child, DetachedChild)
    return f"{child.execution_id} {await note('after')}"


@pytest.mark.parametrize("evict", [False, True])
def test_the_start_of_a_detached_child_is_recorded_once_and_gives_its_id(evict: bool) -> None:
    life = live(starts_detached, evict=evict)

    assert life.value == "test~/:ship#0 after"
    assert life.store.born == [SHIP]
    assert life.host.parks == 0
    assert replay(life).value == life.value
    assert started == []


def test_a_detached_child_survives_a_kill_right_after_its_record() -> None:
    async def kill(host: MemoryHost) -> None:
        await host.until(lambda: SHIP in host.records)
        host.kill()
        host.claim()

    life = live(starts_detached, script=kill)

    assert life.value == "test~/:ship#0 after"
    assert life.store.born == [SHIP]


@pytest.mark.parametrize("what", [ship, "ship", None])
def test_detached_wants_an_invocation(what: Any) -> None:
    async def body() -> str:
        try:
            await detached(what)
        except UsageError as error:
            return str(error)
        return ""

    assert "detached(send_invoice.call(order))" in live(body).value


def test_a_run_that_is_cancelled_while_it_waits_for_a_child_ends_as_cancelled() -> None:
    seen: list[str] = []

    async def body() -> None:
        try:
            await asyncio.gather(ship(Parcel(weight=1)), asyncio.sleep(3600))
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: SHIP in host.store.children)
        host.stop(reason="enough")

    life = live(body, script=script)

    assert (life.state, life.reason) == ("cancelled", "enough")
    assert seen == [RunCancelled.__name__]


def test_outside_any_run_a_workflow_just_runs() -> None:
    ledger.clear()
    assert asyncio.run(ship(Parcel(weight=3))) == Parcel(weight=3)
    assert ledger == ["shipped 3"]


def test_a_workflow_that_is_never_awaited_outside_any_run_is_warned_about() -> None:
    with pytest.warns(RuntimeWarning, match="'ship' was never awaited"):
        ship(Parcel(weight=3))


async def _bill(parcel: Parcel) -> Parcel:
    return parcel


bill: Workflow[[Parcel], Parcel] = Workflow(_bill, "bill")


@pytest.mark.parametrize("second", [ship, bill])
def test_l10_an_open_child_beside_one_that_has_ended_with_the_same_arguments_is_no_rename(
    second: Workflow[..., Parcel], caplog: pytest.LogCaptureFixture
) -> None:
    later = ":ship#1" if second is ship else ":bill#0"

    async def body() -> list[int]:
        found = await asyncio.gather(ship(Parcel(weight=7)), second(Parcel(weight=7)))
        return [parcel.weight for parcel in found]

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: len(host.store.children) == 2 and host.is_parked)
        host.end_child(later, Outcome.OK, b'{"weight":8}')
        await host.until(lambda: host.parks == 2 or host.ending is not None)
        host.end_child(SHIP, Outcome.OK, b'{"weight":8}')

    life = live(body, script=script, evict=True)

    assert life.value == [8, 8]
    assert caplog.text == ""
