"""`@durable`: a plain async function becomes a workflow."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine
from types import FrameType
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from zart_core import Workflow
from zart_core.spi import Duration
from zart_decorators.scope import local_names

P = ParamSpec("P")
R = TypeVar("R")


class DurableDecorator(Protocol):
    """What `durable(...)` gives: call it with the function."""

    def __call__(self, fn: Callable[P, Awaitable[R]], /) -> Workflow[P, R]:
        """Make a workflow of `fn`."""
        ...


@overload
def durable(fn: Callable[P, Awaitable[R]], /) -> Workflow[P, R]: ...
@overload
def durable(
    name: str | None = None,
    *,
    version: str = "1",
    current: bool = True,
    timeout: Duration | None = None,
    queue: str = "default",
    priority: int = 0,
    on_divergence: Literal["warn", "block"] = "warn",
    on_failure: Callable[..., Coroutine[Any, Any, Any]] | None = None,
    on_cancel: Callable[..., Coroutine[Any, Any, None]] | None = None,
    max_crashes: int = 5,
) -> DurableDecorator: ...
def durable(
    name: Any = None,
    *,
    version: str = "1",
    current: bool = True,
    timeout: Duration | None = None,
    queue: str = "default",
    priority: int = 0,
    on_divergence: Literal["warn", "block"] = "warn",
    on_failure: Callable[..., Coroutine[Any, Any, Any]] | None = None,
    on_cancel: Callable[..., Coroutine[Any, Any, None]] | None = None,
    max_crashes: int = 5,
) -> Any:
    """Make an async function a durable workflow. With or without parentheses.

    Annotate parameters and result: they say how values are stored, and they are the workflow's JSON Schema.
    The annotations are resolved at first use.

    Args:
        name: What the workflow is known by, 1 to 255 characters. Default: the function's name with `_` as `-`.
        version: Told apart from other code of the same name; a run stays with the version that began it.
        current: Whether this version takes the starts that name none. Exactly one version of a name is current.
        timeout: Longest time from a run's first claim to its end: seconds, `timedelta` or text such as "30m".
        queue: Where runs wait for a worker, unless the start says otherwise.
        priority: -32768 to 32767, the higher number first, unless the start says otherwise.
        on_divergence: "warn" or "block": what a run does whose step has other arguments than recorded.
        on_failure: `async def (failure: Failure, ...)` with the workflow's own arguments after the failure. Runs, as
            durable as a body, once the failure is recorded; its result other than None completes the run.
        on_cancel: Likewise, once a cancel is recorded; what it returns does not matter.
        max_crashes: How many workers may die in a row over a run, with nothing recorded in between, before it fails.

    Raises:
        ConfigurationError: The function is not async, or an option cannot be.
    """

    def make(fn: Callable[..., Any], named: str | None, frame: FrameType) -> Workflow[..., Any]:
        return Workflow(
            fn,
            named,
            version=version,
            current=current,
            timeout=timeout,
            queue=queue,
            priority=priority,
            on_divergence=on_divergence,
            on_failure=on_failure,
            on_cancel=on_cancel,
            max_crashes=max_crashes,
            localns=local_names(frame),
        )

    # The frame that decorates is where the function's annotations look for names.
    if callable(name):
        return make(name, None, sys._getframe(1))  # noqa: SLF001 - the documented way to the caller's frame
    return lambda fn: make(fn, name, sys._getframe(1))  # noqa: SLF001 - as above
