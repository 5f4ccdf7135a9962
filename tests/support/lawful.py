"""Bodies that report what they have seen, so that a test can compare a life without a crash with one that has many."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from tests.support.workflows import take_effect
from zart_core import sleep, wait_for_event
from zart_decorators import durable, step


@step("work")
async def work(name: str, seconds: float = 0.0) -> str:
    take_effect(n=name)
    await asyncio.sleep(seconds)
    return name


@step("roll")
async def roll() -> float:
    """Give something else each time it is run."""
    value = random.random()
    take_effect(value=value)
    return value


@durable("mixed")
async def mixed() -> list[Any]:
    """Steps in sequence and in parallel, a sleep and an event."""
    first = await work("first")
    pair = await asyncio.gather(work("left"), work("right"))
    await sleep("pause", "50ms")
    said = await wait_for_event("said", str)
    return [first, *pair, said, await work("last")]


# -- values and errors


class Colour(Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: tuple[int, ...]


class Money(BaseModel):
    amount: Decimal
    paid: datetime | None = None


class Refused(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"refused with {code}")
        self.code = code


@step
async def give_model() -> Money:
    return Money(amount=Decimal("1.10"), paid=datetime(2026, 1, 2, tzinfo=UTC))


@step
async def give_point() -> Point:
    return Point(1, (2, 3))


@step
async def give_set() -> set[int]:
    return {3, 1, 2}


@step
async def give_enum() -> Colour:
    return Colour.RED


@step
async def give_bytes() -> bytes:
    return b"\xff\x00"


@step
async def give_uuid() -> UUID:
    return UUID(int=7)


@step
async def give_map() -> dict[int, list[Decimal | None]]:
    return {1: [Decimal("0.1"), None]}


@step
async def give_float() -> float:
    return float("inf")


@step
async def refuse() -> None:
    error = Refused(code=51)
    error.add_note("ask again")
    raise error from LookupError("no such card")


@step
async def refuse_many() -> None:
    raise ExceptionGroup("both", [Refused(code=1), ValueError("two")])


@step
async def give_lambda() -> Any:
    return lambda: None


GIVERS: list[Callable[[], Any]] = [
    give_model, give_point, give_set, give_enum, give_bytes, give_uuid, give_map, give_float,
    refuse, refuse_many, give_lambda,
]  # fmt: skip


@durable("values")
async def values() -> list[str]:
    """Tell exactly what each step gave or raised."""
    seen = []
    for give in GIVERS:
        try:
            value = await give()
            seen.append(f"{type(value).__qualname__} {value!r}")
        except Exception as error:
            notes = getattr(error, "__notes__", [])
            seen.append(f"{type(error).__qualname__} {error} {vars(error)} {notes} {error.__cause__!r}")
    return seen


# -- identity and order


async def _branch(name: str, seconds: float) -> str:
    first = await work(f"{name}-1", seconds)
    return f"{first} {await roll()} {await work(f'{name}-2', seconds)}"


@durable("crossing")
async def crossing() -> list[str]:
    """Branches that finish in another order than they begin in, and call a step without arguments."""
    return list(await asyncio.gather(_branch("a", 0.06), _branch("b", 0.03), _branch("c", 0.0)))


@durable("racing")
async def racing() -> list[str]:
    """What arrives when: through `asyncio.wait`, a queue and a list, from steps, a timer and events."""
    seen: list[str] = []
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def step_branch(name: str, seconds: float) -> None:
        await queue.put(await work(name, seconds))
        seen.append(await work(f"{name}-again"))

    async def timer_branch() -> None:
        await sleep("nap", "40ms")
        await queue.put("nap")

    async def event_branch(n: int) -> None:
        await queue.put(await wait_for_event("said", str))
        seen.append(await work(f"heard-{n}"))

    branches = [
        step_branch("fast", 0.0),
        step_branch("slow", 0.08),
        timer_branch(),
        event_branch(1),
        event_branch(2),
    ]
    tasks = [asyncio.create_task(branch) for branch in branches]
    waiting: set[asyncio.Task[None]] = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        seen += [f"task {tasks.index(task)}" for task in tasks if task in done]
        while not queue.empty():
            seen.append(queue.get_nowait())
    await work("end")
    return seen


# -- control flow


@durable("stubborn-body")
async def stubborn_body() -> list[Any]:
    """Catch whatever an Exception can be, around and inside of waits."""
    seen: list[Any] = []
    try:
        with contextlib.suppress(Exception):
            seen.append(await wait_for_event("said", str))
        seen += await asyncio.gather(
            wait_for_event("said", str), wait_for_event("said", str), return_exceptions=True
        )
    except Exception as error:
        seen.append(f"caught {error!r}")
    finally:
        with contextlib.suppress(Exception):
            seen.append(await work("finally"))
    return seen


@durable("giving-up")
async def giving_up() -> list[str]:
    """A sibling that is cancelled by a failure, and a wait that is given up while its event is on its way."""
    seen = []

    async def fails() -> None:
        await work("short", 0.02)
        raise LookupError("enough")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work("never-done", 30))
            group.create_task(wait_for_event("said", str))
            group.create_task(fails())
    except* LookupError:
        seen.append(await work("after"))
    seen.append(await wait_for_event("said", str))
    return [*seen, await work("end")]


@durable("fetching")
async def fetching() -> None:
    await asyncio.open_connection("127.0.0.1", 9)


@durable("forgetful")
async def forgetful() -> str:
    work("forgotten")
    return await work("kept")
