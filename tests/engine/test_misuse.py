"""L5, L13, L15: calls made in the wrong place or forgotten are refused, before any effect, with a text that helps."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.engine.living import Body, ledger, live, note, replay, started
from tests.support.memory_host import MemoryHost

from zart_core import (
    CallNotAwaited,
    CallReused,
    ConfigurationError,
    Context,
    DuplicateKey,
    DuplicateName,
    NestedStep,
    NotInRun,
    Registry,
    Step,
    UsageError,
    Workflow,
    WrongTask,
    capture,
    context,
    current,
    is_replaying,
    new_uuid,
    now,
    random_float,
    sleep,
    wait_for_event,
)


def error_of(body: Body) -> str:
    """Return what the body fails with, as `Type: message`."""
    return str(live(body).failure)


# -- awaited twice, or never


def test_a_call_cannot_be_awaited_twice() -> None:
    async def body() -> None:
        call = note("a")
        await call
        await call

    assert error_of(body).startswith(f"{CallReused.__name__}: the call 'note' was already awaited")


def test_a_call_cannot_be_awaited_by_two_tasks() -> None:
    async def body() -> list[str]:
        call = note("a")
        tasks = [asyncio.create_task(call), asyncio.create_task(call)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(value).__name__ for value in found]

    assert live(body).value == ["str", "CallReused"]


def test_l15_a_call_that_is_not_awaited_when_the_body_returns_fails_the_run() -> None:
    async def body() -> None:
        note("forgotten")
        await note("a")

    failure = live(body).failure
    assert failure.kind == CallNotAwaited.__name__
    assert re.search(r"'note' at .*test_misuse.py:\d+ in .*body", failure.message)
    assert ledger == ["a"]


def test_l15_when_the_body_raises_its_own_error_stands_and_the_forgotten_call_is_a_note() -> None:
    async def body() -> None:
        note("forgotten")
        raise ValueError("own")

    failure = live(body).failure
    assert str(failure) == "ValueError: own"
    assert failure.exception is not None
    assert "never awaited: 'note'" in failure.exception.__notes__[0]


def test_l15_a_call_that_was_handed_on_is_not_forgotten() -> None:
    async def body() -> str:
        asyncio.create_task(note("handed on"))
        call = note("closed")
        call.close()
        return await note("a")

    assert live(body).value == "a"


def test_a_task_of_a_call_that_is_cancelled_before_it_runs_leaves_nothing_open() -> None:
    async def body() -> str:
        task = asyncio.create_task(note("never"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await note("a")

    life = live(body)
    assert life.value == "a"
    assert ledger == ["a"]
    assert replay(life).value == "a"


def test_outside_a_run_a_step_just_runs_and_a_forgotten_one_warns() -> None:
    assert asyncio.run(_await(note("outside"))) == "outside"
    with pytest.warns(RuntimeWarning, match=r"'note' was never awaited .*test_misuse.py"):
        note("forgotten")


async def _await(call: Any) -> Any:
    return await call


def test_outside_a_run_a_sync_step_runs_where_it_is_awaited() -> None:
    def where() -> int:
        return threading.get_ident()

    assert asyncio.run(_await(Step(where, "where")())) == threading.get_ident()


# -- in the wrong place


def test_a_call_in_a_thread_is_refused() -> None:
    async def body() -> None:
        await asyncio.to_thread(note, "thread")

    async def main() -> tuple[str, bytes | None]:
        return await MemoryHost(Workflow(body, "test")).finish()

    state, payload = asyncio.run(main())
    assert state == "failed"
    assert payload is not None
    assert b"WrongTask" in payload
    assert b"from a thread" in payload


def test_a_call_in_a_callback_is_refused_and_its_exception_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> str:
        asyncio.get_running_loop().call_soon(note, "callback")
        await asyncio.sleep(0)
        return await note("a")

    assert live(body).value == "a"
    assert ledger == ["a"]
    assert WrongTask.__name__ in caplog.text


def test_a_task_made_in_a_callback_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async def branch() -> None:
        await note("never")

    async def body() -> str:
        asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(branch()))
        return await note("a")

    assert live(body).value == "a"
    assert ledger == ["a"]
    assert "create tasks in the body itself" in caplog.text


def test_a_failing_callback_is_logged_and_the_body_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> str:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        return await note("a")

    assert live(body).value == "a"
    assert "ZeroDivisionError" in caplog.text


def test_an_exception_that_nobody_retrieves_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("lost")

    async def body() -> str:
        asyncio.create_task(fail())
        await asyncio.sleep(0)
        return await note("a")

    assert live(body).value == "a"
    assert "ValueError: lost" in caplog.text


@pytest.mark.filterwarnings("ignore:.*never awaited")
def test_a_task_made_past_the_loop_is_refused_when_it_makes_a_call() -> None:
    async def branch() -> None:
        await note("never")

    async def body() -> None:
        await asyncio.Task(branch(), loop=asyncio.get_running_loop())

    assert "use asyncio.create_task" in error_of(body)
    assert ledger == []


def test_as_completed_over_coroutines_is_refused_and_says_what_to_write() -> None:
    async def branch() -> str:
        return await note("never")

    async def body() -> list[str]:
        coroutines = [branch(), branch()]
        try:
            return [await done for done in asyncio.as_completed(coroutines)]
        finally:
            for coroutine in coroutines:
                coroutine.close()

    assert "asyncio.create_task(c) for c in coroutines" in error_of(body)
    assert ledger == []


@pytest.mark.parametrize("inside", ["itself", "task", "thread", "sleep", "event", "capture", "handed over"])
def test_l5_a_durable_call_inside_a_step_is_refused_before_any_effect_and_not_retried(inside: str) -> None:
    attempts: list[int] = []

    async def outer(call: Any = None) -> str:
        attempts.append(1)
        match inside:
            case "itself":
                return await note("inner")
            case "task":
                return await asyncio.create_task(_await(note("inner")))
            case "sleep":
                await sleep("nap", 1)
            case "event":
                await wait_for_event("never")
            case "capture":
                return str(await capture("value", lambda: 1))
            case "handed over":
                return str(await call)
        return ""

    def blocking() -> str:
        attempts.append(1)
        return str(note("inner"))

    step: Step[..., str] = Step(blocking if inside == "thread" else outer, "outer", retry="fixed(3, 1s)")

    async def body() -> str:
        if inside == "handed over":
            return await step(note("inner"))
        return await step()

    failure = live(body).failure
    assert failure.type == NestedStep.__name__
    assert "inside step 'outer'" in failure.message
    assert len(attempts) == 1
    assert ledger == []
    assert started == [":outer#0"]


@pytest.mark.parametrize(
    "operation",
    [
        lambda: sleep("nap", 1),
        lambda: wait_for_event("never"),
        lambda: capture("value", lambda: 1),
        now,
        new_uuid,
        random_float,
        current,
        context,
        is_replaying,
    ],
)
def test_operations_outside_a_run_are_refused(operation: Callable[[], Any]) -> None:
    with pytest.raises(NotInRun):
        operation()


def test_a_call_made_outside_cannot_be_awaited_in_a_body() -> None:
    call = note("made outside")

    async def body() -> str:
        return await call

    assert error_of(body).startswith(WrongTask.__name__)
    assert ledger == []
    call.close()


@pytest.mark.parametrize("how", ["connect", "subprocess", "signal", "foreign future", "foreign lock"])
def test_l13_io_in_a_body_fails_and_says_where_it_belongs(how: str) -> None:
    foreign: dict[str, Any] = {}

    async def body() -> None:
        match how:
            case "connect":
                await asyncio.open_connection("127.0.0.1", 1)
            case "subprocess":
                await asyncio.create_subprocess_exec("true")
            case "signal":
                asyncio.get_running_loop().add_signal_handler(1, print)
            case "foreign future":
                await foreign["future"]
            case "foreign lock":
                await asyncio.gather(foreign["lock"].acquire(), foreign["lock"].acquire())

    async def main() -> tuple[str, bytes | None]:
        foreign["future"], foreign["lock"] = asyncio.get_running_loop().create_future(), asyncio.Lock()
        await foreign["lock"].acquire()
        waiter = asyncio.create_task(foreign["lock"].acquire())  # binds it to this loop
        await asyncio.sleep(0)
        ending = await MemoryHost(Workflow(body, "test")).finish()
        waiter.cancel()
        return ending

    state, payload = asyncio.run(main())
    assert state == "failed"
    assert payload is not None
    assert b"do I/O in a step" in payload


# -- names, keys and arguments


def test_wrong_arguments_are_a_type_error_at_the_call_before_it_takes_an_identity() -> None:
    async def body() -> str:
        with pytest.raises(TypeError):
            note()  # type: ignore[call-arg] # what is tested
        with pytest.raises(TypeError):
            note("a", "b")  # type: ignore[call-arg] # what is tested
        return await note("a")

    assert list(live(body).records) == [":note#0"]


def test_a_key_takes_the_place_of_the_occurrence() -> None:
    async def body() -> list[str]:
        return [await note("a").keyed("x"), await note("b"), await note("c").keyed("y"), await note("d")]

    assert list(live(body).records) == [":note#=x", ":note#0", ":note#=y", ":note#1"]


def test_a_name_takes_the_place_of_the_steps_own() -> None:
    async def body() -> list[str]:
        return [await note("a").named("x"), await note("b"), await note("c").named("x").keyed("k")]

    assert list(live(body).records) == [":x#0", ":note#0", ":x#=k"]


def test_a_key_may_be_used_once_in_each_scope_for_each_name() -> None:
    async def branch() -> None:
        await note("a").keyed("k")

    async def body() -> str:
        await asyncio.gather(branch(), branch(), note("a").keyed("k"), note("b").named("other").keyed("k"))
        with pytest.raises(DuplicateKey):
            note("again").keyed("k")
        return await note("end")

    life = live(body)
    assert life.value == "end"  # the refused call is not one that was forgotten
    assert set(life.records) == {".0:note#=k", ".1:note#=k", ":note#=k", ":other#=k", ":note#1"}


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", 7])
def test_a_key_must_be_a_text_of_a_decent_length(key: Any) -> None:
    async def body() -> str:
        with pytest.raises(ConfigurationError):
            note("a").keyed(key)
        return await note("end")

    assert live(body).value == "end"


def test_a_call_cannot_be_changed_once_it_is_awaited() -> None:
    async def body() -> None:
        call = note("a")
        await call
        call.keyed("late")

    assert error_of(body).startswith(CallReused.__name__)


def test_a_name_is_filled_from_the_arguments_and_their_defaults() -> None:
    async def charge(order: dict[str, str], kind: str = "card") -> str:
        return kind

    step: Step[..., str] = Step(charge, "charge-{kind}-{order[id]}")

    async def body() -> None:
        await step({"id": "1"})
        await step({"id": "2"}, kind="cash")
        await step({"id": "2"}, "cash")

    assert list(live(body).records) == [":charge-card-1#0", ":charge-cash-2#0", ":charge-cash-2#1"]


def test_a_name_with_an_unknown_field_is_refused_at_definition() -> None:
    async def charge(order: str) -> None: ...

    with pytest.raises(ConfigurationError, match="no parameter"):
        Step(charge, "charge-{customer}")
    with pytest.raises(ConfigurationError, match="unbalanced braces"):
        Step(charge, "charge-{order")


def test_two_steps_of_one_name_are_refused_in_one_body() -> None:
    async def other(text: str) -> str:
        return text

    twin: Step[[str], str] = Step(other, "note")

    async def body() -> None:
        await note("a")
        await twin("b")

    assert error_of(body).startswith(DuplicateName.__name__)


def test_a_step_whose_annotation_names_nothing_fails_at_the_call_before_any_effect() -> None:
    async def charge() -> "Nowhere":  # type: ignore[name-defined] # noqa: F821, UP037 - what is tested
        ledger.append("charged")

    step: Step[[], Any] = Step(charge, "charge")

    async def body() -> None:
        await step()

    assert "Nowhere" in error_of(body)
    assert ledger == []


def test_usage_errors_can_be_caught_by_the_body() -> None:
    async def body() -> str:
        try:
            await asyncio.open_connection("127.0.0.1", 1)
        except UsageError:
            return await note("caught")
        return ""

    assert live(body).value == "caught"


# -- the context style


def test_the_context_style_makes_the_same_calls() -> None:
    async def work(ctx: Context, text: str) -> list[Any]:
        first = await ctx.step("greet", greet, text, retry="fixed(1, 1s)")
        await ctx.sleep("nap", 1)
        return [first, ctx.execution.execution_id, await ctx.step("greet", greet, text=text)]

    async def greet(text: str) -> str:
        return f"hello {text}"

    workflow = Registry().workflow("work", work)
    life = live(workflow, "you")
    assert life.value == ["hello you", "test", "hello you"]
    assert list(life.records) == [":greet#0", ":nap#0", ":greet#1"]


def test_the_context_style_takes_any_function_and_any_argument() -> None:
    class Charge:
        __hash__ = None  # type: ignore[assignment] # it cannot be a key

        async def __call__(self, name: str, fn: str) -> str:
            return name + fn

    async def work(ctx: Context) -> list[Any]:
        charge = Charge()
        return [
            await ctx.step("charge", charge, name="a", fn="b"),
            await ctx.step("length", len, "abc"),
            await ctx.capture("bound", "abc".title),
            await ctx.capture("builtin", dict),
        ]

    assert live(Registry().workflow("work", work)).value == ["ab", 3, "Abc", {}]


def test_what_is_no_function_cannot_be_captured() -> None:
    async def body() -> str:
        not_a_function: Any = 7
        with pytest.raises(ConfigurationError, match="lambda"):
            capture("seven", not_a_function)
        return await note("end")

    assert live(body).value == "end"


def test_replaying_is_told_from_living() -> None:
    seen: list[bool] = []

    async def body() -> None:
        seen.append(is_replaying())
        await note("a")
        seen.append(is_replaying())
        await note("b")
        seen.append(is_replaying())

    life = live(body)
    assert seen == [False, False, False]
    seen.clear()
    replay(life)
    assert seen == [True, True, False]
