"""Heartbeats of steps on a host in memory: silence, details, and what the next attempt learns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.living import ledger, live, replay
from tests.support.memory_host import MemoryHost

from zart_core import (
    NotInRun,
    PayloadInvalid,
    Step,
    StepTimeout,
    capture,
    context,
    heartbeat,
    last_heartbeat,
    sleep,
)
from zart_core.items import AttemptItem, Item
from zart_core.journal import Outcome


def test_a_silent_step_is_failed_as_timed_out_and_retried_like_an_error() -> None:
    async def step() -> int:
        ledger.append(f"attempt {context().attempt}")
        if context().attempt == 3:
            return 3
        await asyncio.sleep(60)
        return 0

    silent: Step[[], int] = Step(step, "silent", retry="fixed(2, 1s)", heartbeat_timeout="5s")

    async def body() -> int:
        return await silent()

    life = live(body)
    assert life.value == 3
    assert ledger == ["attempt 1", "attempt 2", "attempt 3"]
    assert life.store.failures[":silent#0"].failed == 2


def test_when_attempts_are_spent_the_silence_is_a_step_timeout() -> None:
    async def step() -> None:
        await asyncio.sleep(60)

    silent: Step[[], None] = Step(step, "silent", retry="fixed(1, 1s)", heartbeat_timeout=5)

    async def body() -> str:
        try:
            await silent()
        except StepTimeout as error:
            return f"{error.silent} {error.seconds:g} {error}"
        return "no error"

    life = live(body)
    assert life.value == "True 5 step 'silent' sent no heartbeat for 5 s"
    assert life.records[":silent#0"].outcome is Outcome.TIMEOUT
    assert replay(life).value == life.value


@pytest.mark.parametrize(
    ("options", "attempts"),
    [
        ({"no_retry_on": (TimeoutError,)}, 1),
        ({"retry_on": (ValueError,)}, 1),
        ({"retry_on": (StepTimeout,)}, 3),
    ],
)
def test_what_is_retried_decides_about_silence_too(options: dict[str, Any], attempts: int) -> None:
    async def step() -> None:
        ledger.append("attempt")
        await asyncio.sleep(60)

    silent: Step[[], None] = Step(step, "silent", retry="fixed(2, 1s)", heartbeat_timeout=5, **options)

    async def body() -> str:
        with pytest.raises(StepTimeout):
            await silent()
        return "silent"

    assert live(body).value == "silent"
    assert len(ledger) == attempts


def test_a_step_that_beats_may_take_its_time_and_writes_once_a_second_at_most() -> None:
    written: list[bytes | None] = []

    async def step() -> int:
        for n in range(100):
            heartbeat({"n": n})
            await asyncio.sleep(0.1)
        return 100

    busy: Step[[], int] = Step(step, "busy", heartbeat_timeout=1)

    async def body() -> int:
        return await busy()

    async def script(host: MemoryHost) -> None:
        def look(item: Item) -> None:
            if isinstance(item, AttemptItem):
                written.append(item.heartbeat)

        host.after_flush = look

    assert live(body, script=script).value == 100
    assert 9 <= len(written) <= 11
    assert written[0] == b'{"n":0}'


def test_a_beat_without_details_is_never_written() -> None:
    async def step() -> int:
        for _ in range(10):
            heartbeat()
            await asyncio.sleep(1)
        return 1

    busy: Step[[], int] = Step(step, "busy", heartbeat_timeout=2)

    async def body() -> int:
        return await busy()

    life = live(body)
    assert life.value == 1
    assert life.store.failures == {}


@pytest.mark.parametrize("end", ["error", "silence"])
def test_the_next_attempt_gets_the_latest_details(end: str) -> None:
    async def step() -> list[Any]:
        before = last_heartbeat()
        ledger.append(f"{before}")
        if before == 5:
            return [before]
        for n in range(6):
            heartbeat(n)
            await asyncio.sleep(0.01)  # faster than they are written
        assert last_heartbeat() == 5
        if end == "error":
            raise ValueError("try again")
        await asyncio.sleep(60)
        return []

    going_on: Step[[], list[Any]] = Step(step, "going-on", retry="fixed(1, 1h)", heartbeat_timeout=10)

    async def body() -> list[Any]:
        return await going_on()

    assert live(body, evict=True).value == [5]
    assert ledger == ["None", "5"]


def test_details_survive_the_death_of_the_worker() -> None:
    async def step() -> Any:
        if (before := last_heartbeat()) is not None:
            return [before, context().attempt]
        heartbeat({"page": 7})
        await asyncio.sleep(60)
        return None

    dying: Step[[], Any] = Step(step, "dying")

    async def body() -> Any:
        return await dying()

    async def script(host: MemoryHost) -> None:
        await host.until(lambda: bool(host.store.failures))
        host.kill()
        host.claim()

    assert live(body, script=script).value == [{"page": 7}, 1]


def test_details_that_are_no_json_are_the_steps_own_error() -> None:
    async def step() -> str:
        with pytest.raises(PayloadInvalid, match="details of a heartbeat"):
            heartbeat(object())
        return "refused"

    refusing: Step[[], str] = Step(step, "refusing")

    async def body() -> str:
        return await refusing()

    assert live(body).value == "refused"


def test_a_body_and_a_program_have_no_heart() -> None:
    async def body() -> str:
        for operation in (heartbeat, last_heartbeat):
            with pytest.raises(NotInRun, match="only inside a step"):
                operation()
        await sleep("a while", 1)
        return str(await capture("in a step", _beat))

    assert live(body).value == "7"
    with pytest.raises(NotInRun):
        heartbeat()
    with pytest.raises(NotInRun):
        last_heartbeat()


async def _beat() -> int:
    heartbeat(7)
    return int(last_heartbeat())
