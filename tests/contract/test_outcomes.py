"""How runs go and end: the same whether executions are kept in PostgreSQL or in memory."""

from __future__ import annotations

import pytest

from tests.contract import flows
from tests.contract.conftest import World
from zart_core import (
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionFailed,
    IllegalTransition,
    NonRetryable,
    RunState,
    StepFailed,
    StepTimeout,
    WaitTimeout,
)

pytestmark = pytest.mark.anyio


async def test_a_cancel_ends_what_waits_and_may_be_repeated(world: World) -> None:
    handle = await world.start(flows.hears, ["a"])
    await world.until(handle, RunState.WAITING)
    assert await handle.cancel("enough") is RunState.CANCELLED
    assert await handle.cancel("again") is RunState.CANCELLED
    with pytest.raises(ExecutionCancelled) as caught:
        await handle.result(20)
    assert caught.value.reason == "enough"
    details = await handle.describe()
    assert (details.state, str(details.failure), details.waiting_for) == (
        "cancelled",
        "RunCancelled: enough",
        [],
    )
    assert [step.state for step in details.steps] == []
    done = await world.start(flows.echo, "a")
    await done.result(20)
    with pytest.raises(IllegalTransition, match=r"cannot cancel execution .* it is completed"):
        await done.cancel()


async def test_a_run_that_never_began_is_cancelled_at_once(world: World) -> None:
    handle = await world.start(flows.handled, "a", delay="1h")
    assert await handle.cancel() is RunState.CANCELLED
    assert (flows.effects, await handle.status()) == ([], RunState.CANCELLED)


@pytest.mark.parametrize(
    ("fails", "result", "tried"),
    [
        (0, "after 1", 1),
        (2, "after 3", 3),
        (3, "Declined 3: step 'flaky' failed 3 times", 3),
    ],
)
async def test_a_step_is_tried_again_until_its_attempts_are_spent(
    world: World, fails: int, result: str, tried: int
) -> None:
    handle = await world.start(flows.tries, fails)
    assert await handle.result(20) == result
    assert flows.effects == [f"flaky {number + 1}" for number in range(tried)]
    (step,) = (await handle.describe()).steps
    assert (step.name, step.kind, step.attempt) == ("flaky", "step", tried)
    assert [attempt.number for attempt in step.attempts] == list(range(1, tried + 1))
    assert [attempt.failure is not None for attempt in step.attempts] == [
        number <= fails for number in range(1, tried + 1)
    ]


@pytest.mark.parametrize(("how", "error"), [("key", KeyError), ("never", NonRetryable)])
async def test_what_is_not_to_be_retried_fails_at_once(
    world: World, how: str, error: type[Exception]
) -> None:
    handle = await world.start(flows.picks, how)
    with pytest.raises(ExecutionFailed) as caught:
        await handle.result(20)
    assert type(caught.value.failure.exception) is error
    assert flows.effects == [f"picky {how}"]


async def test_a_step_that_takes_too_long_times_out(world: World) -> None:
    handle = await world.start(flows.times_out)
    with pytest.raises(WaitTimeout):
        await handle.result(0.01)  # in memory, time passes only for who waits
    with pytest.raises(ExecutionFailed) as caught:
        await handle.result(1)
    assert isinstance(caught.value.failure.exception, StepTimeout)
    (step,) = (await handle.describe()).steps
    assert step.state == "timed_out"


async def test_a_workflow_that_takes_too_long_fails(world: World) -> None:
    handle = await world.start(flows.late)
    with pytest.raises(ExecutionFailed) as caught:
        await handle.result(20)
    assert caught.value.failure.kind == "DeadlineExceeded"
    details = await handle.describe()
    assert details.run.started_at is not None
    assert details.deadline is not None
    assert (details.deadline - details.run.started_at).total_seconds() == pytest.approx(0.15, abs=0.1)


