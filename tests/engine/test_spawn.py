"""Section 5: spawned steps, handles and the waits for several of them; L1, L3, L5, L10-L12, L14."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.engine.living import Life, Script, bare, crash_after, ledger, live, note, replay, started
from tests.support.memory_host import MemoryHost

from zart_core import (
    CallNotAwaited,
    CallReused,
    ConfigurationError,
    Context,
    Failure,
    NotInRun,
    PayloadInvalid,
    Registry,
    Step,
    StepFailed,
    StepHandle,
    StepTimeout,
    UsageError,
    Workflow,
    WrongTask,
    as_completed,
    context,
    continue_as_new,
    fan_out,
    saga,
    sleep,
    spawn,
    wait_all,
    wait_any,
    wait_first,
    wait_for_event,
)
from zart_core.journal import Kind, Outcome


async def _slow(name: str, seconds: float) -> str:
    ledger.append(f"{name} begins")
    await asyncio.sleep(seconds)
    ledger.append(name)
    return name


async def _failing(name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    raise KeyError(name)


async def _flaky(name: str) -> int:
    attempt = context().attempt or 0
    ledger.append(f"{name} {attempt}")
    if attempt < 3:
        raise ValueError(attempt)
    return attempt


def _blocking(x: int) -> int:
    ledger.append(f"blocking {x}")
    return 2 * x


slow = Step[[str, float], str](_slow, "slow")
failing = Step[[str, float], str](_failing, "failing")
flaky = Step[[str], int](_flaky, "flaky", retry="fixed(3, 1h)")
blocking = Step[[int], int](_blocking, "blocking")
EVICT = pytest.mark.parametrize("evict", [False, True])


def listed(value: Any) -> Any:
    """Return `value` as JSON gives it back."""
    return [listed(each) for each in value] if isinstance(value, list | tuple) else value


def done() -> list[str]:
    return [entry for entry in ledger if not entry.endswith("begins")]


def lived(body: Any, *, script: Script | None = None, **options: Any) -> Life:
    """Live `body`, and find that a replay begins nothing and ends the same."""
    life = live(body, script=script, **options)
    before = list(ledger)
    again = replay(life, body)
    assert (again.state, again.payload) == (life.state, life.payload)
    assert started == []
    assert ledger == []
    ledger.extend(before)
    return life


# -- one handle


@EVICT
def test_a_spawned_step_runs_as_a_task_of_its_own_and_its_handle_brings_the_result(evict: bool) -> None:
    async def body() -> list[str]:
        handle = spawn(slow("a", 60))
        assert isinstance(handle, StepHandle)
        assert handle.name == "slow"
        first = await note("meanwhile")
        return [first, await handle]

    life = lived(body, evict=evict)
    assert life.value == ["meanwhile", "a"]
    assert life.records[":slow#0"].kind is Kind.SPAWN
    assert life.host.parks == 1, "it parks while the step runs (L14)"


@EVICT
def test_a_handle_may_be_awaited_again_and_by_several_branches(evict: bool) -> None:
    async def body() -> Any:
        handle = spawn(slow("a", 5))

        async def wait() -> str:
            return await handle

        both = await asyncio.gather(wait(), wait())
        return listed([*both, await handle, await wait_all(handle, handle)])

    assert lived(body, evict=evict).value == ["a", "a", "a", ["a", "a"]]
    assert done() == ["a"]


def test_a_failure_is_raised_wherever_its_handle_is_awaited() -> None:
    async def body() -> list[str]:
        handle = spawn(failing("a", 1))
        found = []
        for _ in range(2):
            try:
                await handle
            except KeyError as error:
                found.append(str(error))
        return found

    assert lived(body).value == ["'a'", "'a'"]


def test_context_in_a_spawned_step_gives_the_facts_of_its_run() -> None:
    async def facts() -> list[Any]:
        here = context()
        return [here.execution_id, here.run_id, here.step_name, here.attempt, here.idempotency_key]

    step = Step[[], list[Any]](facts, "facts")

    async def body() -> list[Any]:
        return [await spawn(step().keyed("k")), await step().keyed("k2")]

    spawned, plain = lived(body).value
    assert spawned[:4] == plain[:4]
    assert spawned[4] != plain[4]


def test_the_key_of_a_spawned_step_is_that_of_the_same_call_in_the_body() -> None:
    async def key() -> str:
        return str(context().idempotency_key)

    step = Step[[], str](key, "key")

    async def spawning() -> str:
        return await spawn(step())

    async def calling() -> str:
        return await step()

    assert live(spawning).value == live(calling).value


@EVICT
def test_a_sync_step_and_the_options_of_the_call_work_as_in_the_body(evict: bool) -> None:
    async def body() -> list[Any]:
        sync = spawn(blocking(4).named("other"))
        late = spawn(slow("late", 60).with_timeout("5s"))
        retried = spawn(failing("a", 0).with_retry("fixed(2, 10m)"))
        found: list[Any] = [await sync]
        for handle in (late, retried):
            try:
                await handle
            except (StepTimeout, KeyError) as error:
                found.append([type(error).__name__, *getattr(error, "__notes__", [])])
        return found

    life = lived(body, evict=evict)
    assert life.value == [8, ["StepTimeout"], ["KeyError", "step 'failing' failed 3 times"]]
    assert life.records[":other#0"].outcome is Outcome.OK
    assert life.records[":slow#0"].outcome is Outcome.TIMEOUT


@EVICT
def test_a_long_retry_delay_gives_the_task_back_and_a_crash_does_not_reset_the_attempts(evict: bool) -> None:
    async def script(host: MemoryHost) -> None:
        await asyncio.sleep(1.5 * 3600)
        assert ledger == ["a 1", "a 2"]
        host.kill()
        host.claim()

    async def body() -> int:
        return await spawn(flaky("a"))

    assert lived(body, script=script, evict=evict).value == 3
    assert ledger == ["a 1", "a 2", "a 3"]


# -- waits


def test_wait_all_gives_results_in_the_order_of_the_handles() -> None:
    async def body() -> Any:
        pair = await wait_all(spawn(slow("a", 9)), spawn(blocking(1)))
        return listed([pair, await wait_all()])

    assert lived(body).value == [["a", 2], []]


def test_wait_all_raises_the_first_failure_at_once_and_the_others_go_on() -> None:
    async def body() -> list[Any]:
        slow_one = spawn(slow("a", 100))
        try:
            await wait_all(slow_one, spawn(failing("b", 5)), spawn(failing("c", 50)))
        except KeyError as error:
            found = [str(error), len(done())]
        return [*found, await slow_one]

    assert lived(body).value == ["'b'", 0, "a"]


@EVICT
def test_wait_any_and_wait_first_go_by_the_order_of_finishing_and_losers_may_still_be_awaited(
    evict: bool,
) -> None:
    async def body() -> Any:
        handles = [spawn(slow(name, seconds)) for name, seconds in (("a", 30), ("b", 10), ("c", 20))]
        first = await wait_any(*handles)
        two = await wait_first(2, *handles)
        return listed([first, two, await handles[0], await wait_first(3, *handles)])

    assert lived(body, evict=evict).value == [
        [1, "b"],
        [[1, "b"], [2, "c"]],
        "a",
        [[1, "b"], [2, "c"], [0, "a"]],
    ]


def test_wait_any_raises_if_the_first_to_finish_failed() -> None:
    async def body() -> str:
        with pytest.raises(KeyError):
            await wait_any(spawn(slow("a", 30)), spawn(failing("b", 10)))
        return "raised"

    assert lived(body).value == "raised"


def test_spawning_more_after_a_wait_in_a_loop() -> None:
    async def body() -> Any:
        found: list[Any] = []
        open_ = [spawn(slow(str(i), 10 * (i + 1))) for i in range(3)]
        for i in range(3, 6):
            index, value = await wait_any(*open_)
            found.append(value)
            open_[index] = spawn(slow(str(i), 4))
        return listed([*found, await wait_all(*open_)])

    assert lived(body).value == ["0", "3", "4", ["5", "1", "2"]]


@EVICT
def test_as_completed_mixes_calls_and_handles_in_the_order_of_their_records(evict: bool) -> None:
    async def body() -> list[Any]:
        given: list[Any] = [spawn(slow("a", 30)), sleep("nap", 20), slow("b", 10), spawn(slow("c", 5))]
        return [[index, value] async for index, value in as_completed(*given)]

    assert lived(body, evict=evict).value == [[3, "c"], [2, "b"], [1, None], [0, "a"]]


def test_as_completed_raises_a_failure_where_it_comes_and_may_go_on() -> None:
    async def body() -> list[Any]:
        found: list[Any] = []
        arrivals = as_completed(failing("a", 10), spawn(slow("b", 20)))
        with pytest.raises(KeyError):
            await anext(arrivals)
        async for pair in arrivals:
            found.append(listed(pair))
        return found

    assert lived(body).value == [[1, "b"]]


@EVICT
@pytest.mark.parametrize("concurrency", [None, 1, 3, 50])
def test_fan_out_gives_results_in_the_order_of_the_items(evict: bool, concurrency: int | None) -> None:
    running: list[int] = []

    async def each(i: int) -> int:
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(10 - i)
        running.pop()
        return i * i

    most: list[int] = []
    step = Step[[int], int](each, "each")

    async def body() -> list[int]:
        return await fan_out(step, range(7), concurrency=concurrency)

    assert lived(body, evict=evict).value == [i * i for i in range(7)]
    assert max(most) == min(concurrency or 7, 7)


def test_fan_out_identifies_by_key_and_takes_an_empty_list() -> None:
    async def body() -> list[Any]:
        return [await fan_out(blocking, [3, 4], key=lambda i: f"k{i}"), await fan_out(blocking, [])]

    life = lived(body)
    assert life.value == [[6, 8], []]
    assert set(life.records) == {":blocking#=k3", ":blocking#=k4"}


async def _odd(i: int) -> int:
    await asyncio.sleep(i)
    ledger.append(str(i))
    if i % 2:
        raise KeyError(i)
    return i


odd = Step[[int], int](_odd, "odd")


def test_fan_out_lets_tolerated_failures_stand_in_the_list() -> None:
    async def body() -> list[str]:
        return [str(value) for value in await fan_out(odd, range(1, 5), tolerate=2)]

    assert lived(body).value == ["1", "2", "3", "4"]


def test_one_failure_more_than_tolerated_is_raised_and_what_is_open_is_cancelled() -> None:
    async def body() -> str:
        try:
            await fan_out(odd, range(1, 100), tolerate=1, concurrency=4)
        except KeyError as error:
            await sleep("nap", 1000)
            return str(error)
        raise AssertionError

    life = lived(body)
    assert life.value == "3"
    assert done() == ["1", "2", "3"]
    withdrawn = [i for i, record in life.records.items() if record.outcome is Outcome.CANCELLED_ELSEWHERE]
    assert withdrawn == [f":odd#{n}" for n in (3, 4, 5)]


def test_calls_of_a_fan_out_are_numbered_when_it_is_called() -> None:
    async def body() -> list[Any]:
        fan = fan_out(blocking, [1, 2])
        single = await blocking(9)
        return [single, await fan]

    life = lived(body)
    assert life.value == [18, [2, 4]]
    assert life.records[":blocking#2"].kind is Kind.STEP


# -- cancel


@EVICT
def test_a_cancelled_step_makes_its_handle_raise_a_failure_of_kind_cancelled(evict: bool) -> None:
    async def body() -> list[str]:
        handle = spawn(slow("a", 100))
        await sleep("nap", 10)
        await handle.cancel()
        try:
            await handle
        except StepFailed as error:
            return [error.kind, str(error)]
        raise AssertionError

    life = lived(body, evict=evict)
    assert life.value == ["cancelled", "StepCancelled: spawned step 'slow' was cancelled"]
    assert ledger == ["a begins"]


def test_a_cancel_after_the_end_leaves_the_steps_own_outcome() -> None:
    async def body() -> list[Any]:
        handle = spawn(slow("a", 5))
        await sleep("nap", 10)
        await handle.cancel()
        return [await handle]

    assert lived(body).value == ["a"]


def test_a_step_that_is_cancelled_at_once_never_begins() -> None:
    async def body() -> str:
        handle = spawn(slow("a", 5))
        await handle.cancel()
        with pytest.raises(StepFailed):
            await handle
        return "over"

    assert lived(body).value == "over"
    assert ledger == []


@pytest.mark.parametrize("records", range(4))
def test_a_crash_at_any_record_around_a_cancel_gives_one_outcome(records: int) -> None:
    async def body() -> list[Any]:
        handle = spawn(slow("a", 5))
        await note("x")
        await sleep("nap", 3)
        await handle.cancel()
        return [
            type(value).__name__ for value in await asyncio.gather(settled(handle), return_exceptions=True)
        ]

    async def settled(handle: StepHandle[str]) -> str:
        return await handle

    assert lived(body, script=crash_after(records)).value == ["StepFailed"]


def test_giving_up_the_waiting_does_not_cancel_the_step() -> None:
    async def body() -> list[Any]:
        handle = spawn(slow("a", 50))

        async def wait() -> str:
            return await handle

        waiting = asyncio.create_task(wait())
        await sleep("nap", 1)
        waiting.cancel()
        await asyncio.wait([waiting])
        return [waiting.cancelled(), await handle]

    assert lived(body).value == [True, "a"]
    assert done() == ["a"]


# -- ends, crashes


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_what_is_open_when_the_body_ends_is_cancelled_and_named(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> str:
        spawn(slow("a", 50).named("left behind"))
        await note("x")
        if how == "raises":
            raise KeyError(how)
        return how

    with caplog.at_level(logging.WARNING, "zart"):
        life = live(body)
    assert life.state == {"returns": "completed", "raises": "failed"}[how]
    assert [r.getMessage() for r in caplog.records if "left behind" in r.getMessage()]
    assert life.store.spawned == {}
    assert done() == ["x"]


@EVICT
@pytest.mark.parametrize("records", range(1, 5))
def test_a_crash_repeats_no_recorded_step(evict: bool, records: int) -> None:
    async def body() -> list[int]:
        return [*await wait_all(*(spawn(blocking(i).keyed(str(i))) for i in range(4))), await bare()]

    lived(body, script=crash_after(records), evict=evict)
    counts = {entry: ledger.count(entry) for entry in ledger}
    assert len(counts) == 5
    assert max(counts.values()) == 1


def test_nothing_is_spawned_while_a_recorded_outcome_can_still_be_delivered() -> None:
    """L11: on replay the spawn waits until all that is recorded has reached the body."""

    async def body() -> str:
        first = asyncio.create_task(branch("a"))
        second = asyncio.create_task(branch("b"))
        await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        first.cancel()
        return await second

    async def branch(name: str) -> str:
        await note(name)
        return await spawn(slow(name, 5))

    lived(body)
    lived(body, script=crash_after(2))


def test_a_spawned_step_that_was_awaited_before_blocks_the_run() -> None:
    async def before() -> str:
        return await note("x")

    async def after() -> str:
        return await spawn(note("x"))

    life = replay(live(before), after)
    assert life.state == "blocked"
    assert "recorded as a step, and today's code makes a spawn of it" in life.reason


def test_other_arguments_of_a_spawned_step_are_found(caplog: pytest.LogCaptureFixture) -> None:
    async def before() -> str:
        return await spawn(note("x"))

    async def after() -> str:
        return await spawn(note("y"))

    with caplog.at_level(logging.WARNING, "zart"):
        assert replay(live(before), after).value == "x"
    assert "recorded with other arguments" in caplog.text


def test_a_handler_spawns_steps_of_its_own_and_the_bodys_are_gone() -> None:
    async def fail() -> str:
        spawn(slow("body", 50))
        await note("x")
        raise KeyError

    async def handler(_: Failure) -> str:
        return await spawn(slow("handler", 60))

    life = live(Workflow(fail, "failing", on_failure=handler))
    assert life.value == "handler"
    assert done() == ["x", "handler"]
    assert set(life.records) == {":note#0", "!:slow#0"}


@EVICT
def test_a_rollback_may_spawn_and_the_replay_before_it_begins_nothing(evict: bool) -> None:
    async def body() -> None:
        async with saga() as s:
            await spawn(slow("done", 5))
            s.on_rollback(lambda: spawn_and_wait("undone"))
            spawn(slow("open", 500))
            await wait_for_event("never")

    async def spawn_and_wait(name: str) -> str:
        return await spawn(slow(name, 5))

    async def script(host: MemoryHost) -> None:
        await asyncio.sleep(50)
        host.stop()

    life = live(body, script=script, evict=evict)
    assert life.state == "cancelled"
    assert done() == ["done", "undone"]


def test_a_run_does_not_continue_as_new_beside_an_open_handle() -> None:
    async def body(first: bool) -> str:
        handle = spawn(slow("a", 5))
        with pytest.raises(UsageError, match="slow"):
            await continue_as_new(False)
        return await handle

    assert live(body, True).value == "a"


# -- misuse


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: lambda: 1, ConfigurationError, "takes the call of a step"),
        (lambda: _slow("a", 1), ConfigurationError, "takes the call of a step"),
        (lambda: sleep("nap", 1), ConfigurationError, "takes the call of a step"),
        (lambda: Context().step("x", lambda: 1), ConfigurationError, "could not find its function"),
        (lambda: Context().step("x", _blocking, 1), ConfigurationError, "could not find its function"),
        (lambda: Step(lambda: 1, "x")(), ConfigurationError, "could not find its function"),
        (lambda: blocking("text"), PayloadInvalid, "argument 'x'"),  # type: ignore[arg-type]
        (lambda: Step(_anything, "anything")(object()), PayloadInvalid, "argument 'x'"),
    ],
)
def test_what_cannot_be_spawned_is_refused_before_any_effect(
    make: Callable[[], Any], error: type[Exception], text: str
) -> None:
    async def body() -> str:
        with pytest.raises(error, match=text):
            spawn(make())
        return await note("end")

    life = lived(body)
    assert life.value == "end"
    assert list(life.records) == [":note#0"]
    assert life.host.store.spawned == {}


def _anything(x: Any) -> None: ...


def test_fan_out_with_one_bad_item_spawns_none() -> None:
    async def body() -> str:
        with pytest.raises(PayloadInvalid):
            fan_out(blocking, [1, "two"])  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="takes the call of a step"):
            fan_out(lambda x: x, [1])  # type: ignore[arg-type, return-value]
        with pytest.raises(ConfigurationError, match="concurrency"):
            fan_out(blocking, [1], concurrency=0)
        with pytest.raises(ConfigurationError, match="tolerate"):
            fan_out(blocking, [1], tolerate=-1)
        return await note("end")

    life = lived(body)
    assert life.value == "end"
    assert done() == ["end"]


def test_a_call_is_spawned_or_awaited_once() -> None:
    async def body() -> str:
        call = note("x")
        handle = spawn(call)
        with pytest.raises(CallReused):
            await call
        again = note("y")
        await again
        with pytest.raises(CallReused):
            spawn(again)
        return await handle

    assert lived(body).value == "x"


def test_a_handle_of_another_run_is_refused() -> None:
    kept: list[StepHandle[str]] = []

    async def first() -> None:
        kept.append(spawn(note("x")))
        await kept[0]

    async def second() -> str:
        for use in (lambda: wait_all(kept[0]), lambda: kept[0].cancel(), lambda: as_completed(kept[0])):
            with pytest.raises(WrongTask, match="belongs to another run"):
                use()
        with pytest.raises(WrongTask):
            await kept[0]
        return await note("end")

    live(first)
    assert live(second).value == "end"


def test_waits_take_handles_and_counts_that_make_sense() -> None:
    async def body() -> str:
        call = note("x")
        with pytest.raises(ConfigurationError, match="takes handles"):
            wait_all(call)  # type: ignore[call-overload]
        handle = spawn(call)
        for count in (0, 2, True, "1"):
            with pytest.raises(UsageError, match="it needs at least one"):
                wait_first(count, handle)  # type: ignore[arg-type]
        with pytest.raises(UsageError):
            wait_any()
        return await handle

    assert lived(body).value == "x"


def test_a_wait_that_is_forgotten_fails_the_run() -> None:
    async def body() -> None:
        wait_all(spawn(note("x")))

    assert live(body).failure.type == CallNotAwaited.__name__


def test_a_wait_that_is_awaited_twice_is_refused() -> None:
    async def body() -> str:
        wait = wait_any(spawn(note("x")))
        await wait
        with pytest.raises(CallReused):
            await wait
        return "end"

    assert lived(body).value == "end"


def test_waits_may_be_given_to_gather_and_tasks() -> None:
    async def body() -> Any:
        a, b = spawn(slow("a", 5)), spawn(slow("b", 9))
        waiting = asyncio.create_task(wait_any(a, b))
        return listed([await asyncio.gather(wait_all(a, b), wait_first(1, b)), await waiting])

    assert lived(body).value == [[["a", "b"], [[0, "b"]]], [0, "a"]]


def test_outside_a_body_nothing_is_spawned() -> None:
    with pytest.raises(NotInRun):
        spawn(note("x"))
    with pytest.raises(NotInRun):
        fan_out(note, ["x"])
    with pytest.raises(NotInRun):
        wait_all()


def test_the_context_style_has_the_same_operations() -> None:
    async def fn(ctx: Context) -> Any:
        handle = ctx.spawn(blocking(1))
        return listed([await ctx.wait_all(handle), await ctx.fan_out(blocking, [2])])

    workflow: Workflow[..., Any] = Registry().workflow("w", fn)
    assert live(workflow).value == [[2], [4]]
