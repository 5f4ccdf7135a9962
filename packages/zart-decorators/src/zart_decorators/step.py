"""`@step`: a plain function, async or not, becomes a named unit of work with a recorded outcome."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from types import FrameType
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from zart_core import RetryPolicy, Step
from zart_core.spi import Duration
from zart_decorators.scope import local_names

P = ParamSpec("P")
R = TypeVar("R")
ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]


class StepDecorator(Protocol):
    """What `step(...)` gives: call it with the function."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Step[P, R]: ...
    def __call__(self, fn: Any, /) -> Any:
        """Make a step of `fn`."""
        ...


@overload
def step(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    name: str | None = None,
    *,
    retry: str | RetryPolicy | None = None,
    timeout: Duration | None = None,
    timeout_scope: Literal["global", "per_attempt"] = "global",
    heartbeat_timeout: Duration | None = None,
    retry_on: ErrorTypes = (),
    no_retry_on: ErrorTypes = (),
    aliases: Sequence[str] = (),
) -> StepDecorator: ...
def step(
    name: Any = None,
    *,
    retry: str | RetryPolicy | None = None,
    timeout: Duration | None = None,
    timeout_scope: Literal["global", "per_attempt"] = "global",
    heartbeat_timeout: Duration | None = None,
    retry_on: ErrorTypes = (),
    no_retry_on: ErrorTypes = (),
    aliases: Sequence[str] = (),
) -> Any:
    """Make a function a step. With or without parentheses; a sync function runs in a thread of the worker.

    Its result is stored by the return annotation; without one it must be JSON (str, int, float, bool, None, list,
    str-keyed dict). Calling it in a body makes a durable call; outside any run, awaiting it just runs the function.

    Args:
        name: What its records are found by, 1 to 255 characters. `{field}` is filled from the arguments.
            Default: the function's name with `_` as `-`.
        retry: "fixed(N, D)", "exponential(N, D)" or a `RetryPolicy`; N retries after the first attempt.
        timeout: Seconds, `timedelta` or text such as "30s".
        timeout_scope: "global": one deadline over all attempts; "per_attempt": each attempt begins anew.
        heartbeat_timeout: Longest silence of an attempt that calls `heartbeat()`; then it is failed as timed out, and
            retried like an error.
        retry_on: Only these exceptions are retried. Default: every `Exception`.
        no_retry_on: These are not, also where `retry_on` names a base of theirs.
        aliases: Former names: a record under one of them is met as this step's. No other step may have one of them.

    Raises:
        ConfigurationError: An option cannot be (a bad text is a `ValueError` too), or the function is a method.
    """

    def make(fn: Callable[..., Any], named: str | None, frame: FrameType) -> Step[..., Any]:
        return Step(
            fn,
            named,
            retry=retry,
            timeout=timeout,
            timeout_scope=timeout_scope,
            heartbeat_timeout=heartbeat_timeout,
            retry_on=_as_tuple(retry_on),
            no_retry_on=_as_tuple(no_retry_on),
            aliases=aliases,
            localns=local_names(frame),
        )

    # The frame that decorates is where the function's annotations look for names.
    if callable(name):
        return make(name, None, sys._getframe(1))  # noqa: SLF001 - the documented way to the caller's frame
    return lambda fn: make(fn, name, sys._getframe(1))  # noqa: SLF001 - as above


def _as_tuple(types: ErrorTypes) -> tuple[type[BaseException], ...]:
    return types if isinstance(types, tuple) else (types,)
