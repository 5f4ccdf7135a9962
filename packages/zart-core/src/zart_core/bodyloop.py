"""The event loop of one body (L13): small, deterministic, pumped from the worker's loop.

It runs what is ready, in order, and nothing else: no sockets, no pipes, no clock of its own. In-memory timers and
threads are bridged to the host loop and counted, so that "nothing is ready, no timer, no thread" means exactly that
every branch waits for something durable. Every task made in the body gets its scope here, when it is created (L5).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from asyncio import AbstractEventLoop, Task, events, futures, tasks
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Executor
from types import CodeType
from typing import Any, NamedTuple, TypeVar, TypeVarTuple, Unpack

from zart_core.call import Body, Call
from zart_core.errors import UsageError, WrongTask
from zart_core.identity import Scope
from zart_core.noio import LoopWithoutIO

log = logging.getLogger("zart")

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

PUMP_LIMIT = 200
"""Most callbacks run by one pump, so that a busy body leaves the host loop time for others."""


def _codes_of(*functions: Any) -> frozenset[CodeType]:
    """Return the code objects of `functions` and of the comprehensions inside them."""
    found: set[CodeType] = set()
    for function in functions:
        code = function.__code__
        found.add(code)
        found.update(constant for constant in code.co_consts if isinstance(constant, CodeType))
    return frozenset(found)


_ENSURE_FUTURE = _codes_of(asyncio.ensure_future, getattr(tasks, "_ensure_future", asyncio.ensure_future))
_iterator_of_313 = getattr(tasks, "_AsCompletedIterator", None)
_AS_COMPLETED = _codes_of(
    asyncio.as_completed, *([_iterator_of_313.__init__] if _iterator_of_313 is not None else [])
)
_WAIT_FOR = asyncio.wait_for.__code__


class Branch(NamedTuple):
    """A task's scope, and the context it runs in."""

    scope: Scope
    context: contextvars.Context


