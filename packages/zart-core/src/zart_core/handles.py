"""Spawned steps as their body sees them: the spawning, handles, and the waiting for several of them together.

A spawned step is a task of its own: any worker may run it, and its outcome comes to the body's journal from outside.
Its handle may be awaited again and again, by several branches; each time the outcome comes by its turn among all
others, so that races between handles are decided the same way on replay (L11).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from zart_core.call import Call, StepCall
from zart_core.current import body_for
from zart_core.delivery import Delivery, Waiting
from zart_core.errors import ConfigurationError, WrongTask
from zart_core.journal import Kind, Record
from zart_core.meeting import Meeting
from zart_core.replay import Execute
from zart_core.spawning import Settled, SpawnOperation, check_spawnable, describe

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun

R = TypeVar("R", covariant=True)


class Spawn:
    """One spawned step of a body, and who waits for it."""

    __slots__ = ("_arrival", "_watchers", "call", "operation", "run")

    def __init__(self, run: ActiveRun, call: Call[Any], operation: SpawnOperation) -> None:
        self.run, self.call, self.operation = run, call, operation
        self._watchers: dict[tuple[Arrivals, int], None] = {}
        self._arrival: asyncio.Future[Settled] | None = None

    def begin(self) -> None:
        """Have it made a task, once nothing that is recorded can be delivered any more."""
        self.run.handles.begin(self.call)

    def revoke(self) -> None:
        """Have the task cancelled, unless the outcome is known; as late as that."""
        self.operation.task = None
        self.run.handles.begin(self.call)

    def watch(self, arrivals: Arrivals, index: int) -> None:
        """Tell `arrivals` when the outcome reaches the body."""
        self._watchers[arrivals, index] = None
        if self._arrival is None:
            self._arrival = self.run.loop.create_future()
            self._arrival.add_done_callback(self._arrived)
            self.run.handles.expect(self.call, self._arrival)

    def unwatch(self, arrivals: Arrivals, index: int) -> None:
        """Tell it no more."""
        self._watchers.pop((arrivals, index), None)
        if not self._watchers and self._arrival is not None and not self._arrival.done():
            self.run.handles.expect_no_more(self.call, self._arrival)
            self._arrival = None

    def _arrived(self, arrival: asyncio.Future[Settled]) -> None:
        self._arrival = None
        watchers, self._watchers = self._watchers, {}
        for arrivals, index in watchers:
            arrivals.enter(index, arrival.result())

    async def settle(self) -> Settled:
        """Wait for the outcome."""
        arrivals = Arrivals(self.run)
        arrivals.add(0, self)
        try:
            return (await arrivals.next())[1]
        finally:
            arrivals.close()


class Handles:
    """The spawned steps of one run."""

    def __init__(
        self, run: ActiveRun, meeting: Meeting, delivery: Delivery, pending: dict[str, Call[Any]]
    ) -> None:
        self._run, self._meeting, self._delivery, self._pending = run, meeting, delivery, pending
        self._begun: dict[str, str] = {}

    def prepare(self, call: StepCall[Any]) -> Spawn:
        """Take `call` over, to be made a task by `Spawn.begin`.

        Raises:
            CallReused: It was begun before.
            WrongTask: It was made in another run, or in none.
            ConfigurationError: Other workers could not find its function.
            PayloadInvalid: An argument cannot be stored.
            PayloadTooLarge: They all take too much.
        """
        call.hand_on()
        call.operation = operation = SpawnOperation(check_spawnable(call), None)
        if isinstance(self._meeting.meet(call), Execute):
            operation.task = describe(call, operation.step, self._run.host.max_payload)
        return Spawn(self._run, call, operation)

    def begin(self, call: Call[Any]) -> None:
        """Have `call` begun as soon as nothing that is recorded can be delivered, if it has no record."""
        if self._run.journal.find(call.identity) is None:
            self._pending[call.identity] = call
            self._begun[call.identity] = call.name

    def expect(self, call: Call[Any], arrival: asyncio.Future[Settled]) -> None:
        """The body waits for the outcome of `call`."""
        record = self._run.journal.find(call.identity)
        self._delivery.expect(Waiting(arrival, call), record.turn if record is not None else None)

    def expect_no_more(self, call: Call[Any], arrival: asyncio.Future[Settled]) -> None:
        """The body does not wait for it any more; it keeps its turn."""
        self._delivery.give_up(call.identity, arrival)

    def still_open(self) -> dict[str, str]:
        """Return the names of the steps that this pass has begun and heard nothing of, by identity."""
        return {i: name for i, name in self._begun.items() if self._run.journal.find(i) is None}


class Arrivals:
    """Outcomes that a body waits for together, in the order in which they reach it."""

    def __init__(self, run: ActiveRun) -> None:
        self._loop: asyncio.AbstractEventLoop = run.loop
        self._watched: dict[int, Spawn] = {}
        self._come: deque[tuple[int, Settled]] = deque()
        self._next: asyncio.Future[None] | None = None

    def add(self, index: int, spawn: Spawn) -> None:
        """Wait for `spawn` as well, as number `index`."""
        self._watched[index] = spawn
        spawn.watch(self, index)

    def enter(self, index: int, settled: Settled) -> None:
        """Number `index` has come."""
        self._watched.pop(index, None)
        self._come.append((index, settled))
        if self._next is not None and not self._next.done():
            self._next.set_result(None)

    async def next(self) -> tuple[int, Settled]:
        """Return what comes next, and its number."""
        while not self._come:
            self._next = self._loop.create_future()
            await self._next
        return self._come.popleft()

    def close(self) -> None:
        """Wait for nothing any more; the steps go on."""
        watched, self._watched = self._watched, {}
        for index, spawn in watched.items():
            spawn.unwatch(self, index)


class StepHandle(Generic[R]):
    """A spawned step. Await it for its result, any number of times, in the body that spawned it.

    Awaiting it raises what the step raised. Giving the waiting up does not cancel the step.
    """

    __slots__ = ("__weakref__", "_spawn")

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn

    @property
    def name(self) -> str:
        """The name under which the step is recorded."""
        return self._spawn.call.name

    def cancel(self) -> Call[None]:
        """Cancel the step, unless it is over; what it does later is not recorded.

        Once this call is over so is the step: awaiting the handle then raises `StepFailed` with the kind `cancelled`,
        or gives the step's own outcome if that came first.
        """
        spawn = spawn_of(self, "cancel()")

        async def cancel() -> None:
            spawn.revoke()
            await spawn.settle()

        return CompositeCall(spawn.run, f"cancel {self.name}", cancel)

    def __await__(self) -> Generator[Any, Any, R]:
        return self._result(spawn_of(self, "await")).__await__()

    async def _result(self, spawn: Spawn) -> R:
        await spawn.run.check()
        settled = await spawn.settle()
        result: R = settled.get()
        return result

    def __repr__(self) -> str:
        return f"<StepHandle {self._spawn.call.identity}>"


def spawn_of(handle: object, operation: str) -> Spawn:
    """Return what is behind a handle of the body that runs now.

    Raises:
        ConfigurationError: It is no handle at all.
        WrongTask: It belongs to another run, or no body runs here.
    """
    if not isinstance(handle, StepHandle):
        raise ConfigurationError(
            f"{operation} takes handles, as spawn() returns them, not {handle!r}; "
            f"for calls and coroutines there are asyncio.gather, task groups and as_completed()"
        )
    spawn: Spawn = handle._spawn  # noqa: SLF001 - kept from users, not from the engine
    if body_for(operation) is not spawn.run:
        raise WrongTask(
            f"{operation}: {handle!r} belongs to another run; a handle works only in the body that spawned it"
        )
    return spawn


class CompositeCall(Call[R]):
    """A call that is made of others: it has no identity, and no record of its own."""

    __slots__ = ("_compose", "_run")

    def __init__(self, run: ActiveRun, name: str, compose: Callable[[], Coroutine[Any, Any, R]]) -> None:
        super().__init__(None, name, _COMPOSITE)
        self._body, self._run, self._compose = run, run, compose
        run.open_calls[id(self)] = self

    def _begin(self) -> Coroutine[Any, Any, R]:
        self.hand_on()
        return self._composed()

    async def _composed(self) -> R:
        await self._run.check()
        return await self._compose()


class _Composite:
    """What a composite call asks for by itself: nothing."""

    kind = Kind.SPAWN

    def receive(self, record: Record) -> NoReturn:
        raise AssertionError(record)

    def plain(self) -> NoReturn:
        raise AssertionError


_COMPOSITE = _Composite()
