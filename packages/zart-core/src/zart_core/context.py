"""The operations of a body. Each returns a `Call`; outside a body they raise `NotInRun`, in a step `NestedStep`."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar, overload
from uuid import UUID, uuid4

from zart_core.call import Call, StepCall
from zart_core.children import DetachedChild, child_call
from zart_core.codec import MISSING, Codec
from zart_core.continuing import continue_as_new
from zart_core.current import ExecutionContext, context, require_body
from zart_core.definition import ErrorTypes, Invocation, Step, Workflow
from zart_core.duration import Duration, seconds
from zart_core.errors import ConfigurationError, UsageError
from zart_core.hints import resolve_hints
from zart_core.identity import MAX_KEY, check_name
from zart_core.operations import CaptureOperation, EventOperation, PublishOperation, SleepOperation
from zart_core.retry import RetryPolicy
from zart_core.saga import saga
from zart_core.waits import as_completed, fan_out, spawn, wait_all, wait_any, wait_first

P = ParamSpec("P")
T = TypeVar("T")


def sleep(name: str, duration: Duration) -> Call[None]:
    """Wait durably: the wake-up time is recorded once, and a parked run holds nothing but a row.

    Args:
        name: What the sleep is called in the records.
        duration: Seconds, `timedelta` or text such as "3d". Zero and less is over at once.
    """
    length = seconds(duration, what="duration of a sleep")
    body = require_body("sleep()")
    return Call(body, check_name("sleep", name), SleepOperation(name, length, None))


def sleep_until(name: str, when: datetime) -> Call[None]:
    """Wait durably until `when`, by the database's clock. A moment in the past is over at once.

    Raises:
        ConfigurationError: `when` has no time zone.
    """
    if not isinstance(when, datetime) or when.tzinfo is None:
        raise ConfigurationError(
            f"sleep_until needs an aware datetime, such as datetime.now(UTC); got {when!r}"
        )
    body = require_body("sleep_until()")
    return Call(body, check_name("sleep", name), SleepOperation(name, None, when))


@overload
def wait_for_event(name: str, *, timeout: Duration | None = None, key: str | None = None) -> Call[Any]: ...
@overload
def wait_for_event(
    name: str, payload_type: type[T], *, timeout: Duration | None = None, key: str | None = None
) -> Call[T]: ...
@overload
def wait_for_event(
    name: str, payload_type: Any, *, timeout: Duration | None = None, key: str | None = None
) -> Call[Any]: ...
def wait_for_event(
    name: str, payload_type: Any = Any, *, timeout: Duration | None = None, key: str | None = None
) -> Call[Any]:
    """Wait for an event of that name, also one that came earlier, and return its payload.

    Args:
        name: The event's name; each wait of a name consumes one event, in the order of their acceptance.
        payload_type: What the payload is; anything that pydantic knows.
        timeout: Longest wait; None waits without limit.
        key: Take a broadcast of this name and key as well, whichever was accepted first; 1 to 255 characters.

    Raises:
        EventTimeout: None came in time. The wait consumes nothing then.
        PayloadInvalid: The payload has another shape.
    """
    limit = None if timeout is None else seconds(timeout, what="timeout")
    codec = Codec.of(payload_type, what=f"payload of event {name!r}")
    if key is not None:
        check_name("key of event", key, MAX_KEY)
    body = require_body("wait_for_event()")
    return Call(body, check_name("event", name), EventOperation(name, codec, limit, key))


def publish(key: str, value: Any) -> Call[None]:
    """Let anyone read `value` while the run goes on and after it: `handle.state(key)`. Recorded once.

    Args:
        key: What it is called, 1 to 255 characters. The run's latest value of each name is kept.
        value: JSON, a pydantic model, a dataclass and what else pydantic can write. It is read as plain JSON.

    Raises:
        PayloadInvalid: The value cannot be written as JSON.
        PayloadTooLarge: It takes more than the worker's `max_payload`.
    """
    body = require_body("publish()")
    return Call(body, check_name("state", key), PublishOperation(key, value))


@overload
def capture(name: str, fn: Callable[[], Awaitable[T]]) -> Call[T]: ...
@overload
def capture(name: str, fn: Callable[[], T]) -> Call[T]: ...
def capture(name: str, fn: Callable[[], Any]) -> Call[Any]:
    """Run `fn` once and record what it returns: for what a replay must not decide anew.

    Args:
        name: What it is called in the records.
        fn: Sync (runs in a thread) or async; its return annotation tells how the value is stored.
    """
    if not callable(fn):
        raise ConfigurationError(
            f"capture() takes a function to call, not {fn!r}; write `lambda: ...` around a value"
        )
    hint = resolve_hints(fn, {}).get("return", MISSING)
    codec = Codec.of(hint, what=f"value of {name!r}")
    body = require_body("capture()")
    return Call(body, check_name("capture", name), CaptureOperation(name, fn, codec))


def now() -> Call[datetime]:
    """Return the database's time, aware and in UTC, recorded once."""
    body = require_body("now()")
    return Call(body, "now", CaptureOperation("now", None, Codec.of(datetime, what="time")))


