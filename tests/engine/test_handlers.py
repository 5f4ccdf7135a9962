"""`on_failure` and `on_cancel`: they follow the recorded end of a body, and are as durable as a body."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.living import crash_after, ledger, live, note, started
from tests.support.memory_host import MemoryHost

from zart_core import (
    ConfigurationError,
    Context,
    Failure,
    Registry,
    Step,
    Workflow,
    context,
    sleep,
    wait_for_event,
)
from zart_core.control import DeadlinePassed


class CardDeclined(Exception):
    def __init__(self, reason: str, *, code: int) -> None:
        super().__init__(reason)
        self.code = code


async def _charge() -> None:
    ledger.append("charge")
    raise CardDeclined("no funds", code=51)


charge: Step[[], None] = Step(_charge, "charge")


async def order(name: str) -> Any:
    await note(f"reserve {name}")
    await charge()
    return "paid"


def test_what_a_failure_handler_returns_is_the_result_and_completes_the_run() -> None:
    seen: list[Failure] = []

    async def apologise(failure: Failure, name: str) -> str:
        seen.append(failure)
        return await note(f"sorry, {name}")

    life = live(Workflow(order, "order", on_failure=apologise), "ada")

    assert life.value == "sorry, ada"
    assert ledger == ["reserve ada", "charge", "sorry, ada"]
    assert (seen[0].kind, seen[0].type, seen[0].message) == ("error", "CardDeclined", "no funds")
    assert isinstance(seen[0].exception, CardDeclined)
    assert seen[0].exception.code == 51
    assert list(life.records) == [":note#0", ":charge#0", "!:note#0"]


def test_none_leaves_the_failure_as_it_was() -> None:
    async def tell(failure: Failure, name: str) -> None:
        await note(f"{failure} for {name}")

    life = live(Workflow(order, "order", on_failure=tell), "ada")

    assert str(life.failure) == "CardDeclined: no funds"
    assert ledger[-1] == "CardDeclined: no funds for ada"


def test_another_exception_fails_the_run_with_the_first_as_its_cause() -> None:
    async def fail(_failure: Failure, _name: str) -> None:
        raise LookupError("nobody to tell")

    failure = live(Workflow(order, "order", on_failure=fail), "ada").failure

    assert str(failure) == "LookupError: nobody to tell"
    assert failure.exception is not None
    assert isinstance(failure.exception.__cause__, CardDeclined)


@pytest.mark.parametrize("records", range(5))
def test_a_kill_anywhere_repeats_nothing_and_never_runs_the_body_again(records: int) -> None:
    bodies: list[bool] = []

    async def body(name: str) -> Any:
        bodies.append("!" in str(started))
        return await order(name)

    async def handler(failure: Failure, name: str) -> list[str]:
        first = await note(f"refund {name}")
        await sleep("a-while", 5)
        return [first, await note(str(failure))]

    life = live(Workflow(body, "order", on_failure=handler), "ada", script=crash_after(records))

    assert life.value == ["refund ada", "CardDeclined: no funds"]
    assert not any(bodies)
    for effect in ("refund ada", "CardDeclined: no funds"):
        assert ledger.count(effect) <= 1
    complete = life.store.copy()
    complete.ending = None
    assert live(life.host.workflow, "ada", store=complete).value == life.value
    assert started == []


def test_a_handler_has_branches_events_and_retries_like_a_body_and_is_evicted_like_one() -> None:
    async def handler(_failure: Failure, name: str) -> list[Any]:
        go = await wait_for_event("go", int)
        return [go, await note(name), await note("again")]

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: host.is_parked)
        host.send("go", b"7")

    life = live(Workflow(order, "order", on_failure=handler), "ada", script=script, evict=True)

    assert life.value == [7, "ada", "again"]
    assert {"!:go#0", "!:note#0", "!:note#1"} < set(life.records)


def test_a_deadline_is_a_failure_to_be_handled_without_a_deadline() -> None:
    async def body() -> str | None:
        return await wait_for_event("never", str)

    async def handler(failure: Failure) -> str:
        assert context().deadline is None
        return await note(failure.type)

    async def script(host: MemoryHost) -> None:
        host.stop(DeadlinePassed)

    assert live(Workflow(body, "late", on_failure=handler), script=script).value == "DeadlineExceeded"


@pytest.mark.parametrize("parked", [False, True])
def test_a_cancel_handler_runs_after_a_cancel_and_the_run_stays_cancelled(parked: bool) -> None:
    async def body(name: str) -> None:
        await note(name)
        await wait_for_event("never")

    async def handler(failure: Failure, name: str) -> None:
        await note(f"{failure.kind} {failure.message}: {name}")

    async def script(host: MemoryHost) -> None:
        if parked:
            await host.until(lambda: host.is_parked)
        host.stop(reason="enough")

    life = live(Workflow(body, "work", on_cancel=handler), "ada", script=script)

    assert life.state == "cancelled"
    assert ledger[-1] == f"cancelled {'parked' if parked else 'enough'}: ada"


def test_a_cancel_handler_that_raises_fails_the_run() -> None:
    async def body() -> None:
        await wait_for_event("never")

    async def handler(_failure: Failure) -> None:
        raise LookupError("nobody to tell")

    async def script(host: MemoryHost) -> None:
        host.stop()

    assert (
        str(live(Workflow(body, "work", on_cancel=handler), script=script).failure)
        == "LookupError: nobody to tell"
    )


def test_a_body_that_completes_is_handled_by_nobody() -> None:
    async def body() -> str:
        return await note("fine")

    async def handler(_failure: Failure) -> str:
        return await note("never")

    assert live(Workflow(body, "work", on_failure=handler, on_cancel=handler)).value == "fine"
    assert ledger == ["fine"]


def test_a_handler_that_a_deploy_has_removed_leaves_the_failure_as_it_was() -> None:
    async def handler(_failure: Failure, _name: str) -> str:
        return await note("never")

    workflow: Workflow[..., Any] = Workflow(order, "order", on_failure=handler)

    async def script(host: MemoryHost) -> None:
        workflow.on_failure = None

    life = live(workflow, "ada", script=script)
    assert str(life.failure) == "CardDeclined: no funds"
    assert "never" not in ledger


def test_in_context_style_the_context_comes_first() -> None:
    async def body(ctx: Context, name: str) -> str:
        await ctx.step("charge", _charge)
        return name

    async def handler(ctx: Context, failure: Failure, name: str) -> str:
        return f"{type(ctx).__name__} {failure.type} {name}"

    workflow: Workflow[..., str] = Registry().workflow("order", body, on_failure=handler)
    assert live(workflow, "ada").value == "Context CardDeclined ada"


def test_a_handler_must_be_async_and_take_the_failure_and_the_workflows_arguments() -> None:
    def sync(failure: Failure, name: str) -> None: ...
    async def short(failure: Failure) -> None: ...

    with pytest.raises(ConfigurationError, match="on_failure must be an async function"):
        Workflow(order, "order", on_failure=sync)  # type: ignore[arg-type] # the mistake
    with pytest.raises(
        ConfigurationError, match="on_cancel is called with the failure and then the workflow's own"
    ):
        Workflow(order, "order", on_cancel=short)


@pytest.mark.parametrize("most", [0, -1, 1001, 1.5, "5"])
def test_max_crashes_is_a_number_from_one_on(most: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_crashes must be a whole number from 1 to 1000"):
        Workflow(order, "order", max_crashes=most)
