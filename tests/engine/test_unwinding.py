"""L7: a body that is stopped from outside unwinds, whatever its code does with exceptions, and nothing of it counts."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.engine.living import Body, bare, ledger, live, note
from tests.support import virtual_time
from tests.support.memory_host import MemoryHost

from zart_core import Step, Workflow, sleep, unwinding, wait_for_event
from zart_core.control import DeadlinePassed, LeaseLost, RunCancelled, Signal, Suspend
from zart_core.executor import ActiveRun
from zart_core.host import Left

log: list[str] = []


async def _forever() -> None:
    await asyncio.Event().wait()


forever: Step[[], None] = Step(_forever, "forever")

wait: Callable[[], Awaitable[Any]] = forever


async def plain() -> None:
    await wait()
    log.append("after")


async def except_exception() -> None:
    try:
        await wait()
    except Exception:
        log.append("caught")
    log.append("after")


async def suppress_exception() -> None:
    with contextlib.suppress(Exception):
        await wait()
    log.append("after")


async def except_cancelled() -> None:
    try:
        await wait()
    except asyncio.CancelledError:
        log.append("cancelled")
        raise


async def swallow_once() -> None:
    try:
        await wait()
    except BaseException:
        log.append("swallowed")
    await note("next")
    log.append("after")


async def swallow_for_ever() -> None:
    while True:
        try:
            await wait()
            return
        except BaseException:
            log.append("swallowed")


async def durable_finally() -> None:
    try:
        await wait()
    finally:
        await note("cleanup")
        log.append("after")


async def finally_in_memory() -> None:
    try:
        await wait()
    finally:
        log.append("closing")
        await asyncio.sleep(0)
        await asyncio.sleep(0.3)
        log.append("closed")


@contextlib.asynccontextmanager
async def client() -> AsyncIterator[None]:
    log.append("open")
    try:
        yield
    finally:
        await asyncio.sleep(0)
        log.append("closed")


async def context_manager() -> None:
    async with client():
        await wait()
    log.append("after")


async def task_group() -> None:
    async def branch() -> None:
        try:
            await wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(branch())
            group.create_task(branch())
    except* Exception:
        log.append("caught")
    log.append("after")


async def gather_exceptions() -> None:
    async def branch() -> Any:
        return await wait()

    found = await asyncio.gather(branch(), branch(), wait(), return_exceptions=True)
    log.append(f"gathered {found}")
    await note("next")


async def timeout() -> None:
    try:
        async with asyncio.timeout(3600):
            await wait()
    except TimeoutError:
        log.append("timeout")
    log.append("after")


async def wait_for() -> None:
    async def branch() -> None:
        try:
            await wait()
        finally:
            log.append("branch left")

    try:
        await asyncio.wait_for(branch(), 3600)
    except TimeoutError:
        log.append("timeout")


async def shield() -> None:
    async def branch() -> None:
        try:
            await wait()
        finally:
            log.append("branch left")

    await asyncio.shield(branch())


async def orphan() -> None:
    async def branch() -> None:
        try:
            await wait()
        finally:
            log.append("branch left")

    task = asyncio.create_task(branch())
    await wait()
    await task


async def async_generator() -> None:
    async def values() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            log.append("generator left")

    async for _ in values():
        await wait()


async def generator() -> None:
    def values() -> Iterator[int]:
        try:
            yield 1
        finally:
            log.append("generator left")

    for _ in values():
        await wait()


async def raises_in_finally() -> None:
    try:
        await wait()
    finally:
        raise ValueError("in finally")


async def waits_in_memory() -> None:
    async def branch() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("branch left")

    await asyncio.gather(branch(), wait())


async def never_stops_waiting() -> None:
    try:
        await wait()
    finally:
        while True:
            with contextlib.suppress(BaseException):
                await asyncio.Event().wait()


SHAPES: dict[Body, list[str]] = {
    plain: [],
    except_exception: [],
    suppress_exception: [],
    except_cancelled: [],
    swallow_once: ["swallowed"],
    swallow_for_ever: ["swallowed", "swallowed", "swallowed"],
    durable_finally: [],
    finally_in_memory: ["closing", "closed"],
    context_manager: ["open", "closed"],
    task_group: [],
    gather_exceptions: [],
    timeout: [],
    wait_for: ["branch left"],
    shield: ["branch left"],
    orphan: ["branch left"],
    async_generator: ["generator left"],
    generator: ["generator left"],
    raises_in_finally: [],
    waits_in_memory: ["branch left"],
    never_stops_waiting: [],
}
SWALLOWS = {swallow_for_ever}
"""What they log depends on how often they are told; only that they end is promised."""

shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)


def stopped(shape: Body, how: Callable[[ActiveRun], None], *, park: bool) -> ActiveRun:
    """Run `shape` until it waits, parked or active, stop it, and return what is left of it."""
    global wait
    log.clear()
    ledger.clear()
    wait = (lambda: wait_for_event("never")) if park else forever

    async def main() -> ActiveRun:
        host = MemoryHost(Workflow(shape, "test"))
        run = host.claim()
        await host.until(lambda: host.is_parked if park else bool(run.attempts.running))
        epoch = host.epoch
        how(run)
        await host.until(lambda: run._unwinding.is_over)
        assert host.epoch == epoch
        host.close()
        return run

    run = virtual_time.run(main())
    gc.collect()
    return run


def check_nothing_is_left(run: ActiveRun, shape: Body) -> None:
    assert run.loop.live_tasks() == []
    assert not run.loop.timers
    assert not run.loop.ready
    assert ledger == []
    if shape not in SWALLOWS:
        assert log == SHAPES[shape]


@pytest.mark.filterwarnings("error")
@shapes
def test_l7_an_evicted_body_unwinds_and_records_nothing(shape: Body) -> None:
    def evict(run: ActiveRun) -> None:
        before = list(run.journal._records)
        run.evict()
        assert list(run.journal._records) == before

    park = shape not in (timeout, wait_for)  # they do not park: their timers are in memory
    run = stopped(shape, evict if park else lambda run: run.lost(), park=park)
    check_nothing_is_left(run, shape)


@shapes
def test_l4_a_body_whose_lease_is_lost_unwinds_and_writes_nothing_more(shape: Body) -> None:
    def lose(run: ActiveRun) -> None:
        run.lost()
        host: Any = run.host
        host.put = lambda item: pytest.fail(f"{item} was put")

    run = stopped(shape, lose, park=False)
    assert run.gone is Left.LOST
    assert run._unwinding.signal is LeaseLost
    check_nothing_is_left(run, shape)


@shapes
@pytest.mark.parametrize("signal", [RunCancelled, DeadlinePassed])
def test_a_cancelled_body_unwinds_and_the_run_ends_as_the_signal_says(
    shape: Body, signal: type[Signal]
) -> None:
    global wait
    wait = forever
    log.clear()

    async def script(host: MemoryHost) -> None:
        run = host.run
        assert run is not None
        await host.until(lambda: bool(run.attempts.running))
        host.stop(signal, "enough")

    life = live(shape, script=script)
    if signal is RunCancelled:
        assert (life.state, life.reason) == ("cancelled", "enough")
    else:
        assert life.failure.kind == "DeadlineExceeded"
    assert [r for r in life.records.values() if r.identity.split(":")[1] != "forever#0"] == []
    if shape not in SWALLOWS:
        assert log == SHAPES[shape]


async def waits_for_three() -> None:
    seen: list[str] = []

    async def branch(name: str) -> None:
        try:
            await wait()
        except BaseException as error:
            seen.append(name)
            log.append(f"{name} {type(error).__name__}")
            raise

    await asyncio.gather(branch("a"), branch("b"), branch("c"))


def test_every_branch_meets_the_signal_in_the_order_in_which_it_was_made() -> None:
    stopped(waits_for_three, lambda run: run.evict(), park=True)
    assert log == ["a Suspend", "b Suspend", "c Suspend"]


async def tries_again() -> None:
    for _ in range(50):
        try:
            await note("again")
        except BaseException as error:
            log.append(type(error).__name__)


async def waits_then_tries_again() -> None:
    try:
        await wait()
    finally:
        await tries_again()


def test_a_stopped_body_is_refused_once_more_and_then_its_calls_never_return() -> None:
    stopped(waits_then_tries_again, lambda run: run.evict(), park=True)
    gc.collect()
    assert log[:2] == ["Suspend", "CancelledError"]
    assert set(log[2:]) == {"GeneratorExit"}
    assert ledger == []


def test_clean_up_in_memory_gets_a_second_and_no_more() -> None:
    async def body() -> None:
        try:
            await wait()
        finally:
            for i in range(10):
                await asyncio.sleep(0.3)
                log.append(str(i))

    stopped(body, lambda run: run.evict(), park=True)
    assert log == ["0", "1", "2"]


def test_parking_runs_no_code_of_the_user() -> None:
    log.clear()

    async def body() -> None:
        try:
            await sleep("nap", 60)
        finally:
            log.append(f"left at {asyncio.get_running_loop().time() >= 60}")

    live(body)
    assert log == ["left at True"]


def test_a_drained_body_is_frozen_and_handed_back() -> None:
    log.clear()

    async def body() -> list[Any]:
        try:
            return list(await asyncio.gather(wait(), note("a")))
        finally:
            log.append("left")

    async def main() -> None:
        host = MemoryHost(Workflow(body, "test"))
        run = host.claim()
        await host.until(lambda: bool(run.attempts.running))
        run.drain()
        await host.until(lambda: ":note#0" in host.records)
        assert run.gone is None  # the other step still runs
        run.abort_steps()
        assert log == []
        await host.until(lambda: run.gone is Left.RELEASED)
        assert list(host.records) == [":note#0"]
        host.close()

    global wait
    wait = forever
    virtual_time.run(main())


def test_a_drained_run_starts_no_retry() -> None:
    async def main() -> None:
        host = MemoryHost(Workflow(body, "test"))
        run = host.claim()
        await host.until(lambda: bool(host.store.failures))
        run.drain()
        await asyncio.sleep(60)
        assert ledger == ["fails"]
        run.abort_steps()
        await host.until(lambda: run.gone is Left.RELEASED)
        host.close()

    async def fail() -> None:
        ledger.append("fails")
        raise ValueError

    failing: Step[[], None] = Step(fail, "failing", retry="fixed(3, 1s)")

    async def body() -> None:
        await asyncio.gather(forever(), failing())

    ledger.clear()
    virtual_time.run(main())


def test_a_draining_run_can_still_be_cancelled() -> None:
    async def script(host: MemoryHost) -> None:
        assert host.run is not None
        run = host.run
        await host.until(lambda: bool(run.attempts.running))
        run.drain()
        host.stop(RunCancelled, "enough")

    async def body() -> None:
        await forever()

    assert live(body, script=script).state == "cancelled"


def test_steps_that_swallow_their_cancellation_are_not_recorded_when_the_run_is_stopped() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ledger.append("swallowed")
        return "done"

    async def turns_it_into_an_error() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("interrupted") from None

    stubborn_step: Step[[], str] = Step(stubborn, "stubborn")
    erring_step: Step[[], None] = Step(turns_it_into_an_error, "erring", retry="fixed(3, 1s)")

    async def body() -> None:
        await asyncio.gather(stubborn_step(), erring_step())

    async def main() -> None:
        host = MemoryHost(Workflow(body, "test"))
        run = host.claim()
        await host.until(lambda: len(run.attempts.running) == 2)
        await asyncio.sleep(0.1)
        run.drain()
        run.abort_steps()
        await host.until(lambda: run.gone is Left.RELEASED)
        assert (host.records, host.store.failures) == ({}, {})
        host.close()

    ledger.clear()
    virtual_time.run(main())
    assert ledger == ["swallowed"]


async def _cancels_itself() -> str:
    ledger.append("begun")
    if len(ledger) == 1:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
    return "done"


def test_l6_a_step_that_was_cancelled_from_outside_is_tried_again() -> None:
    step: Step[[], str] = Step(_cancels_itself, "cancelled")

    async def body() -> str:
        return await step()

    life = live(body)
    assert (life.value, ledger) == ("done", ["begun", "begun"])
    assert life.records[":cancelled#0"].attempt == 1


def test_a_body_that_ends_leaves_no_branch_behind(caplog: pytest.LogCaptureFixture) -> None:
    log.clear()

    async def branch() -> None:
        try:
            await forever()
        finally:
            log.append("branch left")
            await note("cleanup")

    async def body() -> str:
        asyncio.create_task(branch())
        asyncio.create_task(wait_for_event_long())
        await asyncio.sleep(0)
        return await note("end")

    async def wait_for_event_long() -> None:
        await wait_for_event("never")

    life = live(body)
    assert life.value == "end"
    assert log == ["branch left"]
    assert set(life.records) == {":note#0"}
    assert "forever, never" in caplog.text


def test_a_signal_is_no_exception() -> None:
    for signal in (Suspend, LeaseLost, RunCancelled, DeadlinePassed):
        assert not issubclass(signal, Exception)


def test_a_stopped_run_does_not_wait_for_a_thread() -> None:
    """Its result is discarded; the thread goes on."""
    import threading

    go = threading.Event()

    def block() -> str:
        go.wait(10)
        return "late"

    blocking: Step[[], str] = Step(block, "blocking")

    async def body() -> str:
        return await blocking()

    async def main() -> None:
        host = MemoryHost(Workflow(body, "test"))
        run = host.claim()
        await host.until(lambda: bool(run.attempts.running))
        await asyncio.sleep(0.01)
        host.stop(RunCancelled, "enough")
        assert (await host.finish())[0] == "cancelled"
        assert not host.records
        go.set()
        host.threads.shutdown()

    asyncio.run(main())


def test_a_body_that_spins_when_it_is_stopped_does_not_hold_up_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unwinding, "GRACE", 0.1)

    async def spins() -> None:
        await bare()
        while True:
            with contextlib.suppress(BaseException):
                await asyncio.sleep(0)

    async def body() -> None:
        await asyncio.gather(spins(), spins(), *(forever() for _ in range(100)))

    async def main() -> None:
        host = MemoryHost(Workflow(body, "test"))
        run = host.claim()
        await host.until(lambda: len(run.attempts.running) == 100)
        began = time.monotonic()
        host.stop(RunCancelled, "enough")
        assert time.monotonic() - began < 0.5
        assert (await host.finish())[0] == "cancelled"
        host.close()

    asyncio.run(main())
