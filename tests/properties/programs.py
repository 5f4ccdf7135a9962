"""Random programs: bodies made of everything that a body may do, and what they tell of what they saw.

A program is a tree of nodes, `(kind, ...)`. Values come from chance, so a step that ran twice shows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from tests.properties.world import jitter, observe, the_world

from zart_core import (
    EventTimeout,
    ExecutionCancelled,
    Step,
    StepFailed,
    StepHandle,
    StepTimeout,
    Workflow,
    as_completed,
    capture,
    context,
    detached,
    fan_out,
    sleep,
    spawn,
    transaction,
    wait_all,
    wait_any,
    wait_first,
    wait_for_event,
)
from zart_core.call import Call, StepCall

T = TypeVar("T")
Node = tuple[Any, ...]


# -- steps


async def _work(tag: str, x: int) -> int:
    world = the_world()
    world.effect()
    await asyncio.sleep(world.pause())
    return world.value()


async def _bare() -> int:
    world = the_world()
    world.effect()
    await asyncio.sleep(world.pause())
    return world.value()


async def _paid(x: int) -> int:
    """Write in the step's own transaction; a start of its own tells nothing, since a lost commit begins it again."""
    world = the_world()
    async with transaction() as conn:
        conn.write(context().idempotency_key)  # type: ignore[attr-defined] # the connection of a host in memory
        await asyncio.sleep(world.pause())
    return world.value()


def _blocking(x: int) -> int:
    the_world().effect()
    return the_world().value()


async def _flaky(x: int) -> int:
    world = the_world()
    world.effect()
    await asyncio.sleep(world.pause())
    if world.chance(0.5):
        raise ValueError(world.value())
    return world.value()


async def _slow(x: int) -> int:
    world = the_world()
    world.effect()
    try:
        await asyncio.sleep(world.pause() * 4)
    except asyncio.CancelledError:
        if world.chance(0.3):
            return world.value()  # swallows its cancellation
        raise
    return world.value()


async def _captured() -> int:
    world = the_world()
    world.effect()
    return world.value()


work: Step[[str, int], int] = Step(_work, "work")
paid: Step[[int], int] = Step(_paid, "paid")
bare: Step[[], int] = Step(_bare, "bare")
blocking: Step[[int], int] = Step(_blocking, "blocking")
flaky: Step[[int], int] = Step(_flaky, "flaky", retry="fixed(2, 5ms)")
late: Step[[int], int] = Step(_flaky, "late", retry="exponential(2, 400ms)")
slow: Step[[int], int] = Step(_slow, "slow", timeout="4ms")
each: Step[[int], int] = Step(_slow, "each", timeout="4ms", timeout_scope="per_attempt")


async def _kid(x: int) -> int:
    raise AssertionError("children live elsewhere")


kid: Workflow[[int], int] = Workflow(_kid, "kid")


# -- making programs

LEAVES: tuple[str, ...] = (
    "step",
    "step",
    "bare",
    "sync",
    "capture",
    "flaky",
    "late",
    "slow",
    "sleep",
    "event",
    "child",
    "child",
    "detached",
    "spawn",
    "spawn",
    "fan",
)
BRANCHES: tuple[str, ...] = (
    "par",
    "group",
    "race",
    "race",
    "list",
    "queue",
    "lock",
    "tasks",
    "shield",
    "patience",
    "handles",
    "handles",
    "completed",
)
SHAPES: tuple[str, ...] = ("seq", "try", "loop", "generator", *BRANCHES)
ORDER_FREE: tuple[str, ...] = ("seq", "loop", "plain")


def make(chance: random.Random, depth: int = 0) -> Node:
    """Return a random program."""
    kind = chance.choice(LEAVES if depth >= 3 else LEAVES[:3] + SHAPES + SHAPES)
    if kind in LEAVES:
        return make_leaf(chance, kind)
    nodes = [make(chance, depth + 1) for _ in range(chance.randrange(2, 4))]
    return (kind, chance.random() < 0.5, nodes)