def new_uuid() -> Call[UUID]:
    """Return a random UUID, recorded once."""
    body = require_body("new_uuid()")
    return Call(body, "new_uuid", CaptureOperation("new_uuid", _uuid, Codec.of(UUID, what="UUID")))


def random_float() -> Call[float]:
    """Return a random number in [0, 1), recorded once."""
    body = require_body("random_float()")
    return Call(
        body, "random_float", CaptureOperation("random_float", _random, Codec.of(float, what="number"))
    )


def detached(invocation: Invocation[Any]) -> Call[DetachedChild]:
    """Start a child that outlives its parent, and return its id as soon as it is recorded, without waiting for it.

    Args:
        invocation: What `workflow.call(...)` gives.

    Raises:
        UsageError: It is something else, or the workflow is known by its name only.
    """
    body = require_body("detached()")
    if not isinstance(invocation, Invocation) or not isinstance(invocation.workflow, Workflow):
        raise UsageError(
            f"detached() takes a workflow with its arguments, as in detached(send_invoice.call(order)), "
            f"not {invocation!r}"
        )
    return child_call(body, invocation.workflow, invocation.args, invocation.kwargs, is_detached=True)


async def _uuid() -> UUID:
    return uuid4()


async def _random() -> float:
    return random.random()


class Context:
    """The operations as methods, for workflows that are registered without decorators."""

    def __init__(self) -> None:
        # Not static methods of the class: type checkers would see one overload of each only.
        self.sleep = sleep
        self.sleep_until = sleep_until
        self.wait_for_event = wait_for_event
        self.publish = publish
        self.capture = capture
        self.detached = detached
        self.spawn = spawn
        self.wait_all = wait_all
        self.wait_any = wait_any
        self.wait_first = wait_first
        self.fan_out = fan_out
        self.as_completed = as_completed
        self.now = now
        self.new_uuid = new_uuid
        self.random_float = random_float
        self.saga = saga
        self.continue_as_new = continue_as_new

    @property
    def execution(self) -> ExecutionContext:
        """What is known of the execution that runs this code."""
        return context()

    def step(
        self,
        name: str,
        fn: Callable[..., Any],
        /,
        *args: Any,
        retry: str | RetryPolicy | None = None,
        timeout: Duration | None = None,
        timeout_scope: str = "global",
        heartbeat_timeout: Duration | None = None,
        retry_on: ErrorTypes = (),
        no_retry_on: ErrorTypes = (),
        aliases: tuple[str, ...] = (),
        **kwargs: Any,
    ) -> StepCall[Any]:
        """Make a call of `fn` as the step `name`; `args` and the other keywords are its arguments."""
        options = (fn, name, retry, timeout, timeout_scope, heartbeat_timeout, retry_on, no_retry_on, aliases)
        try:
            step = _step(*options)
        except TypeError:  # something of it cannot be hashed
            step = _step.__wrapped__(*options)
        return step(*args, **kwargs)


@lru_cache(maxsize=1024)
def _step(
    fn: Callable[..., Any],
    name: str,
    retry: str | RetryPolicy | None,
    timeout: Duration | None,
    timeout_scope: str,
    heartbeat_timeout: Duration | None,
    retry_on: ErrorTypes,
    no_retry_on: ErrorTypes,
    aliases: tuple[str, ...],
) -> Step[..., Any]:
    return Step(
        fn,
        name,
        retry=retry,
        timeout=timeout,
        timeout_scope=timeout_scope,
        heartbeat_timeout=heartbeat_timeout,
        retry_on=retry_on,
        no_retry_on=no_retry_on,
        aliases=aliases,
        is_registered=False,
    )


def current() -> Context:
    """Return the operations of the body that runs now.

    Raises:
        NotInRun: No body runs.
    """
    require_body("current()")
    return Context()


__all__ = [
    "Context",
    "capture",
    "context",
    "continue_as_new",
    "current",
    "new_uuid",
    "now",
    "publish",
    "random_float",
    "sleep",
    "sleep_until",
    "wait_for_event",
]
