"""Spawning steps, and waiting for several: compositions over the ordered delivery, with no records of their own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from zart_core.call import Call, StepCall
from zart_core.current import require_body
from zart_core.errors import ConfigurationError, UsageError
from zart_core.handles import Arrivals, CompositeCall, Spawn, StepHandle, spawn_of
from zart_core.spawning import Settled

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")


def spawn(call: StepCall[T]) -> StepHandle[T]:
    """Make a step a task of its own, which any worker may run, and return its handle.

    Retries, timeouts and errors are those of the call. A step that is still open when its body ends is cancelled.

    Args:
        call: A call of a step that was decorated with `@step`, not awaited yet. Its arguments are stored by the
            annotations of the step's parameters.

    Raises:
        ConfigurationError: It is no such call, or other workers could not find the step's function.
        CallReused: The call was awaited or spawned before.
        PayloadInvalid: An argument cannot be stored.
        NotInRun: No body runs here.
    """
    try:
        run = require_body("spawn()")
        _check_call(call)
        spawned = run.handles.prepare(call)
    except BaseException:
        _forget(call)
        raise
    spawned.begin()
    return StepHandle(spawned)


def _forget(call: object) -> None:
    """A call that is refused is not one that was forgotten."""
    if isinstance(call, Coroutine):
        call.close()


def _check_call(call: object) -> None:
    if not isinstance(call, StepCall):
        raise ConfigurationError(
            f"spawn() takes the call of a step, such as spawn(charge(order)), not {call!r}; "
            f"decorate the function with @step"
        )


@overload
def wait_all() -> Call[tuple[()]]: ...
@overload
def wait_all(h1: StepHandle[T1], /) -> Call[tuple[T1]]: ...
@overload
def wait_all(h1: StepHandle[T1], h2: StepHandle[T2], /) -> Call[tuple[T1, T2]]: ...
@overload
def wait_all(h1: StepHandle[T1], h2: StepHandle[T2], h3: StepHandle[T3], /) -> Call[tuple[T1, T2, T3]]: ...
@overload
def wait_all(
    h1: StepHandle[T1], h2: StepHandle[T2], h3: StepHandle[T3], h4: StepHandle[T4], /
) -> Call[tuple[T1, T2, T3, T4]]: ...
@overload
def wait_all(
    h1: StepHandle[T1], h2: StepHandle[T2], h3: StepHandle[T3], h4: StepHandle[T4], h5: StepHandle[T5], /
) -> Call[tuple[T1, T2, T3, T4, T5]]: ...
@overload
def wait_all(
    h1: StepHandle[T1],
    h2: StepHandle[T2],
    h3: StepHandle[T3],
    h4: StepHandle[T4],
    h5: StepHandle[T5],
    h6: StepHandle[T6],
    /,
) -> Call[tuple[T1, T2, T3, T4, T5, T6]]: ...
@overload
def wait_all(*handles: StepHandle[T]) -> Call[tuple[T, ...]]: ...
def wait_all(*handles: StepHandle[Any]) -> Call[Any]:
    """Wait for all of these steps and return their results, in the order of the handles.

    The first failure is raised at once. The other steps go on, and their handles may still be awaited.
    """
    run, spawns = _spawns("wait_all()", handles)

    async def wait() -> tuple[Any, ...]:
        found = await _first(run, spawns, len(spawns))
        values: list[Any] = [None] * len(spawns)
        for index, value in found:
            values[index] = value
        return tuple(values)

    return CompositeCall(run, "wait_all", wait)


def wait_any(*handles: StepHandle[T]) -> Call[tuple[int, T]]:
    """Wait for the first of these steps to finish; return its place among the handles and its result.

    If that one failed, its error is raised. The others go on, and their handles may still be awaited.
    """
    run, spawns = _spawns("wait_any()", handles)
    _check_count("wait_any()", 1, len(spawns))

    async def wait() -> tuple[int, T]:
        return (await _first(run, spawns, 1))[0]

    return CompositeCall(run, "wait_any", wait)


def wait_first(n: int, *handles: StepHandle[T]) -> Call[list[tuple[int, T]]]:
    """Wait for the first `n` of these steps to finish; return their places and results, in the order of finishing.

    If one of them failed, its error is raised at once. The others go on, and their handles may still be awaited.
    """
    run, spawns = _spawns("wait_first()", handles)
    _check_count("wait_first()", n, len(spawns))

    async def wait() -> list[tuple[int, T]]:
        return await _first(run, spawns, n)

    return CompositeCall(run, "wait_first", wait)


async def _first(run: ActiveRun, spawns: list[Spawn], count: int) -> list[tuple[int, Any]]:
    arrivals = Arrivals(run)
    for index, spawned in enumerate(spawns):
        arrivals.add(index, spawned)
    found: list[tuple[int, Any]] = []
    try:
        while len(found) < count:
            index, settled = await arrivals.next()
            found.append((index, settled.get()))
        return found
    finally:
        arrivals.close()


def _spawns(operation: str, handles: Iterable[StepHandle[Any]]) -> tuple[ActiveRun, list[Spawn]]:
    return require_body(operation), [spawn_of(handle, operation) for handle in handles]


def _check_count(operation: str, count: int, size: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= size:
        raise UsageError(
            f"{operation} was asked for the first {count!r} of {size} handles; it needs at least one, "
            f"and no more than there are"
        )


@overload
def fan_out(
    step: Callable[[T1], StepCall[T]],
    items: Iterable[T1],
    *,
    key: Callable[[T1], str] | None = None,
    concurrency: int | None = None,
    tolerate: Literal[0] = 0,
) -> Call[list[T]]: ...
@overload
def fan_out(
    step: Callable[[T1], StepCall[T]],
    items: Iterable[T1],
    *,
    key: Callable[[T1], str] | None = None,
    concurrency: int | None = None,
    tolerate: int,
) -> Call[list[T | Exception]]: ...
def fan_out(
    step: Callable[[Any], StepCall[Any]],
    items: Iterable[Any],
    *,
    key: Callable[[Any], str] | None = None,
    concurrency: int | None = None,
    tolerate: int = 0,
) -> Call[Any]:
    """Spawn `step(item)` for each item, wait for all, and return the results in the order of the items.

    Args:
        step: A step, or a function that returns the call of one.
        items: What to call it with; read at once.
        key: Gives each item a key, by which its call is known in place of its position (see `StepCall.keyed`).
        concurrency: Most steps under way at once. None: all of them.
        tolerate: So many failures stand in the list, as exceptions; one more is raised at once, and the steps that
            are still open are cancelled.

    Raises:
        ConfigurationError: `step` gives no call of a step that can be spawned, or a number makes no sense.
        PayloadInvalid: An argument cannot be stored; nothing was spawned then.
    """
    run = require_body("fan_out()")
    _check_number("concurrency", 1, 1 if concurrency is None else concurrency)
    _check_number("tolerate", 0, tolerate)
    spawns = list(_prepared(run, step, items, key))

    async def wait() -> list[Any]:
        return await _Fan(run, spawns, tolerate).run(concurrency or len(spawns))

    return CompositeCall(run, "fan_out", wait)


def _check_number(name: str, least: int, number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise ConfigurationError(f"{name} must be a whole number, {least} at least, not {number!r}")


def _prepared(
    run: ActiveRun,
    step: Callable[[Any], StepCall[Any]],
    items: Iterable[Any],
    key: Callable[[Any], str] | None,
) -> Iterator[Spawn]:
    for item in items:
        call = step(item)
        try:
            _check_call(call)
            yield run.handles.prepare(call if key is None else call.keyed(key(item)))
        except BaseException:
            _forget(call)
            raise


class _Fan:
    """A window that moves over spawned steps by the order of their outcomes."""

    def __init__(self, run: ActiveRun, spawns: list[Spawn], tolerate: int) -> None:
        self._arrivals = Arrivals(run)
        self._results: list[Any] = [None] * len(spawns)
        self._tolerate = tolerate
        self._later = deque(enumerate(spawns))
        self._open: dict[int, Spawn] = {}

    async def run(self, width: int) -> list[Any]:
        try:
            for _ in range(min(width, len(self._later))):
                self._begin_next()
            while self._open:
                index, settled = await self._arrivals.next()
                del self._open[index]
                self._results[index] = self._accept(settled)
                if self._later:
                    self._begin_next()
            return self._results
        finally:
            self._arrivals.close()
            for spawned in self._open.values():
                spawned.revoke()

    def _begin_next(self) -> None:
        index, spawned = self._later.popleft()
        self._open[index] = spawned
        spawned.begin()
        self._arrivals.add(index, spawned)

    def _accept(self, settled: Settled) -> Any:
        if settled.error is None:
            return settled.value
        if self._tolerate == 0:
            raise settled.error
        self._tolerate -= 1
        return settled.error


class as_completed(Generic[T]):  # noqa: N801 - named as asyncio's
    """Iterate over what calls and handles bring, as `(index, value)`, in the order in which it is recorded.

    `async for index, value in as_completed(charge(order), spawn(ship(order))): ...` A failure is raised where it
    comes; the iteration may go on after it. What the iteration did not reach goes on.
    """

    def __init__(self, *calls_or_handles: Call[T] | StepHandle[T]) -> None:
        run = require_body("as_completed()")
        spawns = {
            index: spawn_of(given, "as_completed()")
            for index, given in enumerate(calls_or_handles)
            if not isinstance(given, Call)
        }
        self._run, self._left = run, len(calls_or_handles)
        self._arrivals = Arrivals(run)
        for index, given in enumerate(calls_or_handles):
            if isinstance(given, Call):
                self._begin(index, given)
            else:
                self._arrivals.add(index, spawns[index])

    def _begin(self, index: int, call: Call[T]) -> None:
        def arrived(task: asyncio.Task[T]) -> None:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            self._arrivals.enter(
                index, Settled(None, error) if error is not None else Settled(task.result(), None)
            )

        asyncio.create_task(call).add_done_callback(arrived)

    def __aiter__(self) -> AsyncIterator[tuple[int, T]]:
        return self

    async def __anext__(self) -> tuple[int, T]:
        if not self._left:
            raise StopAsyncIteration
        await self._run.check()
        index, settled = await self._arrivals.next()
        self._left -= 1
        return index, settled.get()