def make_leaf(chance: random.Random, kind: str) -> Node:
    match kind:
        case "step":
            return (kind, chance.choice("abc"))
        case "sleep":
            return (kind, chance.choice((0, -1, 1, 5, 12)))
        case "spawn":
            return (kind, chance.choice("wwfls"))
        case "fan":
            return (kind, chance.choice((None, 1, 2)), chance.choice((0, 0, 1)))
        case "event":
            return (kind, chance.choice("xy"), chance.choice((None, 5, 20)))
    return (kind,)


def make_waits(chance: random.Random) -> Node:
    """Return a program of branches that wait for one name, one of them in a race that may cancel its wait."""
    wait, nap = ("event", "x", None), ("sleep", chance.choice((1, 5, 12)))
    raced = ("race", True, [wait, chance.choice((nap, ("bare",), ("slow",)))])
    nodes = [raced, wait, chance.choice((raced, wait))]
    chance.shuffle(nodes)
    return ("par", False, nodes)


def make_order_free(chance: random.Random, depth: int = 0) -> Node:
    """Return a random program whose outcome does not depend on who is first."""
    kind = chance.choice(("step", "bare") if depth >= 3 else ("step", "bare", *ORDER_FREE, *ORDER_FREE))
    if kind in ("step", "bare"):
        return make_leaf(chance, kind)
    return (kind, False, [make_order_free(chance, depth + 1) for _ in range(chance.randrange(2, 4))])


def insert(chance: random.Random, node: Node) -> Node:
    """Return an order-free program with one new step in it, at a random place."""
    if node[0] not in ORDER_FREE:
        return ("seq", False, [("new",), node] if chance.random() < 0.5 else [node, ("new",)])
    nodes = list(node[2])
    at = chance.randrange(2)  # a loop uses no more than its first two
    nodes[at] = insert(chance, nodes[at])
    return (node[0], node[1], nodes)


def kinds_of(node: Node) -> list[str]:
    """Return the kinds of all nodes of a program."""
    nodes = node[2] if node[0] in (*SHAPES, *ORDER_FREE) else []
    return [node[0], *(kind for child in nodes for kind in kinds_of(child))]


# -- running programs


async def run(node: Node, x: int = 1) -> int:
    """Do what the program says; return a value that depends on everything it saw."""
    kind = node[0]
    if kind == "new":
        await given_up(
            work("new", x).named("new")
        )  # a call like its neighbour would be taken for it, renamed
        return x
    if kind in _SHAPES:
        return await _SHAPES[kind](node[2], node[1], x)
    value = await _leaf(node, x)
    observe((kind, value))
    return (31 * x + value) % 1_000_003


async def _leaf(node: Node, x: int) -> int:
    match node:
        case ("step", "c"):
            return await given_up(paid(x))
        case ("step", tag):
            return await given_up(work(tag, x).named(f"work-{tag}"))
        case ("bare",):
            return await given_up(bare())
        case ("sync",):
            return await given_up(blocking(x))
        case ("capture",):
            return await given_up(capture("captured", _captured))
        case ("flaky",):
            return await given_up(flaky(x))
        case ("late",):
            return await given_up(late(x))
        case ("slow",):
            try:
                return await given_up(slow(x))
            except StepTimeout:
                return -2
        case ("child",):
            try:
                return await given_up(kid(x))
            except ExecutionCancelled:
                return -3
        case ("detached",):
            child = await given_up(detached(kid.call(x)))
            return len(child.execution_id)
        case ("sleep", length):
            await given_up(sleep("nap", length / 1000))
            return x
        case ("spawn", which):
            try:
                return await spawn(spawnable(which, x))
            except StepTimeout:
                return -3
        case ("fan", width, tolerate):
            found = await fan_out(_tagged, range(x % 4), concurrency=width, tolerate=tolerate)
            observe(("fanned", tuple(map(str, found))))
            return sum(value for value in found if isinstance(value, int))
        case ("event", name, timeout):
            try:
                return await given_up(wait_for_event(name, int, timeout=timeout and timeout / 1000))
            except EventTimeout:
                return -1
    raise AssertionError(node)


