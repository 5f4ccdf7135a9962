"""The environment of a test: it starts executions and lets time pass, in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, Unpack, overload

from zart_core.answers import existed
from zart_core.definition import Invocation, Workflow
from zart_core.duration import Duration, seconds
from zart_core.errors import ConfigurationError, UsageError, WorkflowNotFound
from zart_core.limits import aware
from zart_core.listing import ListOptions, list_request, page_of
from zart_core.records import EventReceipt, Page, RunSummary
from zart_core.registry import Registry
from zart_core.requests import PlainOptions, StartRequest, invocation_of, named_arguments, start_request
from zart_core.testing.clock import Clock
from zart_core.testing.driver import Driver
from zart_core.testing.handle import Handle
from zart_core.testing.reading import find_runs
from zart_core.untyped import encode_plain

R = TypeVar("R")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")
A5 = TypeVar("A5")


class TestRun:
    """A store, a clock and a worker for one test: `async with TestRun(order_fulfillment) as env:`.

    It has the methods of a client, and the engine is the one that runs in production. Each method first lets happen
    what happens by itself at this moment, then does its work and lets happen what that brings about: when it returns,
    every run waits for time, for an event, or for a step that takes longer than 0.1 s of real time. Time stands still
    but for `advance` and `result`.

    Args:
        *sources: What a worker takes: workflows, modules, names of modules, or registries.
        start: What the clock shows in the beginning, an aware datetime. Default: the real time.
        evict: Throw bodies away whenever their run waits, so that they are replayed when it goes on, as happens in
            production when a worker has many runs, is restarted or dies. It finds bodies that do not do the same
            again. False keeps them in memory.

    Raises:
        ConfigurationError: There is no source, or one holds no workflow.
        DuplicateName: Two workflows or steps share a name.
    """

    __test__: ClassVar = False  # no class of tests, whatever pytest makes of its name

    def __init__(self, *sources: Any, start: datetime | None = None, evict: bool = True) -> None:
        if not sources:
            raise ConfigurationError("TestRun needs at least one workflow, module or registry to run")
        self._registry = Registry.of(*sources)
        self._start = None if start is None else aware("start", start).astimezone(UTC)
        self._evict = evict
        self._opened: Driver | None = None

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise UsageError("a TestRun is used once: make another one")
        clock = Clock(asyncio.get_running_loop(), self._start or datetime.now(UTC))
        self._opened = Driver(clock, self._registry, evict=self._evict)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drop what still runs.

        Raises:
            AssertionError: A crash point was never reached, so that the test has not shown what it was to show.
        """
        worker = self._driver.worker
        await worker.close()
        if error is None and worker.traps.unsprung:
            raise AssertionError(f"nothing has come to the crash point {worker.traps.unsprung[0]!r}")

    @property
    def _driver(self) -> Driver:
        if self._opened is None:
            raise UsageError("a TestRun is used as `async with TestRun(...) as env`")
        return self._opened

    # -- time and death

    def now(self) -> datetime:
        """Return the time on the test's clock, which is what `now()` gives in a body."""
        return self._driver.clock.now()

    async def advance(self, duration: Duration) -> None:
        """Let time pass: every timer fires in its order, and what it brings about happens before the next.

        A step that runs does not hold it up, so that its timeout can pass.

        Args:
            duration: Seconds, `timedelta` or text such as "3d".

        Raises:
            UsageError: It is negative.
        """
        length = seconds(duration, what="duration")
        if length < 0:
            raise UsageError(f"time goes forward only, not by {duration!r}")
        await self._driver.advance(length)

    def crash_at(self, point: str) -> None:
        """Kill the worker when it comes to `point`; another goes on in its place at once. Once for each call of this.

        What was recorded stays, the rest is done again: what must not happen twice must show it here. Async steps
        that run are cancelled, which a real death would not do; so do not rely on their `finally`.

        Args:
            point: `point[:step[#nth]]`, the nth visit counted from now on. Points: before-claim, after-claim,
                before-step, after-effect (the step has returned, nothing is recorded), before-commit, after-commit,
                before-park, after-park, before-complete, after-complete.

        Raises:
            UsageError: There is no such point.
        """
        self._driver.worker.traps.set(point)

    @property
    def effects(self) -> list[str]:
        """The names of the steps that were begun, in order: once for every attempt, and again after a crash."""
        return list(self._driver.worker.effects)

    # -- what clients do

    @overload
    async def start(self, target: Invocation[R], /, **options: Unpack[PlainOptions]) -> Handle[R]: ...
    @overload
    async def start(self, target: str, /, *args: Any, **options: Unpack[PlainOptions]) -> Handle[Any]: ...
    @overload
    async def start(
        self, target: Callable[[], Awaitable[R]], /, **options: Unpack[PlainOptions]
    ) -> Handle[R]: ...
    @overload
    async def start(
        self, target: Callable[[A1], Awaitable[R]], a1: A1, /, **options: Unpack[PlainOptions]
    ) -> Handle[R]: ...
    @overload
    async def start(
        self, target: Callable[[A1, A2], Awaitable[R]], a1: A1, a2: A2, /, **options: Unpack[PlainOptions]
    ) -> Handle[R]: ...
    @overload
    async def start(
        self,
        target: Callable[[A1, A2, A3], Awaitable[R]],
        a1: A1,
        a2: A2,
        a3: A3,
        /,
        **options: Unpack[PlainOptions],
    ) -> Handle[R]: ...
    @overload
    async def start(
        self,
        target: Callable[[A1, A2, A3, A4], Awaitable[R]],
        a1: A1,
        a2: A2,
        a3: A3,
        a4: A4,
        /,
        **options: Unpack[PlainOptions],
    ) -> Handle[R]: ...
    @overload
    async def start(
        self,
        target: Callable[[A1, A2, A3, A4, A5], Awaitable[R]],
        a1: A1,
        a2: A2,
        a3: A3,
        a4: A4,
        a5: A5,
        /,
        **options: Unpack[PlainOptions],
    ) -> Handle[R]: ...
    async def start(self, target: Any, /, *args: Any, **options: Any) -> Handle[Any]:
        """Start an execution, once per id, and let it come as far as it can.

        Args:
            target: A workflow; the invocation that `workflow.call(...)` gives, for keyword arguments; or the name of
                a workflow.
            args: The workflow's arguments, at most five with types checked.
            options: See `PlainOptions`: execution_id, at, delay, queue, priority, tags, on_conflict.

        Returns:
            The execution's handle; `existing` tells whether it was there before.

        Raises:
            PayloadInvalid: An argument does not have the declared shape; nothing was started.
            TypeError: The workflow does not take these arguments, or there is no such option.
            ExecutionConflict: The id is taken by another workflow or input; or it exists, with on_conflict="reject".
            UsageError: An option cannot be.
            WorkflowNotFound: By name with positional arguments, and no source has that workflow.
        """
        request = self._request(invocation_of(target, args), options)
        if request.restart:
            raise UsageError("TestRun does not restart executions: test that on a database")
        await self._driver.settle()
        answer = self._driver.store.start(request)
        self._driver.worker.look()
        await self._driver.settle()
        is_there = existed(request, answer)
        return Handle(self._driver, request.execution_id, request.definition, existing=is_there)

    def _request(self, invocation: Invocation[Any], options: Mapping[str, Any]) -> StartRequest:
        workflow, args = invocation.workflow, invocation.args
        if isinstance(workflow, Workflow):
            return start_request(workflow, workflow.parameters.encode(args, invocation.kwargs), options)
        found = next((known for known in self._registry if known.name == workflow and known.current), None)
        if found is None and args:
            raise WorkflowNotFound(workflow, {known.name for known in self._registry})
        names = found.parameters.names if found is not None else ()
        named = named_arguments(workflow, names, args, invocation.kwargs)
        stored = encode_plain(named, f"input of workflow {workflow!r}", given_only=True)
        return start_request(workflow, stored, options, found)

    @overload
    def handle(self, execution_id: str, wf: Callable[..., Awaitable[R]]) -> Handle[R]: ...
    @overload
    def handle(self, execution_id: str, wf: None = None) -> Handle[Any]: ...
    def handle(self, execution_id: str, wf: Any = None) -> Handle[Any]:
        """Return the handle of an execution; whether it exists is found out at first use.

        Args:
            execution_id: The execution's id.
            wf: Its workflow, so that `result()` has its type. Without it the result is plain JSON.
        """
        if wf is not None and not isinstance(wf, Workflow):
            raise UsageError(f"a handle takes a workflow made by @durable, not {wf!r}")
        return Handle(self._driver, execution_id, wf)

    async def send_event(
        self, execution_id: str, name: str, payload: Any = None, *, idempotency_key: str | None = None
    ) -> EventReceipt:
        """Send an event to an execution. See `Handle.send_event`."""
        return await self.handle(execution_id).send_event(name, payload, idempotency_key=idempotency_key)

    async def list_runs(self, **options: Unpack[ListOptions]) -> Page[RunSummary]:
        """List runs, newest first.

        Args:
            options: See `ListOptions`: state, workflow, tags, since, until, queue, search, all_runs, limit, cursor.

        Raises:
            UsageError: A filter or the cursor cannot be.
        """
        asked = list_request(options)
        await self._driver.settle()
        return page_of(find_runs(self._driver.store, asked), asked.limit)
