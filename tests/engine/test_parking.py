"""L14 and section 3: what parks a run, what keeps it active, and what will never end."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.engine.living import ledger, live, note, replay
from tests.support import virtual_time
from tests.support.memory_host import MemoryHost
from tests.support.memory_store import Answer

from zart_core import ConfigurationError, EventTimeout, Step, Workflow, sleep, sleep_until, wait_for_event
from zart_core.items import CollectItem, Item, ParkItem
from zart_core.journal import Outcome


@pytest.mark.parametrize("evict", [False, True])
def test_a_run_that_only_waits_is_parked(evict: bool) -> None:
    async def body() -> list[Any]:
        await sleep("nap", "3d")
        return [await asyncio.gather(sleep("a", 60), sleep("b", 30), note("c")), await note("end")]

    life = live(body, evict=evict)
    assert life.value == [[None, None, "c"], "end"]
    assert life.host.parks == 3
    assert ledger == ["c", "end"]


@pytest.mark.parametrize("length", [0, -5, timedelta(0), timedelta(days=-1)])
def test_a_sleep_of_nothing_keeps_its_identity_and_does_not_park(length: Any) -> None:
    async def body() -> str:
        await sleep("nap", length)
        return await note("end")

    life = live(body)
    assert list(life.records) == [":nap#0", ":note#0"]
    assert life.host.parks == 0
    assert replay(life).value == "end"


@pytest.mark.parametrize("ago", [-60, 60])
def test_a_sleep_until_a_moment(ago: float) -> None:
    async def body() -> str:
        await sleep_until("nap", datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=ago))
        return await note("end")

    life = live(body)
    assert life.value == "end"
    assert list(life.records) == [":nap#0", ":note#0"]


def test_a_naive_moment_is_refused() -> None:
    async def body() -> str:
        with pytest.raises(ConfigurationError):
            sleep_until("nap", datetime(2020, 1, 1))  # noqa: DTZ001 - what is tested
        return await note("end")

    assert live(body).value == "end"


def test_the_wake_time_is_recorded_once() -> None:
    """A crash half way through does not begin the sleep again."""

    async def body() -> float:
        await sleep("nap", 60)
        return asyncio.get_running_loop().time()

    async def script(host: MemoryHost) -> None:
        await asyncio.sleep(30)
        host.kill()
        await asyncio.sleep(10)
        host.claim()

    assert live(body, script=script).value == pytest.approx(60, abs=1)


def test_an_event_before_its_wait_is_kept_and_each_wait_takes_the_oldest() -> None:
    async def body() -> list[int]:
        await sleep("nap", 1)
        return [await wait_for_event("go", int) for _ in range(3)]

    async def script(host: MemoryHost) -> None:
        for payload in (b"1", b"2", b"3"):
            host.send("go", payload)

    assert live(body, script=script).value == [1, 2, 3]


def test_two_waits_of_a_name_are_served_in_their_order() -> None:
    async def body() -> list[int]:
        return list(await asyncio.gather(wait_for_event("go", int), wait_for_event("go", int)))

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: host.is_parked)
        host.send("go", b"1")
        host.send("go", b"2")

    assert live(body, script=script).value == [1, 2]


@pytest.mark.parametrize("evict", [False, True])
def test_a_wait_times_out_and_consumes_nothing(evict: bool) -> None:
    async def body() -> list[Any]:
        try:
            await wait_for_event("go", int, timeout="10s")
        except EventTimeout as error:
            found: list[Any] = [error.name, error.seconds]
        return [*found, await wait_for_event("go", int)]

    async def script(host: MemoryHost) -> None:
        await asyncio.sleep(20)
        host.send("go", b"1")

    life = live(body, script=script, evict=evict)
    assert life.value == ["go", 10.0, 1]
    assert life.records[":go#0"].outcome is Outcome.TIMEOUT
    assert replay(life).value == life.value


def test_a_cancelled_wait_gives_its_event_to_the_next() -> None:
    """The event had come for it, but the body was told something else first."""
    times: list[float] = []

    async def slow() -> None:
        await asyncio.sleep(1)

    step: Step[[], None] = Step(slow, "slow")

    async def body() -> int:
        waits = asyncio.create_task(wait_for_event("go", int))
        await step()
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        times.append(asyncio.get_running_loop().time())
        return await wait_for_event("go", int)

    async def script(host: MemoryHost) -> None:
        await asyncio.sleep(0.5)
        host.store.send("go", b"5", 0.5)  # accepted, but the worker does not look before the step is over

    life = live(body, script=script)
    assert life.value == 5
    assert life.records[":go#0"].outcome is Outcome.CANCELLED
    assert list(life.store.consumed) == [":go#1"]
    assert replay(life).value == 5


# -- in memory


def test_a_body_that_sleeps_in_memory_keeps_its_slot_and_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> str:
        await asyncio.sleep(60)
        return await note("end")

    life = live(body)
    assert life.host.parks == 0
    assert caplog.text.count("cannot park") == 1


def test_a_body_that_works_under_a_timeout_in_memory_is_not_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        await asyncio.sleep(3)

    step: Step[[], None] = Step(work, "work")

    async def body() -> None:
        async with asyncio.timeout(3600):
            for _ in range(10):
                await step()

    live(body)
    assert "cannot park" not in caplog.text


def test_a_timer_in_memory_keeps_a_waiting_run_active() -> None:
    async def body() -> str:
        try:
            async with asyncio.timeout(60):
                await wait_for_event("never")
        except TimeoutError:
            return await note("end")
        return ""

    life = live(body)
    assert life.value == "end"
    assert life.host.parks == 0
    assert life.records[":never#0"].outcome is Outcome.CANCELLED


def test_a_body_that_waits_for_nothing_recorded_is_blocked() -> None:
    async def body() -> None:
        await note("a")
        await asyncio.get_running_loop().create_future()

    life = live(body)
    assert life.state == "blocked"
    assert "nothing recorded will ever bring" in life.reason


def test_a_body_that_waits_for_a_call_it_once_cancelled_is_blocked() -> None:
    """Its code has changed: the cancel that the record tells of never comes."""

    async def body(cancel: bool) -> str:
        waits = asyncio.create_task(wait_for_event("go"))
        await note("a")
        if cancel:
            waits.cancel()
            await asyncio.gather(waits, return_exceptions=True)
        else:
            await waits
        await note("b")
        raise ValueError

    life = live(body, True)
    life.host.input = b'{"cancel": false}'

    async def main() -> tuple[str, bytes | None]:
        store = life.store.copy()
        store.ending = None
        host = MemoryHost(Workflow(body, "test"), False, store=store)
        return await host.finish()

    state, payload = virtual_time.run(main())
    assert state == "blocked"
    assert payload is not None
    assert b"cancelled when it ran before" in payload


def test_a_body_that_never_waits_is_warned_about(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart_core.executor.IDLE_WARNING", 0.05)

    async def body() -> str:
        task = asyncio.create_task(note("a"))
        while not task.done() and "cannot go on" not in caplog.text:
            await asyncio.sleep(0)
        return await task

    async def main() -> tuple[str, bytes | None]:
        return await MemoryHost(Workflow(body, "test")).finish()

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(main()) == ("completed", b'"a"')
    assert caplog.text.count("cannot go on") == 1


# -- what happens while a park is under way


def test_a_run_that_was_not_parked_asks_for_what_has_come() -> None:
    items: list[str] = []

    async def body() -> int:
        return await wait_for_event("go", int)

    async def script(host: MemoryHost) -> None:
        put = host.put

        def watch(item: Item) -> None:
            items.append(type(item).__name__)
            if isinstance(item, ParkItem) and "CollectItem" not in items:
                host.store.send("go", b"1", host.loop.time())
            put(item)

        host.put = watch  # type: ignore[method-assign] # an event comes between the decision to park and the park

    assert live(body, script=script).value == 1
    assert items[-3:] == ["ParkItem", CollectItem.__name__, "EndItem"]


def test_a_run_that_is_not_parked_again_and_again_does_not_hammer_the_database() -> None:
    """As when somebody has asked to cancel it, and the worker has not looked yet."""
    parks: list[float] = []

    async def body() -> int:
        return await wait_for_event("go", int)

    async def script(host: MemoryHost) -> None:
        commit = host.store.commit

        def refuse(item: Item, now: float) -> Answer:
            if isinstance(item, ParkItem) and now < 1:
                parks.append(now)
                return Answer("unparked")
            return commit(item, now)

        host.store.commit = refuse  # type: ignore[method-assign] # the database refuses for a second
        await asyncio.sleep(2)
        host.send("go", b"1")

    assert live(body, script=script).value == 1
    assert 10 < len(parks) < 30


def test_no_attempt_begins_while_a_park_is_under_way() -> None:
    attempts: list[int] = []

    async def flaky() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError
        return "done"

    step: Step[[], str] = Step(flaky, "flaky", retry="fixed(1, 200ms)")

    async def body() -> str:
        return await step()

    async def script(host: MemoryHost) -> None:
        put, held = host.put, list[Item]()
        host.put = lambda item: held.append(item) if isinstance(item, ParkItem) else put(item)  # type: ignore[method-assign] # the database hangs
        await host.until(lambda: bool(held))
        await asyncio.sleep(1)
        assert len(attempts) == 1
        host.put = put  # type: ignore[method-assign] # it answers
        put(held[0])

    assert live(body, script=script).value == "done"
