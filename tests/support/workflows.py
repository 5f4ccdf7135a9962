"""Workflows for worker processes. Each step writes a line to the ledger, which lies outside of the engine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tests.support.cluster import LEDGER
from zart_core import (
    EventTimeout,
    Failure,
    StepTimeout,
    context,
    continue_as_new,
    now,
    publish,
    saga,
    sleep,
    wait_for_event,
)
from zart_decorators import durable, step


class GatewayDown(Exception):
    pass


class CardDeclined(Exception):
    pass


class Order(BaseModel):
    order_id: str
    amount: float


class Shipment(BaseModel):
    tracking: str


class Receipt(BaseModel):
    order_id: str
    transaction: str
    tracking: str


def take_effect(**facts: Any) -> int:
    """Write one line to the ledger, durably; return how many the step has written for its execution."""
    where = context()
    line = {
        "step": where.step_name,
        "execution": where.execution_id,
        "attempt": where.attempt,
        "pid": os.getpid(),
        "at": time.monotonic(),
        **facts,
    }
    path = os.environ[LEDGER]
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
        os.fsync(file)
    finally:
        os.close(file)
    mine = [json.loads(each) for each in Path(path).read_text().splitlines()]
    return sum(each["step"] == where.step_name and each["execution"] == where.execution_id for each in mine)


@step("validate")
async def validate(order_id: str) -> str:
    take_effect()
    return f"address of {order_id}"


@step("pay", retry="fixed(3, 50ms)", no_retry_on=CardDeclined)
async def pay(order_id: str, amount: float) -> str:
    if take_effect() == 1:
        raise GatewayDown("try again")
    return f"txn-{order_id}-{amount}"


@step("reserve")
def reserve(order_id: str) -> None:
    take_effect()


@durable("order", timeout="10m")
async def order(order: Order) -> Receipt:
    await validate(order.order_id)
    transaction = await pay(order.order_id, order.amount)
    await reserve(order.order_id)
    await sleep("settle", "50ms")
    shipment = await wait_for_event("shipped", Shipment, timeout="1h")
    return Receipt(order_id=order.order_id, transaction=transaction, tracking=shipment.tracking)


@step("first-{n}")
async def first(n: int) -> int:
    take_effect()
    return n * 10


@step("second-{n}")
def second(n: int, value: int) -> int:
    take_effect()
    return value + n


async def _branch(n: int) -> int:
    return await second(n, await first(n))


@durable("branches")
async def branches() -> list[int]:
    return list(await asyncio.gather(*(_branch(n) for n in range(3))))


@step("decline")
async def decline() -> None:
    take_effect()
    raise CardDeclined("no")


@step("slow")
async def slow() -> str:
    take_effect()
    await asyncio.Event().wait()
    return "never"


@step("apologise")
async def apologise(reason: str) -> str:
    take_effect()
    return f"sorry: {reason}"


@durable("siblings")
async def siblings() -> str:
    reason = "nothing"
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(slow())
            group.create_task(decline())
    except* CardDeclined as declined:
        reason = str(declined.exceptions[0])
    return await apologise(reason)


@step("charge")
async def charge() -> int:
    """Freeze this process after the effect and before its record, the first time."""
    if (times := take_effect()) == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return times


@step("ship")
async def ship(charged: int) -> str:
    take_effect()
    return f"shipped after charge {charged}"


@durable("frozen")
async def frozen() -> str:
    return await ship(await charge())


@step("block-loop")
async def block_loop(seconds: float) -> int:
    take_effect()
    time.sleep(seconds)
    return os.getpid()


@durable("blocking")
async def blocking(seconds: float) -> int:
    return await block_loop(seconds)


@step("count", retry="fixed(3, 50ms)")
async def count(n: int, seconds: float = 0) -> int:
    take_effect(n=n)
    await asyncio.sleep(seconds)
    return n


@step("count-in-thread")
def count_in_thread(n: int, seconds: float = 0) -> int:
    take_effect(n=n)
    time.sleep(seconds)
    return n


@durable("counting")
async def counting(steps: int, seconds: float = 0) -> list[int]:
    return [await count(n, seconds) for n in range(steps)]


@durable("counting-in-threads")
async def counting_in_threads(steps: int, seconds: float = 0) -> list[int]:
    return [await count_in_thread(n, seconds) for n in range(steps)]


@step("stubborn")
async def stubborn(seconds: float) -> str:
    """Swallow every cancellation until the time is up."""
    take_effect()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            await asyncio.sleep(end - time.monotonic())
        except asyncio.CancelledError:
            take_effect(cancelled=True)
    return "done"


@step("hang")
async def hang() -> int:
    """Wait for ever the first time, and tell when that is over."""
    if (times := take_effect()) == 1:
        try:
            await asyncio.Event().wait()
        finally:
            take_effect(over=True)
    return times


@durable("hanging")
async def hanging() -> int:
    return await hang()


@durable("obstinate")
async def obstinate(seconds: float) -> str:
    return await stubborn(seconds)


@durable("clock")
async def clock(seconds: float) -> float:
    """Return how long a sleep took by the database's clock."""
    before = await now()
    await sleep("nap", seconds)
    return (await now() - before).total_seconds()


@step("flaky", retry="fixed(2, 300ms)")
async def flaky(seconds: float) -> int:
    """Fail at once, fail after some time, succeed."""
    if (times := take_effect()) == 2:
        await asyncio.sleep(seconds)
    if times < 3:
        raise GatewayDown("try again")
    return times


@durable("flaky")
async def retrying(seconds: float = 0) -> int:
    return await flaky(seconds)


