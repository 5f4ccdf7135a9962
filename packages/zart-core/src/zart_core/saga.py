"""Undo what a body did when it cannot be finished: registered as it goes, run in reverse, durably, once.

A block that is left by an exception rolls back where it stands. A run that is stopped from outside (cancelled, past
its deadline, failed for crashes) is claimed once more: its body is replayed without starting anything new, and the
rollbacks that it registers on the way are run. Either way each rollback has a scope of its own, numbered when it is
registered: what one way has recorded the other meets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from zart_core.call import Call
from zart_core.control import Signal
from zart_core.current import require_body
from zart_core.errors import ConfigurationError, UsageError, WrongTask
from zart_core.identity import Scope
from zart_core.operations import SagaOperation

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun

UNDO_SCOPE = "~"
"""The scope of the task that rolls a stopped run back. It makes no calls: each rollback has a scope of its own."""

Factory = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Rollback:
    """What undoes one thing. `path` is the scope of the calls it makes."""

    factory: Factory
    path: str


class Saga:
    """The block of `async with saga() as s`."""

    def __init__(self, run: ActiveRun) -> None:
        self._run = run
        self._rollbacks: list[Rollback] = []
        self._is_open = self._was_entered = False

    async def __aenter__(self) -> Self:
        if self._was_entered:
            raise UsageError("a saga is one block: call saga() again for another")
        self._is_open = self._was_entered = True
        return self

    def on_rollback(self, call_factory: Factory) -> None:
        """Register what undoes the thing just done: a function without arguments that makes a call, or an async one.

        It is recorded, and run if the block is left by an exception or the run is stopped from outside. Not awaited.

        Raises:
            ConfigurationError: It is no function, but a call for one: that would have been made already.
            UsageError: The block was left.
            WrongTask: Another run, or no task of a body, registers it.
        """
        given: Any = call_factory
        if not callable(given):
            if isinstance(given, Call):
                given.close()  # refused here, it is not one that was forgotten
            raise ConfigurationError(
                f"on_rollback() takes a function that makes the call, not {call_factory!r}; "
                f"write `lambda: ...` around it"
            )
        if not self._is_open:
            raise UsageError("on_rollback() was called outside of the saga's block")
        if require_body("on_rollback()") is not self._run:
            raise WrongTask("on_rollback() was called by another run than the one whose saga it is")
        rollback = Rollback(call_factory, self._run.current_scope().branch("rollback").path)
        self._rollbacks.append(rollback)
        self._run.sagas.append(rollback)
        self._run.note(Call(self._run, "saga", SagaOperation()))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Roll back if the block is left by an exception of its own."""
        self._is_open = False
        if isinstance(error, Signal | GeneratorExit):
            return  # stopped from outside: the run is claimed once more for its rollbacks
        if error is not None:
            await roll_back(self._run, self._rollbacks)
        for rollback in self._rollbacks:
            self._run.sagas.remove(rollback)


def saga() -> Saga:
    """Begin a block whose effects are undone if it cannot be finished.

        async with saga() as s:
            seat = await book_seat(trip)
            s.on_rollback(lambda: cancel_seat(seat))

    What was registered is run in reverse, durably and once, when the block is left by an exception, and also when the
    run is cancelled, meets its deadline, or is failed because its workers died. Rollbacks retry as their steps say. All
    of them are tried; if some fail, the block raises an `ExceptionGroup` of their errors, the first error as its cause.

    Raises:
        NotInRun: No body calls it.
    """
    return Saga(require_body("saga()"))


async def roll_back(run: ActiveRun, rollbacks: Iterable[Rollback]) -> None:
    """Run `rollbacks`, the last registered first, to the end: a cancel of the task that rolls back waits for it.

    Raises:
        ExceptionGroup: Some failed.
    """
    is_cancelled = False
    task = run.loop.start(_all(run, list(rollbacks)), run.current_scope(), copy_context())
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            is_cancelled = True
    if errors := task.result():
        raise ExceptionGroup("a saga could not be rolled back", errors)
    if is_cancelled:
        raise asyncio.CancelledError


async def _all(run: ActiveRun, rollbacks: list[Rollback]) -> list[Exception]:
    errors: list[Exception] = []
    for rollback in reversed(rollbacks):
        task = run.loop.start(_one(rollback.factory), Scope(rollback.path), copy_context())
        await asyncio.wait([task])
        error = RuntimeError("a rollback was cancelled") if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            errors.append(error)
        elif error is not None:
            raise error
    return errors


async def _one(factory: Factory) -> None:
    await factory()
