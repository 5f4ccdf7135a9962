"""L2: what a call gives the body live is what it gives on replay, and what cannot be so is recorded as its failure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.engine.living import Body, ledger, live, note, replay
from tests.support.memory_host import MemoryHost

from zart_core import (
    PayloadInvalid,
    PayloadTooLarge,
    Step,
    StepFailed,
    capture,
    new_uuid,
    now,
    random_float,
    wait_for_event,
)
from zart_core.journal import Outcome


@dataclass
class Receipt:
    number: int
    notes: list[str]


async def _receipt(number: int) -> Receipt:
    ledger.append("receipt")
    return Receipt(number, ["a"])


receipt: Step[[int], Receipt] = Step(_receipt, "receipt")


def test_the_body_never_shares_an_object_with_a_step() -> None:
    kept: list[Receipt] = []

    async def keep() -> Receipt:
        kept.append(Receipt(1, []))
        return kept[0]

    step: Step[[], Receipt] = Step(keep, "keep")

    async def body() -> list[Any]:
        found = await step()
        found.notes.append("changed by the body")
        return [found is kept[0], kept[0].notes]

    assert live(body).value == [False, []]


def test_a_value_has_its_type_live_and_on_replay() -> None:
    async def body() -> list[Any]:
        found = await receipt(7)
        return [type(found).__name__, found.number]

    life = live(body)
    assert life.value == replay(life).value == ["Receipt", 7]


@pytest.mark.parametrize("retry", [None, "fixed(3, 1s)"])
def test_a_result_that_cannot_be_stored_is_the_steps_failure_at_once_and_can_be_caught(
    retry: str | None,
) -> None:
    async def lossy():  # type: ignore[no-untyped-def] # noqa: ANN202 - what is tested
        ledger.append("lossy")
        return {1, 2}

    step: Step[[], Any] = Step(lossy, "lossy", retry=retry)

    async def body() -> list[Any]:
        try:
            await step()
        except PayloadInvalid as error:
            return ["lossy" in str(error), "annotate it" in str(error), await note("mended")]
        return []

    life = live(body)
    assert life.value == [True, True, "mended"]
    assert life.records[":lossy#0"].outcome is Outcome.ERROR
    assert ledger == ["lossy", "mended"]
    assert replay(life).value == life.value


def test_a_result_that_is_too_large_is_refused_before_anything_is_written() -> None:
    async def large() -> str:
        return "x" * 1000

    step: Step[[], str] = Step(large, "large")

    async def body() -> str:
        try:
            return await step()
        except PayloadTooLarge as error:
            return str(error)

    async def script(host: MemoryHost) -> None:
        host.max_payload = 500

    assert "takes 1,002 bytes" in live(body, script=script).value


def test_a_result_of_the_body_that_cannot_be_stored_fails_the_run_and_names_it() -> None:
    async def body():  # type: ignore[no-untyped-def] # noqa: ANN202 - what is tested
        return {1, 2}

    failure = live(body).failure
    assert failure.kind == "PayloadInvalid"
    assert "result of workflow 'test'" in failure.message


def test_input_that_does_not_fit_fails_the_run_before_the_body_starts() -> None:
    async def body(order: Receipt) -> None:
        ledger.append("begun")

    async def main() -> None:
        host = MemoryHost(_workflow(body), Receipt(1, []))
        host.input = b'{"order": {"number": "x"}}'
        state, payload = await host.finish()
        assert state == "failed"
        assert payload is not None
        assert b"order.number" in payload
        host.close()

    ledger.clear()
    asyncio.run(main())
    assert ledger == []


def _workflow(body: Body) -> Any:
    from zart_core import Workflow

    return Workflow(body, "test")


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]
)
def test_whatever_ends_a_body_is_the_failure_of_its_run_only(error: BaseException) -> None:
    async def body() -> None:
        await note("a")
        raise error

    life = live(body)
    assert type(error).__name__ in str(life.failure)
    assert replay(life).failure.type == life.failure.type


def test_whatever_ends_a_branch_reaches_the_body() -> None:
    async def branch() -> None:
        await note("a")
        raise SystemExit(3)

    async def body() -> str:
        try:
            await asyncio.gather(branch(), note("b"))
        except SystemExit as error:
            return f"caught {error.code}"
        return ""

    life = live(body)
    assert life.value == "caught 3"
    assert replay(life).value == life.value


def test_an_error_that_cannot_be_restored_arrives_as_step_failed_live_too() -> None:
    class Local(Exception):
        pass

    async def fail() -> None:
        raise Local("here")

    step: Step[[], None] = Step(fail, "fail")

    async def body() -> str:
        try:
            await step()
        except StepFailed as error:
            return f"{error.type.rpartition('.')[2]}: {error.message}"
        return ""

    life = live(body)
    assert life.value == replay(life).value == "Local: here"


class Gone(Exception):
    """Is missing when the run is replayed."""


def test_an_error_whose_class_is_gone_blocks_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise Gone("x")

    step: Step[[], None] = Step(fail, "fail")

    async def body() -> None:
        try:
            await step()
        except Exception:
            await note("took another branch")

    life = live(body)
    monkeypatch.delattr(f"{__name__}.Gone")
    again = replay(life)
    assert again.state == "blocked"
    assert "Gone" in again.reason
    assert ledger == []


def test_a_value_that_todays_code_cannot_read_blocks_the_run() -> None:
    async def body() -> int:
        return (await receipt(7)).number

    life = live(body)
    life.records[":receipt#0"].payload = b'{"number": "x"}'
    again = replay(life)
    assert again.state == "blocked"
    assert "cannot be read by today's code" in again.reason


def test_an_error_that_is_no_json_blocks_the_run() -> None:
    async def fail() -> None:
        raise ValueError("x")

    step: Step[[], None] = Step(fail, "fail")

    async def body() -> None:
        await step()

    life = live(body)
    life.records[":fail#0"].payload = b"{"
    assert replay(life).state == "blocked"


def test_an_event_of_the_wrong_shape_is_an_error_of_the_body_live_and_on_replay() -> None:
    async def body() -> str:
        try:
            await wait_for_event("receipt", Receipt)
        except PayloadInvalid as error:
            return str(error)
        return ""

    async def script(host: MemoryHost) -> None:
        host.send("receipt", b'{"number": "x"}')

    life = live(body, script=script)
    assert "payload of event 'receipt'" in life.value
    assert replay(life).value == life.value


def test_what_chance_and_the_clock_say_is_recorded_once() -> None:
    async def body() -> list[Any]:
        found = [
            await now(),
            await now(),
            await new_uuid(),
            await random_float(),
            await capture("four", _four),
        ]
        assert isinstance(found[0], datetime)
        assert found[0].tzinfo is UTC or found[0].utcoffset() == timedelta()
        assert isinstance(found[2], UUID)
        return [str(value) for value in found]

    life = live(body)
    assert replay(life).value == life.value
    assert list(life.records) == [":now#0", ":now#1", ":new_uuid#0", ":random_float#0", ":four#0"]


def _four() -> int:
    return 4
