"""Durable calls: coroutines whose identity is reserved when they are made, not when they are awaited (L5).

A `Call` can be awaited, or handed to `asyncio.gather`, `create_task`, a task group, `wait_for` or `shield`, once.
"""

from __future__ import annotations

import sys
import warnings
from asyncio import Task, events, tasks
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from enum import Enum
from types import CodeType
from typing import Any, Protocol, Self, TypeVar

from zart_core.current import body_for
from zart_core.errors import CallReused, WrongTask
from zart_core.identity import MAX_KEY, Scope, check_name, keyed_identity, occurrence_identity
from zart_core.journal import Kind, Record

R = TypeVar("R", covariant=True)


class Operation(Protocol):
    """What a call asks for. The engine starts it; `receive` turns its record into what the body gets."""

    @property
    def kind(self) -> Kind:
        """What sort of record it makes."""
        ...

    def receive(self, record: Record) -> Any:
        """Return the recorded value, or raise the recorded error."""
        ...

    def plain(self) -> Coroutine[Any, Any, Any]:
        """Do it without durability, outside any run."""
        ...


class Body(Protocol):
    """The run that a call belongs to, as calls see it."""

    open_calls: dict[int, Call[Any]]
    reserved: int

    def current_scope(self) -> Scope:
        """Return the scope of the task that runs now."""
        ...

    def perform(self, call: Call[Any]) -> Coroutine[Any, Any, Any]:
        """Return the coroutine that waits for the call's outcome."""
        ...


class Work(Protocol):
    """A call as those see it who do what it asks for."""

    context: Context | None

    @property
    def identity(self) -> str:
        """Under which its outcome is recorded."""
        ...

    @property
    def name(self) -> str:
        """What people know it by."""
        ...

    @property
    def sequence(self) -> int:
        """Its place among the calls of its body."""
        ...

    @property
    def args_hash(self) -> bytes | None:
        """What its arguments are compared by on replay."""
        ...

    @property
    def operation(self) -> Any:
        """What it asks for."""
        ...


class _State(Enum):
    MADE = 0
    STARTED = 1
    CLOSED = 2