def _tagged(i: int) -> StepCall[int]:
    return work("f", i).named("fanned")


def spawnable(which: str, x: int) -> StepCall[int]:
    """Return a call to be spawned: of a step that works, is flaky, retries late, or times out."""
    match which:
        case "f":
            return flaky(x).named("s-flaky")
        case "l":
            return late(x).named("s-late")
        case "s":
            return slow(x).named("s-slow")
    return work(which, x).named("s-work")


async def given_up(call: Call[T]) -> T:
    """Await `call`, and take note if the body cancels it."""
    world = the_world()
    try:
        return await call
    except asyncio.CancelledError:
        world.cancelled(call.identity)
        raise


async def _seq(nodes: list[Node], _flag: bool, x: int) -> int:
    for node in nodes:
        x = await run(node, x)
    return x


async def _try(nodes: list[Node], _flag: bool, x: int) -> int:
    try:
        return await _seq(nodes, False, x)
    except ValueError as error:
        observe(("caught", str(error)))
        return await given_up(bare().named("mend"))


async def _loop(nodes: list[Node], _flag: bool, x: int) -> int:
    for i in range(2):
        x = await run(nodes[i % len(nodes)], x + i)
    return x


async def _par(nodes: list[Node], as_values: bool, x: int) -> int:
    found = await asyncio.gather(*(run(node, x) for node in nodes), return_exceptions=as_values)
    observe(("gathered", tuple(map(str, found))))
    return sum(value for value in found if isinstance(value, int))


async def _plain(nodes: list[Node], _flag: bool, x: int) -> int:
    async def branch(node: Node) -> int:
        await jitter()
        return await run(node, x)

    found = await asyncio.gather(*map(branch, nodes))
    return sum((i + 1) * value for i, value in enumerate(found))


async def _group(nodes: list[Node], more: bool, x: int) -> int:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(node, x)) for node in nodes]
        return sum(task.result() for task in tasks)
    except* ValueError as errors:
        observe(("group", flat(errors)))
    return await given_up(bare().named("after")) if more else x


async def _race(nodes: list[Node], cancel: bool, x: int) -> int:
    tasks = [asyncio.create_task(run(node, x)) for node in nodes]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    first = next(i for i, task in enumerate(tasks) if task.done())
    observe(("first", first, sum(task.done() for task in tasks)))
    if cancel:
        for task in tasks:
            task.cancel()
    else:
        await given_up(bare().named(f"won-{first}"))
    found = await asyncio.gather(*tasks, return_exceptions=True)
    observe(
        (
            "raced",
            tuple(type(value).__name__ if isinstance(value, BaseException) else value for value in found),
        )
    )
    return first


async def _list(nodes: list[Node], _flag: bool, x: int) -> int:
    order: list[int] = []

    async def branch(i: int, node: Node) -> None:
        try:
            await run(node, x)
        except ValueError:
            observe(("failed", i))
        for _ in range(i):
            await asyncio.sleep(0)
        order.append(i)

    await asyncio.gather(*(branch(i, node) for i, node in enumerate(nodes)))
    for i in order:
        await given_up(bare().named(f"listed-{i}"))
    return order[0]


async def _queue(nodes: list[Node], _flag: bool, x: int) -> int:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def producer(node: Node) -> None:
        value = -9
        try:
            value = await run(node, x)
        finally:
            await queue.put(value)

    tasks = [asyncio.create_task(producer(node)) for node in nodes]
    for _ in tasks:
        x = await queue.get()
        observe(("got", x))
        await given_up(blocking(x))
    await asyncio.wait(tasks)
    observe(("produced", tuple(str(task.exception()) for task in tasks)))
    return x


async def _lock(nodes: list[Node], _flag: bool, x: int) -> int:
    lock, log = asyncio.Lock(), [x]

    async def branch(node: Node) -> None:
        value = await run(node, x)
        async with lock:
            log.append(value)
            await given_up(blocking(len(log)))

    await asyncio.gather(*map(branch, nodes), return_exceptions=True)
    observe(("log", tuple(log)))
    return log[-1]