class BodyHandle:
    """A callback that waits for its turn on a body loop."""

    __slots__ = ("args", "callback", "context", "loop", "timer")

    def __init__(
        self,
        loop: BodyLoop,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        self.loop, self.args, self.context = loop, args, context or contextvars.copy_context()
        self.callback: Callable[..., Any] | None = callback
        self.timer: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Do not run the callback."""
        self.callback, self.args = None, ()
        if self.timer is not None:
            self.timer.cancel()
            self.loop.timers.discard(self)

    def cancelled(self) -> bool:
        """Return whether `cancel` was called."""
        return self.callback is None

    def when(self) -> float:
        """Return the host loop's time at which a timer fires."""
        return self.timer.when() if self.timer is not None else self.loop.time()


class BodyLoop(LoopWithoutIO):
    """The loop of one body. `wake` is called on the host loop when a timer or thread has made something ready."""

    def __init__(self, host: AbstractEventLoop, wake: Callable[[], None], body: Body | None = None) -> None:
        self.host, self.body, self._wake = host, body, wake
        self.ready: deque[BodyHandle] = deque()
        self.timers: set[BodyHandle] = set()
        self.threads: set[object] = set()
        """What is under way in threads. A set: unlike a counter it may be changed by any thread."""
        self.branches: dict[Task[Any], Branch] = {}
        self.is_unwinding = False
        """Whether the body is being ended by force, so that what its tasks raise is no news."""
        self._prune_at = 64
        self._pumping = False
        self._generators: dict[int, Branch] = {}

    @property
    def is_quiescent(self) -> bool:
        """Whether nothing can happen in the body until an outcome is delivered."""
        return not self.ready and not self.timers and not self.threads

    # -- running

    def pump(self) -> bool:
        """Run what is ready, at most PUMP_LIMIT callbacks; return whether nothing is left."""
        if not self.ready or self._pumping:
            return not self._pumping
        self._pumping = True
        outer = events._get_running_loop()  # noqa: SLF001 - the only way to nest a loop that does no I/O
        hooks = sys.get_asyncgen_hooks()
        events._set_running_loop(self)  # noqa: SLF001
        sys.set_asyncgen_hooks(firstiter=self._meet_generator, finalizer=self._finalize)
        try:
            for _ in range(PUMP_LIMIT):
                if not self.ready:
                    return True
                handle = self.ready.popleft()
                if handle.callback is not None:
                    self._call(handle)
            return not self.ready
        finally:
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(outer)  # noqa: SLF001
            self._pumping = False

    def _call(self, handle: BodyHandle) -> None:
        assert handle.callback is not None  # noqa: S101 - the pump has looked
        try:
            handle.context.run(handle.callback, *handle.args)
        except (SystemExit, KeyboardInterrupt):
            pass  # the task holds it as its exception; it must not stop the worker's loop
        except BaseException as error:
            self.call_exception_handler({"message": "a callback in a body failed", "exception": error})

    def start(
        self, coroutine: Coroutine[Any, Any, Any], scope: Scope, context: contextvars.Context
    ) -> Task[Any]:
        """Make the body's own task."""
        task = tasks.Task(coroutine, loop=self, context=context)
        self.branches[task] = Branch(scope, context)
        return task

    def _meet_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Number the scope of the generator's end now: when the collector finds it is left to chance."""
        current = tasks.current_task(self)
        if current is not None:
            scope = self._scope_of(current).branch("aclose")
            self._generators[id(generator)] = Branch(scope, self.branches[current].context)

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Close a generator that was not used up. Called by the collector: anywhere, on any thread."""
        branch = self._generators.pop(id(generator), None)
        if branch is None:
            return
        if events._get_running_loop() is self:  # noqa: SLF001 - as above
            self.start(generator.aclose(), branch.scope, branch.context)
        elif not self.is_unwinding and not self.host.is_closed():
            self.call_soon_threadsafe(lambda: self.start(generator.aclose(), branch.scope, branch.context))

    def current_scope(self) -> Scope:
        """Return the scope of the task that runs now."""
        task = tasks.current_task(self)
        assert task is not None  # noqa: S101 - callers have checked where they are
        return self._scope_of(task)

    def _scope_of(self, task: Task[Any]) -> Scope:
        branch = self.branches.get(task)
        if branch is None:
            raise WrongTask(
                "a task was made by asyncio.Task(...), past the body's loop: use asyncio.create_task or a task group"
            )
        return branch.scope

    def run_inside(self, task: Task[Any], callback: Callable[[], Any]) -> None:
        """Run `callback` at once, as if `task` did."""
        outer = events._get_running_loop()  # noqa: SLF001 - as in `pump`
        events._set_running_loop(self)  # noqa: SLF001
        tasks._enter_task(self, task)  # noqa: SLF001 - as a task does for each of its slices
        try:
            self.branches[task].context.run(callback)
        finally:
            tasks._leave_task(self, task)  # noqa: SLF001
            events._set_running_loop(outer)  # noqa: SLF001

    def live_tasks(self) -> list[Task[Any]]:
        """Return the tasks that are not done, in the order of their creation."""
        return [task for task in self.branches if not task.done()]

    # -- what Task, Future and asyncio's primitives use

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **_options: Any,
    ) -> Task[Any]:
        """Make a task with a scope of its own; one made directly of a call shares its creator's."""
        current = tasks.current_task(self)
        if current is None:
            coro.close()
            raise WrongTask(
                "a task was created from a callback: create tasks in the body itself, so that replay can name them"
            )
        parent = self._scope_of(current)
        shares = isinstance(coro, Call)
        if not shares:
            caller = _caller()
            if caller in _AS_COMPLETED:
                coro.close()
                raise UsageError(
                    "asyncio.as_completed over coroutines starts them in no fixed order, so a replay could swap them; "
                    "make tasks first: asyncio.as_completed([asyncio.create_task(c) for c in coroutines])"
                )
            # Before 3.12 wait_for runs its awaitable in a task, later only if no time is left. One identity for all.
            shares = caller is _WAIT_FOR
        context = context or contextvars.copy_context()
        task = tasks.Task(coro, loop=self, name=name, context=context)
        scope = parent if shares else parent.branch(getattr(coro, "__qualname__", ""))
        self.branches[task] = Branch(scope, context)
        if len(self.branches) > self._prune_at:
            self.branches = {task: branch for task, branch in self.branches.items() if not task.done()}
            self._prune_at = 2 * len(self.branches) + 64
        return task

    def call_soon(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> Any:
        """Run `callback` in this or the next pump."""
        handle = BodyHandle(self, callback, args, context)
        self.ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> Any:
        """Run `callback` soon; may be called from any thread."""
        handle = BodyHandle(self, callback, args, context)
        self.threads.add(handle)

        def arrive() -> None:
            self.threads.discard(handle)
            self.ready.append(handle)
            self._wake()

        self.host.call_soon_threadsafe(arrive)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> Any:
        """Run `callback` after `delay` seconds. The run cannot park until then."""
        return self.call_at(self.host.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> Any:
        """Run `callback` at the host loop's time `when`. The run cannot park until then."""
        handle = BodyHandle(self, callback, args, context)

        def fire() -> None:
            self.timers.discard(handle)
            self.ready.append(handle)
            self._wake()

        handle.timer = self.host.call_at(when, fire)
        self.timers.add(handle)
        return handle

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Run `func` in a thread of the host's executor. The run cannot park until it returns."""
        outer: asyncio.Future[_T] = self.create_future()
        self.threads.add(outer)

        def back(inner: asyncio.Future[Any]) -> None:
            self.threads.discard(outer)
            if not outer.done():
                if inner.cancelled():
                    outer.cancel()
                elif (error := inner.exception()) is not None:
                    outer.set_exception(error)
                else:
                    outer.set_result(inner.result())
            self._wake()

        self.host.run_in_executor(executor, _in_thread, func, args).add_done_callback(back)
        return outer

    def time(self) -> float:
        """Return the host loop's monotonic time."""
        return self.host.time()

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return futures.Future(loop=self)

    def get_debug(self) -> bool:
        """Return False: debugging is the host loop's."""
        return False

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """Do nothing."""

    def get_task_factory(self) -> None:
        """Return None: tasks are made here, with their scope."""

    def set_task_factory(self, factory: object) -> None:
        """Refuse `factory`: its tasks would have no scope.

        Raises:
            UsageError: Always, except for None.
        """
        if factory is not None:
            raise UsageError(
                "a body's tasks are numbered by its loop, so it takes no task factory, eager or other"
            )

    def is_running(self) -> bool:
        """Return True, as a loop that is asked is being pumped."""
        return True

    def is_closed(self) -> bool:
        """Return False: a body loop holds nothing that could be closed."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what nobody in the body will ever hear of, except when it is ended by force."""
        if not self.is_unwinding:
            log.error("in %r: %s", self.body, context["message"], exc_info=context.get("exception"))

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Called by asyncio when a timer is cancelled; the handle has done all that is needed."""

    async def shutdown_asyncgens(self) -> None:
        """Do nothing; generators are closed when they are collected."""


def _caller() -> CodeType:
    """Return the code that asked for a task, whether or not by way of `ensure_future`: it decides about the scope."""
    frame = sys._getframe(2)  # noqa: SLF001 - as above
    while frame.f_code in _ENSURE_FUTURE and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code


def _in_thread(func: Callable[..., _T], args: tuple[Any, ...]) -> _T:
    """Call `func`. A future that is given StopIteration never resolves."""
    try:
        return func(*args)
    except StopIteration as error:
        raise RuntimeError("StopIteration was raised in a thread") from error
