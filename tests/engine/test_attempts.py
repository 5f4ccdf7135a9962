"""Semantics, sections 2 and 3: attempts, retries and timeouts of steps."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.engine.living import Body, crash_after, ledger, live, note, replay
from tests.support.memory_host import MemoryHost

from zart_core import (
    ConfigurationError,
    NonRetryable,
    Step,
    StepFailed,
    StepTimeout,
    Workflow,
    capture,
    context,
    faults,
    sleep,
)
from zart_core.items import AttemptItem, Item
from zart_core.journal import Outcome

real = pytest.mark.anyio


class Declined(Exception):
    def __init__(self, *, reason: str) -> None:
        super().__init__(f"declined: {reason}")
        self.reason = reason


def failing(times: int, error: Callable[[int], BaseException], **options: Any) -> Step[[], str]:
    """Return a step that fails that often before it succeeds."""
    attempts: list[float] = []

    async def step() -> str:
        attempts.append(asyncio.get_running_loop().time())
        ledger.append(f"{round(attempts[-1] - attempts[0], 3):g} s, attempt {context().attempt}")
        if len(attempts) <= times:
            raise error(len(attempts))
        return "done"

    return Step(step, "failing", **options)


def body_of(step: Step[[], str]) -> Body:
    async def body() -> str:
        return await step()

    return body


def test_a_failed_attempt_is_followed_by_the_next_after_its_delay() -> None:
    life = live(body_of(failing(3, lambda n: ValueError(n), retry="exponential(3, 2s)")))
    assert life.value == "done"
    assert ledger == ["0 s, attempt 1", "2 s, attempt 2", "6 s, attempt 3", "14 s, attempt 4"]
    assert life.host.parks == 3  # long delays park the run


def test_when_attempts_are_spent_the_body_gets_the_steps_own_error_with_a_note() -> None:
    step = failing(9, lambda n: Declined(reason=str(n)), retry="fixed(2, 1s)")

    async def body() -> list[Any]:
        try:
            await step()
        except Declined as error:
            return [error.reason, str(error), error.__notes__]
        return []

    life = live(body)
    assert life.value == ["3", "declined: 3", ["step 'failing' failed 3 times"]]
    assert replay(life).value == life.value
    assert ledger == []


@pytest.mark.parametrize(
    ("options", "attempts"),
    [
        ({}, 1),
        ({"retry": "fixed(2, 1s)"}, 3),
        ({"retry": "fixed(2, 0s)"}, 3),
        ({"retry": "fixed(2, 1s)", "retry_on": (TypeError,)}, 1),
        ({"retry": "fixed(2, 1s)", "retry_on": (ValueError,)}, 3),
        ({"retry": "fixed(2, 1s)", "no_retry_on": (ValueError,)}, 1),
    ],
)
def test_what_is_retried_is_for_the_step_to_say(options: dict[str, Any], attempts: int) -> None:
    assert live(body_of(failing(9, lambda n: ValueError(n), **options))).failure.type == "ValueError"
    assert len(ledger) == attempts


def test_non_retryable_is_not_retried() -> None:
    assert live(body_of(failing(9, NonRetryable, retry="fixed(2, 1s)"))).failure.type == "NonRetryable"
    assert len(ledger) == 1


def test_a_call_may_have_a_policy_of_its_own() -> None:
    step = failing(9, lambda n: ValueError(n), retry="fixed(9, 1s)")

    async def body() -> str:
        return await step().with_retry("fixed(1, 1s)")

    live(body)
    assert len(ledger) == 2

    async def bad() -> str:
        with pytest.raises(ConfigurationError):
            step().with_retry("often")
        with pytest.raises(ConfigurationError):
            step().with_timeout("-1s")
        return await note("a")

    assert live(bad).value == "a"


def test_failed_attempts_are_recorded_so_that_a_crash_neither_resets_nor_spends_the_budget() -> None:
    step = failing(9, lambda n: ValueError(n), retry="fixed(3, 1s)")

    async def script(host: MemoryHost) -> None:
        def look(item: Item) -> None:
            if isinstance(item, AttemptItem) and item.attempt == 2 and host.epoch < 4:
                host.loop.call_soon(again)

        def again() -> None:
            host.kill()
            host.claim()

        host.after_flush = look

    assert live(body_of(step), script=script).failure.type == "ValueError"
    assert [entry.partition(", ")[2] for entry in ledger] == [f"attempt {n}" for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1), StopAsyncIteration(2), GeneratorExit()]
)
@pytest.mark.parametrize("kind", ["async", "sync"])
def test_what_would_stop_a_worker_is_a_failure_of_the_step(error: BaseException, kind: str) -> None:
    async def asynchronous() -> None:
        raise error

    def synchronous() -> None:
        raise error

    step: Step[[], None] = Step(
        asynchronous if kind == "async" else synchronous, "exits", retry="fixed(1, 1s)"
    )

    async def body() -> str:
        try:
            await step()
        except StepFailed as failed:
            return failed.type
        except RuntimeError as failed:
            return str(failed)
        return ""

    life = live(body)
    assert type(error).__name__ in life.value
    assert life.records[":exits#0"].attempt == 2
    assert replay(life).value == life.value


def test_a_step_that_raises_cancelled_by_itself_has_failed() -> None:
    life = live(body_of(failing(9, lambda n: asyncio.CancelledError(), retry="fixed(1, 1s)")))
    assert life.failure.message == "CancelledError: "
    assert len(ledger) == 2


def test_a_frozen_exception_cannot_take_the_note_and_is_recorded_all_the_same() -> None:
    class Frozen(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    life = live(body_of(failing(9, lambda n: Frozen(n), retry="fixed(1, 1s)")))
    assert "Frozen: 2" in life.failure.message


# -- timeouts


def slow(seconds: float, **options: Any) -> Step[[], str]:
    async def step() -> str:
        ledger.append("begun")
        await asyncio.sleep(seconds)
        return "done"

    return Step(step, "slow", **options)


def test_a_step_that_is_too_slow_times_out_and_is_not_retried() -> None:
    async def body() -> list[Any]:
        try:
            await slow(60, timeout="5s", retry="fixed(3, 1s)")()
        except StepTimeout as error:
            return [str(error), error.step, error.seconds]
        return []

    life = live(body)
    assert life.value == ["step 'slow' did not finish within 5 s", "slow", 5.0]
    assert life.records[":slow#0"].outcome is Outcome.TIMEOUT
    assert ledger == ["begun"]
    assert replay(life).value == life.value


def test_an_uncaught_timeout_says_so_in_the_failure() -> None:
    assert live(body_of(slow(60, timeout="5s"))).failure.kind == "StepTimeout"


def test_a_global_timeout_is_one_deadline_over_all_attempts() -> None:
    step = failing(99, lambda n: ValueError(n), retry="fixed(9, 2s)", timeout="5s")
    assert live(body_of(step)).failure.kind == "StepTimeout"
    assert ledger == ["0 s, attempt 1", "2 s, attempt 2", "4 s, attempt 3"]


def test_a_timeout_per_attempt_begins_anew() -> None:
    step = failing(
        3, lambda n: ValueError(n), retry="fixed(9, 2s)", timeout="3s", timeout_scope="per_attempt"
    )
    assert live(body_of(step)).value == "done"
    assert live(body_of(slow(4, timeout="3s", timeout_scope="per_attempt"))).failure.kind == "StepTimeout"


def test_a_call_may_have_a_timeout_of_its_own() -> None:
    async def body() -> str:
        return await slow(10, timeout="5s")().with_timeout("20s", scope="per_attempt")

    assert live(body).value == "done"


def test_the_global_deadline_survives_a_crash() -> None:
    """The worker dies in the middle: the next one has what is left, not the whole time."""

    async def script(host: MemoryHost) -> None:
        await asyncio.sleep(4)
        host.kill()
        host.claim()
        await host.finish()
        assert asyncio.get_running_loop().time() < 6

    assert live(body_of(slow(60, timeout="5s")), script=script).failure.kind == "StepTimeout"
    assert ledger == ["begun", "begun"]


def test_a_deadline_that_passed_while_nobody_had_the_run_starts_no_attempt() -> None:
    async def script(host: MemoryHost) -> None:
        await asyncio.sleep(1)
        host.kill()
        await asyncio.sleep(60)
        host.claim()

    assert live(body_of(slow(30, timeout="5s")), script=script).failure.kind == "StepTimeout"
    assert ledger == ["begun"]


@pytest.mark.parametrize("what", ["returns", "raises"])
def test_a_step_that_swallows_its_timeout_has_timed_out(what: str) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ledger.append("swallowed")
            if what == "raises":
                raise ValueError("instead") from None
        return "done"

    step: Step[[], str] = Step(stubborn, "stubborn", timeout="5s", retry="fixed(3, 1s)")
    assert live(body_of(step)).failure.kind == "StepTimeout"
    assert ledger == ["swallowed"]


def test_a_timeout_error_of_the_steps_own_is_its_own() -> None:
    def fail(_: int) -> BaseException:
        return TimeoutError("remote 504")

    assert str(live(body_of(failing(9, fail, timeout="60s"))).failure) == "TimeoutError: remote 504"


@asynccontextmanager
async def hosted(body: Body) -> AsyncIterator[MemoryHost]:
    """A host on the real clock, with real threads."""
    host = MemoryHost(Workflow(body, "test"))
    try:
        yield host
    finally:
        host.close()
        host.threads.shutdown()


@real
async def test_a_step_that_blocks_the_loop_past_its_deadline_has_timed_out() -> None:
    async def blocks() -> str:
        time.sleep(0.05)
        return "late"

    async with hosted(body_of(Step(blocks, "blocks", timeout="20ms"))) as host:
        assert (await host.finish())[0] == "failed"
        assert host.records[":blocks#0"].outcome is Outcome.TIMEOUT


@real
async def test_a_sync_step_that_is_too_slow_times_out_at_once_and_its_result_is_dropped() -> None:
    go, ended = threading.Event(), threading.Event()

    def blocks() -> str:
        go.wait(10)
        ended.set()
        return "late"

    async with hosted(body_of(Step(blocks, "blocks", timeout="20ms"))) as host:
        assert (await host.finish())[0] == "failed"
        assert not ended.is_set()
        go.set()
        await asyncio.to_thread(ended.wait, 10)
        assert host.records[":blocks#0"].outcome is Outcome.TIMEOUT


@real
async def test_sync_steps_run_in_threads_with_the_bodys_context_variables() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    def where() -> list[Any]:
        return [threading.current_thread() is threading.main_thread(), variable.get(), context().step_name]

    step: Step[[], list[Any]] = Step(where, "where")

    async def body() -> list[Any]:
        variable.set("of the body")
        return await step()

    async with hosted(body) as host:
        assert await host.finish() == ("completed", b'[false,"of the body","where"]')


@real
@pytest.mark.parametrize("error", [StopIteration(1), SystemExit(2), ValueError(3)])
async def test_what_a_thread_raises_arrives(error: BaseException) -> None:
    def fails() -> None:
        raise error

    async with hosted(body_of(Step(fails, "fails"))) as host:
        state, payload = await host.finish()
        assert state == "failed"
        assert payload is not None
        assert type(error).__name__ in str(faults.failure(payload))


@real
async def test_a_body_may_wait_for_a_thread_of_its_own_and_for_what_it_raises() -> None:
    def stop() -> None:
        raise StopIteration("x")

    async def body() -> list[str]:
        loop = asyncio.get_running_loop()
        found = [await asyncio.to_thread(str.upper, "a"), await loop.run_in_executor(None, str.upper, "b")]
        try:
            await asyncio.to_thread(stop)
        except RuntimeError as error:
            found.append(str(error))
        future = loop.create_future()
        threading.Thread(target=lambda: loop.call_soon_threadsafe(future.set_result, "c")).start()
        found.append(await asyncio.wait_for(future, 60))
        return found

    async with hosted(body) as host:
        assert await host.finish() == ("completed", b'["A","B","StopIteration was raised in a thread","c"]')


# -- what a step may be


def test_a_lambda_around_an_async_function_is_awaited() -> None:
    async def value() -> int:
        return 7

    async def body() -> list[int]:
        return [await capture("a", lambda: value()), await capture("b", value), await capture("c", lambda: 8)]

    assert live(body).value == [7, 7, 8]


def test_a_step_sees_its_own_context_and_does_not_leak_into_others() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    async def sets(text: str) -> list[Any]:
        before = variable.get()
        variable.set(text)
        await asyncio.sleep(0.01)
        return [before, context().step_name, context().attempt, context().idempotency_key]

    step: Step[[str], list[Any]] = Step(sets, "sets")

    async def body() -> list[Any]:
        found = await asyncio.gather(step("a"), step("b"))
        return [*found, variable.get(), context().step_name]

    life = live(body)
    first, second, *rest = life.value
    assert first[:3] == second[:3] == ["unset", "sets", 1]
    assert first[3] != second[3]
    assert rest == ["unset", None]
    assert replay(life).value == life.value


def test_the_idempotency_key_is_the_same_at_every_attempt_and_replay() -> None:
    keys: list[str | None] = []

    async def step() -> None:
        keys.append(context().idempotency_key)
        if len(keys) < 3:
            raise ValueError

    live(body_of(Step(step, "step", retry="fixed(3, 1s)")), script=crash_after(0))
    assert len(keys) >= 3
    assert len(set(keys)) == 1


def test_a_retry_in_a_branch_starts_when_due_while_others_run() -> None:
    times: list[float] = []

    async def flaky() -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            raise ValueError

    step: Step[[], None] = Step(flaky, "flaky", retry="fixed(1, 2s)")

    async def body() -> None:
        await asyncio.gather(step(), slow(30)(), sleep("nap", 60))

    live(body)
    assert times[1] - times[0] == pytest.approx(2, abs=0.01)


def test_a_run_parks_with_the_earliest_due_time_of_its_branches() -> None:
    step = failing(1, lambda n: ValueError(n), retry="fixed(1, 10s)")

    async def body() -> list[Any]:
        return list(await asyncio.gather(step(), sleep("nap", 60), sleep("short", 5)))

    life = live(body, evict=True)
    assert life.value == ["done", None, None]
    assert ledger == ["0 s, attempt 1", "10 s, attempt 2"]
    assert life.host.epoch == 4


def test_a_cancelled_retry_is_not_tried_again() -> None:
    step = failing(9, lambda n: ValueError(n), retry="fixed(9, 1s)")

    async def body() -> str:
        task = asyncio.create_task(step())
        await sleep("nap", 2.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sleep("nap", 10)
        return await note("end")

    life = live(body)
    assert life.value == "end"
    assert life.records[":failing#0"].outcome is Outcome.CANCELLED
    assert len(ledger) == 4  # three attempts and the note
    assert replay(life).value == "end"
    assert ledger == []


def test_a_recorded_outcome_comes_before_a_retry_that_is_due_as_well() -> None:
    """L11: nothing begins while an outcome can be delivered that may still cancel it."""
    step = failing(9, lambda n: ValueError(n), retry="fixed(9, 5s)")

    async def body() -> str:
        task = asyncio.create_task(step())
        await sleep("nap", 5)
        task.cancel()
        return await note("end")

    assert live(body).value == "end"
    assert ledger == ["0 s, attempt 1", "end"]