@durable("limited", timeout="1s")
async def limited(seconds: float) -> int:
    return await count(0, seconds)


@step("finish")
async def finish(n: int) -> int:
    take_effect()
    return n


@durable("three-steps")
async def three_steps(seconds: float) -> int:
    """A long step, async or not, between two short ones."""
    await finish(0)
    n = await count(1, seconds)
    return await finish(n)


@durable("three-steps-in-threads")
async def three_steps_in_threads(seconds: float) -> int:
    await finish(0)
    n = await count_in_thread(1, seconds)
    return await finish(n)


@durable("listening")
async def listening() -> str:
    """Take a step, wait for an event, take another step."""
    await finish(0)
    said = await wait_for_event("said", str)
    await finish(1)
    return said


@durable("pausing")
async def pausing(seconds: float) -> str:
    """Take a step of that length, then wait for an event."""
    await count(0, seconds)
    return await wait_for_event("said", str)


@durable("impatient")
async def impatient(seconds: float) -> str:
    """Wait for an event that never comes."""
    try:
        await wait_for_event("never", timeout=seconds)
    except EventTimeout:
        return "EventTimeout"
    return "an event"


@durable("timed-step")
async def timed_step(seconds: float) -> str:
    try:
        await count(0, 60).with_timeout(seconds)
    except StepTimeout:
        return "StepTimeout"
    return "in time"


@durable("limited-in-thread", timeout="1s")
async def limited_in_thread(seconds: float) -> int:
    return await count_in_thread(0, seconds)


@durable("limited-wait", timeout="1s")
async def limited_wait() -> Any:
    return await wait_for_event("never")


@durable("limited-obstinate", timeout="1s")
async def limited_obstinate(seconds: float) -> str:
    return await stubborn(seconds)


@durable("swallowing", timeout="1s")
async def swallowing() -> str:
    while True:
        try:
            await count(0, 60)
        except BaseException:
            continue


@durable("unstoppable")
async def unstoppable() -> str:
    while True:
        try:
            await count(0, 60)
        except BaseException:
            continue


@durable("failing")
async def failing() -> None:
    raise LookupError("nothing there")


@durable("napping")
async def napping(seconds: float) -> str:
    """Take a step of that length, then sleep for a minute."""
    await count(0, seconds)
    await sleep("nap", "1m")
    return "rested"


@durable("dozing")
async def dozing(seconds: float) -> str:
    """Wait in memory, as a body should not."""
    await asyncio.sleep(seconds)
    return "awake"


@step("tick")
async def tick(n: int) -> int:
    return n


@durable("plain")
async def plain(steps: int) -> int:
    for n in range(steps):
        await tick(n)
    return steps


@step("fail")
async def fail(reason: str) -> None:
    take_effect()
    raise ValueError(reason)


@step("refund")
async def refund(reason: str) -> str:
    take_effect()
    return f"refunded: {reason}"


@step("clean-up")
async def clean_up(reason: str) -> None:
    take_effect(reason=reason)


async def refund_failed(failure: Failure, _reason: str) -> str:
    return await refund(str(failure))


async def clean_up_cancelled(failure: Failure, _reason: str) -> None:
    await clean_up(failure.message)


@durable("handled", on_failure=refund_failed, on_cancel=clean_up_cancelled)
async def handled(reason: str) -> str:
    if reason:
        await fail(reason)
    return await wait_for_event("never", str)


async def tell_type(failure: Failure) -> str:
    return failure.type


@durable("handled-late", timeout="1s", on_failure=tell_type)
async def handled_late() -> str:
    return await wait_for_event("never", str)


@step("die")
async def die() -> None:
    take_effect()
    os.kill(os.getpid(), signal.SIGKILL)


@durable("poison", max_crashes=3)
async def poison() -> None:
    await die()


@step("book")
async def book(what: str) -> str:
    take_effect(what=what)
    return what


@step("unbook")
async def unbook(what: str) -> None:
    take_effect(what=what)


@durable("trip", timeout="5m")
async def trip() -> str:
    async with saga() as s:
        for what in ("seat", "room"):
            booked = await book(what)
            s.on_rollback(lambda booked=booked: unbook(booked))  # type: ignore[misc] # mypy cannot infer it
        return await wait_for_event("never", str)


@durable("late-trip", timeout="1s", on_failure=tell_type)
async def late_trip() -> str:
    return await trip.fn()


@durable("looping", timeout="10m")
async def looping(n: int, last: int) -> int:
    """Take one step a run, and go on as a new run until `last`."""
    await count(n)
    if n < last:
        continue_as_new(n + 1, last)
    return n


@durable("bare-loop")
async def bare_loop(n: int) -> int:
    """Go on as a new run `n` times."""
    if n:
        continue_as_new(n - 1)
    return context().run_index


@step("heard")
async def heard(n: int) -> None:
    take_effect(n=n)


@durable("draining")
async def draining(last: int) -> None:
    """Take one event a run, until it is `last`."""
    n = await wait_for_event("number", int)
    await heard(n)
    if n != last:
        continue_as_new(last)


@step("mend", retry="fixed(1, 10ms)")
async def mend(failures: int) -> int:
    """Fail that many times, in whatever run; return the number of the attempt."""
    if take_effect() <= failures:
        raise GatewayDown("try again")
    attempt = context().attempt
    assert attempt is not None
    return attempt


@durable("mending", timeout="10m")
async def mending(failures: int) -> int:
    await finish(0)
    attempt = await mend(failures)
    await count(attempt)
    return attempt


@durable("announcing")
async def announcing(failures: int) -> int:
    await publish("progress", 1)
    await publish("stage", "first")
    await publish("progress", 2)
    return await mend(failures)