class Call(Coroutine[Any, Any, R]):
    """One durable operation of a body, awaitable once."""

    __slots__ = (
        "__weakref__",
        "_body",
        "_driver",
        "_inner",
        "_occurrence",
        "_state",
        "_where",
        "args_hash",
        "context",
        "identity",
        "key",
        "name",
        "operation",
        "scope",
        "sequence",
    )

    def __init__(
        self, body: Body | None, name: str, operation: Operation, args_hash: bytes | None = None
    ) -> None:
        self._state = _State.CLOSED  # in case reserving fails: nothing to warn about then
        self._body, self.name, self.operation, self.args_hash = body, name, operation, args_hash
        self.key: str | None = None
        self.context: Context | None = None
        self.sequence = 0
        self._inner: Coroutine[Any, Any, R] | None = None
        self._driver: Task[Any] | None = None
        self._where = _caller()
        if body is not None:
            self.scope = body.current_scope()
            self._occurrence = self.scope.take(name)
            self.identity = occurrence_identity(self.scope.path, name, self._occurrence)
            body.open_calls[id(self)] = self
            self.sequence = body.reserved = body.reserved + 1
        else:
            self.scope, self._occurrence, self.identity = Scope(), 0, ""
        self._state = _State.MADE

    @property
    def where(self) -> str:
        """The source line that made the call, as `file:line in function`."""
        code, line = self._where
        return f"{code.co_filename}:{line} in {code.co_qualname}"

    def identity_under(self, name: str) -> str:
        """Return what its identity would be if it had another name."""
        if self.key is not None:
            return keyed_identity(self.scope.path, name, self.key)
        return occurrence_identity(self.scope.path, name, self._occurrence)

    def _identify(self, name: str, key: str | None) -> None:
        """Reserve another name or key in place of the one reserved so far."""
        if self._body is None:
            self.name, self.key = name, key
            return
        if key is not None:
            self.scope.take_key(name, key)
        if self.key is None:
            self.scope.give_back(self.name, self._occurrence)
        else:
            self.scope.give_back_key(self.name, self.key)
        self.name, self.key = name, key
        if key is not None:
            self.identity = keyed_identity(self.scope.path, name, key)
        else:
            self._occurrence = self.scope.take(name)
            self.identity = occurrence_identity(self.scope.path, name, self._occurrence)

    def hand_on(self) -> None:
        """Take note that the call is begun here: it cannot be begun again, and is not one that was forgotten.

        Raises:
            CallReused: It was begun before.
            WrongTask: It was made in another run, or in none.
        """
        if self._state is not _State.MADE:
            raise CallReused(self.name)
        if body_for(f"call {self.name!r}") is not self._body:
            raise WrongTask(
                f"call {self.name!r} was made in another place than where it is awaited: {self.where}"
            )
        self._state = _State.STARTED
        if self._body is not None:
            del self._body.open_calls[id(self)]

    def _begin(self) -> Coroutine[Any, Any, R]:
        self.hand_on()
        return self.operation.plain() if self._body is None else self._body.perform(self)

    def __await__(self) -> Generator[Any, Any, R]:
        return self._begin().__await__()

    def send(self, value: Any) -> Any:
        """Drive the call by one step, as a task does."""
        if self._inner is None:
            self._inner, self._driver = self._begin(), _current_task()
        elif self._driver is not _current_task():
            raise CallReused(self.name)
        return self._inner.send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        """Raise inside the call, as a task does that is cancelled."""
        if self._inner is not None and self._driver is _current_task():
            return self._inner.throw(typ) if val is None else self._inner.throw(typ, val, tb)
        if self._inner is None:
            self.close()
        raise typ if val is None else val

    def close(self) -> None:
        """Give the call up; if it has not begun it never will."""
        if self._state is _State.MADE and self._body is not None:
            self._body.open_calls.pop(id(self), None)
        self._state = _State.CLOSED
        if self._inner is not None:
            self._inner.close()

    def __del__(self) -> None:
        if self._state is _State.MADE and self._body is None:
            warnings.warn(
                f"call {self.name!r} was never awaited ({self.where})",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.identity or self.name}>"


class StepCall(Call[R]):
    """A call of a step. The methods below return the same call and must be used before it is awaited."""

    __slots__ = ()

    def named(self, name: str) -> Self:
        """Record the step under another name. Its aliases do not count then."""
        self._changed(lambda: self._identify(check_name("step", name), self.key))
        return self._with(lambda operation: operation.without_aliases())

    def keyed(self, key: str) -> Self:
        """Identify the call by `key` (1 to 255 characters) in place of its position among calls of its name.

        Raises:
            DuplicateKey: The key was used for this name in this scope before.
        """
        return self._changed(lambda: self._identify(self.name, check_name("key", key, MAX_KEY)))

    def with_retry(self, retry: Any) -> Self:
        """Use another retry policy (text or `RetryPolicy`, None for no retries) for this call."""
        return self._with(lambda operation: operation.with_retry(retry))

    def with_timeout(self, timeout: Any, *, scope: str | None = None) -> Self:
        """Use another timeout (a duration or None), and scope `global` or `per_attempt`, for this call."""
        return self._with(lambda operation: operation.with_timeout(timeout, scope))

    def _with(self, change: Callable[[Any], Operation]) -> Self:
        return self._changed(lambda: setattr(self, "operation", change(self.operation)))

    def _changed(self, change: Callable[[], None]) -> Self:
        """Apply `change`. A call whose change is refused is not one that was forgotten."""
        if self._state is not _State.MADE:
            raise CallReused(self.name)
        try:
            change()
        except BaseException:
            self.close()
            raise
        return self


def _current_task() -> Task[Any] | None:
    loop = events._get_running_loop()  # noqa: SLF001 - None where there is none, no exception
    return tasks.current_task(loop) if loop is not None else None


_PACKAGES = ("zart_core", "zart_decorators")


def _caller() -> tuple[CodeType, int]:
    """Return code and line of the innermost frame that is not Zart's own."""
    frame = sys._getframe(2)  # noqa: SLF001 - the documented way to a caller's line without building a traceback
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _PACKAGES:
        frame = frame.f_back
    return frame.f_code, frame.f_lineno
