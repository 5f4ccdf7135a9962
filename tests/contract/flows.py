"""Workflows of the contract suite. Times are short, so that they pass on a real clock too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from zart_core import (
    EventTimeout,
    Failure,
    NonRetryable,
    PayloadInvalid,
    capture,
    context,
    new_uuid,
    publish,
    saga,
    sleep,
    wait_for_event,
)
from zart_decorators import durable, step

effects: list[str] = []
"""What steps have done, outside of the engine."""


class Order(BaseModel):
    order_id: str
    amount: float = 1.0


class Shipment(BaseModel):
    tracking: str


@dataclass
class Receipt:
    order_id: str
    tracking: str


class Declined(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"declined with {code}")
        self.code = code


@step
async def do(what: str) -> str:
    effects.append(what)
    return what


@step
def do_in_a_thread(what: str) -> tuple[str, int | None]:
    effects.append(what)
    where = context()
    return str(where.step_name), where.attempt


@step("flaky", retry="fixed(2, 20ms)")
async def flaky(fails: int) -> str:
    attempt = context().attempt or 0
    effects.append(f"flaky {attempt}")
    if attempt <= fails:
        raise Declined(code=attempt)
    return f"after {attempt}"


@step("picky", retry="fixed(5, 20ms)", no_retry_on=(KeyError,))
async def picky(how: str) -> None:
    effects.append(f"picky {how}")
    raise {"key": KeyError("k"), "never": NonRetryable("never")}[how]


@step("slow", timeout="60ms")
async def slow() -> None:
    await asyncio.Event().wait()


@step("cannot")
async def cannot() -> None:
    class Local(Exception):
        """Nobody can import it to restore one."""

    raise Local("here only")


@step("odd")
async def odd() -> Any:
    return object()


@durable
async def echo(text: str, times: int = 1) -> str:
    return text * times


@durable
async def echo_again(text: str) -> str:
    return text


@durable("ships", queue="dock", priority=3)
async def ships(order: Order) -> Receipt:
    await do(order.order_id)
    shipment = await wait_for_event("shipped", Shipment)
    return Receipt(order.order_id, shipment.tracking)


@durable
async def hears(names: list[str], timeout: str | None = None) -> list[Any]:
    """Wait for one event of each name, in turn."""
    heard: list[Any] = []
    for name in names:
        try:
            heard.append(await wait_for_event(name, str, timeout=timeout))
        except EventTimeout:
            heard.append(None)
        except PayloadInvalid:
            heard.append("invalid")
    return heard


gate = asyncio.Event()


@step
async def pass_the_gate() -> None:
    await gate.wait()
    effects.append("passed")


@durable
async def busy_hearing() -> None:
    """Hear something while a step goes on."""

    async def hear() -> None:
        await do(await wait_for_event("word", str))

    await asyncio.gather(pass_the_gate(), hear())


@durable
async def late_hearing() -> list[Any]:
    """Give up waiting once, and then hear what comes late."""
    try:
        first = await wait_for_event("word", str, timeout="20ms")
    except EventTimeout:
        first = await do("give up")
    await wait_for_event("go", str)
    return [first, await wait_for_event("word", str)]


@durable
async def naps() -> list[str]:
    """Two branches that sleep; the shorter one is first, whatever the order of the calls."""
    order: list[str] = []

    async def nap(name: str, length: str) -> None:
        await sleep(name, length)
        order.append(await do(name))

    await asyncio.gather(nap("long", "120ms"), nap("short", "20ms"))
    return order


@durable
async def tries(fails: int) -> str:
    try:
        return await flaky(fails)
    except Declined as error:
        return f"{type(error).__name__} {error.code}: {error.__notes__[0]}"


@durable
async def picks(how: str) -> None:
    await picky(how)


@durable
async def times_out() -> None:
    await slow()


@durable("late", timeout="150ms")
async def late() -> None:
    await wait_for_event("never", str)


async def _rescue(failure: Failure, text: str) -> str:
    return await do(f"rescued {text} from {failure.type}")


async def _console(failure: Failure, text: str) -> None:
    await do(f"consoled {text}: {failure.message}")


@durable("handled", on_failure=_rescue, on_cancel=_console, timeout="30s")
async def handled(text: str) -> str:
    if text == "bad":
        raise ValueError(text)
    await wait_for_event("go", str)
    return text


@durable
async def trip(ends: str) -> str:
    async with saga() as s:
        for what in ("seat", "room"):
            await do(f"book {what}")
            s.on_rollback(lambda what=what: do(f"unbook {what}"))  # type: ignore[misc]
        if ends == "badly":
            raise Declined(code=7)
        await wait_for_event("go", str)
    return "booked"


@durable
async def raises(what: str) -> None:
    if what == "declined":
        raise Declined(code=51)
    if what == "cannot":
        await cannot()
    await odd()


def _draw() -> int:
    effects.append("draw")
    return len(effects)


@durable
async def mixed() -> dict[str, Any]:
    first = await do_in_a_thread("first")
    drawn = await capture("draw", _draw)
    made = str(await new_uuid())
    await sleep("pause", "20ms")
    return {"first": list(first), "drawn": drawn, "same": made == await capture("made", lambda: made)}


passes = 0


@durable
async def fickle() -> str:
    """Do something else whenever it is replayed."""
    global passes
    passes += 1
    await (do("one") if passes == 1 else sleep("do", "1ms"))
    await sleep("pause", "400ms")
    return "done"


@durable
async def reports() -> None:
    """Tell how far it is, then wait for an event that may also come by its key."""
    await publish("progress", {"done": 1})
    await publish("progress", {"done": 2})
    await wait_for_event("go", str, key="everyone")


@durable
async def forgetful() -> str:
    """Leave a step out when it is replayed."""
    global passes
    passes += 1
    if passes == 1:
        await do("once")
    await sleep("pause", "400ms")
    return "done"


@durable
async def stares() -> None:
    """Wait for what nothing will bring."""
    await asyncio.get_running_loop().create_future()
