"""What each kind of call asks for, as data. Pure: the executor acts on it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar

from zart_core import faults
from zart_core.codec import Codec
from zart_core.control import RunBlocked
from zart_core.duration import Duration, seconds
from zart_core.errors import ConfigurationError, EventTimeout, NotInRun, PayloadInvalid
from zart_core.journal import UNSET, Kind, Outcome, Record
from zart_core.retry import RetryPolicy, as_policy
from zart_core.untyped import encode_plain

if TYPE_CHECKING:
    from zart_core.definition import Step

SCOPES = ("global", "per_attempt")


def check_timeout(timeout: Duration | None, scope: str) -> float | None:
    """Return `timeout` in seconds.

    Raises:
        ConfigurationError: `scope` is neither `global` nor `per_attempt`, or the timeout is not above zero.
    """
    if scope not in SCOPES:
        raise ConfigurationError(f"timeout_scope must be 'global' or 'per_attempt', not {scope!r}")
    if timeout is None:
        return None
    if (length := seconds(timeout, what="timeout")) <= 0:
        raise ConfigurationError(f"a timeout must be longer than zero, not {timeout!r}")
    return length


@dataclass(frozen=True, slots=True)
class StepOperation:
    """Run a step's function, with retries and a timeout in seconds."""

    kind: ClassVar[Kind] = Kind.STEP
    step: Step[Any, Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    policy: RetryPolicy
    timeout: float | None
    timeout_scope: str
    aliases: tuple[str, ...] = ()
    """Names that its call may be recorded under as well."""

    def without_aliases(self) -> StepOperation:
        """Return the same, found by its own name only."""
        return replace(self, aliases=()) if self.aliases else self

    def with_retry(self, retry: str | RetryPolicy | None) -> StepOperation:
        """Return the same with another retry policy."""
        return replace(self, policy=as_policy(retry))

    def with_timeout(self, timeout: Duration | None, scope: str | None) -> StepOperation:
        """Return the same with another timeout."""
        scope = scope or self.timeout_scope
        return replace(self, timeout=check_timeout(timeout, scope), timeout_scope=scope)

    def run(self) -> Any:
        """Call the step's function."""
        return self.step.fn(*self.args, **self.kwargs)

    @property
    def is_async(self) -> bool:
        """Whether `run` gives a coroutine; otherwise it belongs in a thread."""
        return self.step.is_async

    @property
    def codec(self) -> Codec:
        """How the result is stored."""
        return self.step.result_codec()

    def receive(self, record: Record) -> Any:
        """Return the recorded result, or raise the recorded error."""
        return receive(record, self.codec, f"result of step {self.step.name!r}")

    async def plain(self) -> Any:
        """Call the step's function, outside any run; a sync one runs inline."""
        result = self.run()
        return await result if isawaitable(result) else result


@dataclass(frozen=True, slots=True)
class SpawnedOperation(StepOperation):
    """The same, as a task of its own."""

    kind: ClassVar[Kind] = Kind.SPAWN


@dataclass(frozen=True, slots=True)
class CaptureOperation:
    """Run a function once and record what it returns. Without `fn`, the database's clock is asked."""

    kind: ClassVar[Kind] = Kind.CAPTURE
    name: str
    fn: Callable[[], Any] | None
    codec: Codec
    policy: ClassVar[RetryPolicy] = as_policy(None)
    timeout: ClassVar[float | None] = None
    timeout_scope: ClassVar[str] = "global"

    def run(self) -> Any:
        """Call the function."""
        assert self.fn is not None  # noqa: S101 - the executor asks the clock instead
        return self.fn()

    @property
    def is_async(self) -> bool:
        """Whether `run` gives a coroutine."""
        return iscoroutinefunction(self.fn)

    def receive(self, record: Record) -> Any:
        """Return the recorded value, or raise the recorded error."""
        return receive(record, self.codec, f"value of {self.name!r}")

    def plain(self) -> Coroutine[Any, Any, Any]:
        """Refuse: there is no run that could record it."""
        raise _outside(self.name)


@dataclass(frozen=True, slots=True)
class SleepOperation:
    """Wait for a length in seconds, or until a moment. The database reckons the wake-up time (L8)."""

    kind: ClassVar[Kind] = Kind.SLEEP
    name: str
    length: float | None
    until: datetime | None

    def receive(self, record: Record) -> None:
        """Return None: a sleep that has come is over."""

    def plain(self) -> Coroutine[Any, Any, Any]:
        """Refuse: there is no run that could record it."""
        raise _outside(self.name)


@dataclass(frozen=True, slots=True)
class EventOperation:
    """Wait for an event, at most `timeout` seconds; with a `key` also for a broadcast of that key."""

    kind: ClassVar[Kind] = Kind.EVENT
    name: str
    codec: Codec
    timeout: float | None
    key: str | None

    def receive(self, record: Record) -> Any:
        """Return the event's payload, or raise `EventTimeout`, or `PayloadInvalid` if it has another shape."""
        if record.outcome is Outcome.TIMEOUT:
            raise EventTimeout(self.name, self.timeout or 0.0)
        return self.codec.decode(record.payload or b"null", f"payload of event {self.name!r}")

    def plain(self) -> Coroutine[Any, Any, Any]:
        """Refuse: there is no run that could record it."""
        raise _outside(self.name)


@dataclass(frozen=True, slots=True)
class SagaOperation:
    """Take note that a rollback is registered. There is nothing to wait for."""

    kind: ClassVar[Kind] = Kind.SAGA

    def receive(self, record: Record) -> None:
        """Return None: nothing was waited for."""

    def plain(self) -> Coroutine[Any, Any, Any]:
        """Refuse: there is no run that could record it."""
        raise _outside("saga")


@dataclass(frozen=True, slots=True)
class PublishOperation:
    """Let anyone read a value by a name, until the run publishes another."""

    kind: ClassVar[Kind] = Kind.STATE
    name: str
    value: Any

    def encode(self, limit: int) -> bytes:
        """Return the value as it is stored, in at most `limit` bytes.

        Raises:
            PayloadError: It cannot be stored.
        """
        return encode_plain(self.value, f"value of state {self.name!r}", limit=limit)

    def receive(self, record: Record) -> None:
        """Return None, or raise the recorded error: the value could not be stored."""
        if record.outcome is not Outcome.OK:
            receive(record, _NOTHING, f"state {self.name!r}")

    def plain(self) -> Coroutine[Any, Any, Any]:
        """Refuse: there is no run that could record it."""
        raise _outside(self.name)


_NOTHING = Codec.of(None, what="nothing")

AnyOperation = StepOperation | CaptureOperation | SleepOperation | EventOperation | PublishOperation


def receive(record: Record, codec: Codec, what: str) -> Any:
    """Return what `record` holds, or raise it.

    Raises:
        RunBlocked: It cannot be read by today's code; another branch of the body must not run because of that.
    """
    if record.outcome is not Outcome.OK:
        try:
            error = faults.restore(record.payload or b"")
        except Exception as missing:
            raise RunBlocked(
                f"the error recorded for {record.identity!r} cannot be restored: {missing}"
            ) from missing
        raise error
    if record.value is not UNSET:
        return record.value
    try:
        return codec.decode(record.payload or b"null", what)
    except PayloadInvalid as error:
        raise RunBlocked(f"the {what} cannot be read by today's code: {error}") from error


def _outside(name: str) -> NotInRun:
    return NotInRun(
        f"{name!r} is a durable operation and works only inside a workflow's body; start the workflow with a client"
    )