async def test_timers_fire_in_their_order(world: World) -> None:
    handle = await world.start(flows.naps)
    assert await handle.result(20) == ["short", "long"]
    assert flows.effects == ["short", "long"]


async def test_on_failure_gives_the_result(world: World) -> None:
    handle = await world.start(flows.handled, "bad")
    assert await handle.result(20) == "rescued bad from ValueError"
    assert flows.effects == ["rescued bad from ValueError"]


async def test_on_cancel_runs_before_the_run_is_cancelled(world: World) -> None:
    handle = await world.start(flows.handled, "good")
    await world.until(handle, RunState.WAITING)
    assert await handle.cancel("no more") is RunState.RUNNING
    with pytest.raises(ExecutionCancelled, match="no more"):
        await handle.result(20)
    assert flows.effects == ["consoled good: no more"]


async def test_a_saga_is_rolled_back_in_reverse_when_its_block_raises(world: World) -> None:
    handle = await world.start(flows.trip, "badly")
    with pytest.raises(ExecutionFailed, match="declined with 7"):
        await handle.result(20)
    assert flows.effects == ["book seat", "book room", "unbook room", "unbook seat"]


async def test_a_saga_is_rolled_back_when_the_run_is_cancelled(world: World) -> None:
    handle = await world.start(flows.trip, "well")
    await world.until(handle, RunState.WAITING)
    await handle.cancel()
    with pytest.raises(ExecutionCancelled):
        await handle.result(20)
    assert flows.effects == ["book seat", "book room", "unbook room", "unbook seat"]


async def test_an_error_comes_with_its_type_and_attributes(world: World) -> None:
    handle = await world.start(flows.raises, "declined")
    with pytest.raises(ExecutionFailed) as caught:
        await handle.result(20)
    failure = caught.value.failure
    assert (failure.kind, str(failure)) == ("error", "Declined: declined with 51")
    assert isinstance(failure.exception, flows.Declined)
    assert failure.exception.code == 51
    assert "in raises" in failure.traceback


async def test_an_error_that_cannot_be_restored_arrives_as_one_that_can(world: World) -> None:
    handle = await world.start(flows.raises, "cannot")
    with pytest.raises(ExecutionFailed) as caught:
        await handle.result(20)
    assert isinstance(caught.value.failure.exception, StepFailed)
    assert "Local" in caught.value.failure.message


async def test_a_value_that_cannot_be_kept_is_the_failure_of_its_step(world: World) -> None:
    handle = await world.start(flows.raises, "odd")
    with pytest.raises(ExecutionFailed) as caught:
        await handle.result(20)
    assert caught.value.failure.kind == "PayloadInvalid"
    (step,) = (await handle.describe()).steps
    assert (step.name, step.state) == ("odd", "failed")


async def test_captured_values_and_threads_come_once(world: World) -> None:
    handle = await world.start(flows.mixed)
    assert await handle.result(20) == {"first": ["do-in-a-thread", 1], "drawn": 2, "same": True}
    assert flows.effects == ["first", "draw"]


async def test_a_body_that_does_something_else_on_replay_is_blocked(world: World) -> None:
    handle = await world.start(flows.fickle)
    with pytest.raises(ExecutionBlocked) as caught:
        await handle.result(20)
    details = (await handle.describe()).divergence
    assert details == caught.value.divergence
    assert details is not None
    assert details.recorded is not None
    assert details.current is not None
    assert (details.code, details.recorded.kind, details.current.kind) == ("ZART-D001", "step", "sleep")
    assert details.recorded.worker
    assert await handle.status() is RunState.BLOCKED
    assert flows.effects == ["one"]
    assert await handle.cancel() is RunState.CANCELLED


async def test_a_body_that_waits_for_nothing_is_blocked(world: World) -> None:
    handle = await world.start(flows.stares)
    with pytest.raises(ExecutionBlocked, match="nothing recorded will ever bring"):
        await handle.result(20)