async def _tasks(nodes: list[Node], wait: bool, x: int) -> int:
    """Branches that outlive their maker, unless it waits."""
    tasks = [asyncio.create_task(run(node, x)) for node in nodes[1:]]
    try:
        return await run(nodes[0], x)
    finally:
        if wait:
            await asyncio.wait(tasks)
        for task in tasks:
            task.add_done_callback(lambda t: t.cancelled() or t.exception())


async def _shield(nodes: list[Node], _flag: bool, x: int) -> int:
    inner = asyncio.create_task(run(nodes[0], x))
    outer = asyncio.create_task(_shielded(inner))
    try:
        await run(nodes[1], x)
    finally:
        outer.cancel()
    return await inner


async def _shielded(inner: asyncio.Task[int]) -> int:
    return await asyncio.shield(inner)


async def _patience(nodes: list[Node], _flag: bool, x: int) -> int:
    async with asyncio.timeout(36000), asyncio.Semaphore(1):
        for node in nodes:
            x = await asyncio.wait_for(run(node, x), None if x % 2 else 36000)
    return x


async def _generator(nodes: list[Node], stop: bool, x: int) -> int:
    async def values() -> AsyncIterator[int]:
        try:
            for node in nodes:
                yield await run(node, x)
        finally:
            await given_up(bare().named("closed"))

    async for value in values():
        x = value
        if stop:
            break
    return x


async def _settled(handle: StepHandle[int]) -> str:
    try:
        return str(await handle)
    except (ValueError, StepFailed, StepTimeout) as error:
        return type(error).__name__


async def _handles(nodes: list[Node], cancel: bool, x: int) -> int:
    """Race spawned steps among each other and with the nodes, in the ways there are."""
    handles = [spawn(spawnable("wwfs"[(x + i) % 4], i)) for i in range(3)]
    try:
        index, value = await wait_any(*handles)
        observe(("any", index, value))
        x = await run(nodes[0], index)
        observe(("first two", tuple(await wait_first(2, *handles))))
    except (ValueError, StepTimeout) as error:
        observe(("any failed", str(error)))
        x = await run(nodes[1], x)
    finally:
        if cancel:
            await handles[x % 3].cancel()
            handles.append(spawn(bare().named("s-late-comer")))
    if x % 5 == 0:
        return x  # what is open is cancelled with the run, or goes on till then
    observe(("settled", tuple([await _settled(handle) for handle in handles])))
    try:
        observe(("all", await wait_all(*handles)))
    except (ValueError, StepFailed, StepTimeout) as error:
        observe(("one failed", type(error).__name__))
    return x


async def _completed(nodes: list[Node], stop: bool, x: int) -> int:
    calls: list[Any] = [
        spawn(spawnable("w", x)),
        bare().named("c-bare"),
        sleep("c-nap", 0.003),
        spawn(spawnable("w", x)),
    ]
    arrivals: as_completed[Any] = as_completed(*calls)
    x = await run(nodes[0], x)
    for _ in range(2 if stop else 4):
        try:
            observe(("completed", await anext(arrivals)))
        except ValueError as error:
            observe(("completed", str(error)))
    return await run(nodes[1], x)


_SHAPES: dict[str, Callable[[list[Node], bool, int], Awaitable[int]]] = {
    "seq": _seq,
    "try": _try,
    "loop": _loop,
    "par": _par,
    "plain": _plain,
    "group": _group,
    "race": _race,
    "list": _list,
    "queue": _queue,
    "lock": _lock,
    "tasks": _tasks,
    "shield": _shield,
    "patience": _patience,
    "generator": _generator,
    "handles": _handles,
    "completed": _completed,
}


def flat(error: BaseException) -> str:
    """Return what an error says, with all members of groups in their order."""
    if isinstance(error, BaseExceptionGroup):
        return f"[{', '.join(map(flat, error.exceptions))}]"
    return f"{type(error).__name__}: {error}"
