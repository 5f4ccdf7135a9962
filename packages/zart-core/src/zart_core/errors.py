"""Every error of Zart, with its facts as attributes and a stable `code`.

    ZartError
      ConfigurationError   WorkflowNotFound  DuplicateName  SchemaOutOfDate  InvalidText
      UsageError           NotInRun  NestedStep  CallReused  CallNotAwaited  DuplicateKey  WrongTask
                           TransactionInUse
      ExecutionError       ExecutionNotFound  ExecutionConflict  ExecutionFailed  ExecutionCancelled
                           ExecutionBlocked  RunFinished  IllegalTransition  WorkerCrashed
      StepError            StepFailed  StepTimeout  NonRetryable
      EventTimeout  DeadlineExceeded  WaitTimeout
      PayloadError         PayloadInvalid  PayloadTooLarge
      Divergence
      StoreError           StoreUnavailable  StoreConflict

The facts are also `args`, so that every error survives `pickle` and `copy`. `StepTimeout`, `EventTimeout`,
`DeadlineExceeded` and `WaitTimeout` are `TimeoutError` too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zart_core.records import DivergenceDetails, Failure


class ZartError(Exception):
    """Root of all errors that Zart raises. `code` is stable and meant for machines."""

    code: str = "ZART-Z000"

    def __init__(self, *facts: Any) -> None:
        super().__init__()
        self.args = facts  # set directly: OSError's own __init__ would cut three arguments down to two

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__


class ConfigurationError(ZartError):
    """Something is set up in a way that cannot work; the text says what and how to mend it."""

    code = "ZART-C001"


class InvalidText(ConfigurationError, ValueError):
    """A retry policy, duration or size text does not follow its grammar. `column` counts from 1."""

    code = "ZART-C002"

    def __init__(self, what: str, text: str, column: int, expected: str) -> None:
        super().__init__(what, text, column, expected)
        self.what, self.text, self.column, self.expected = what, text, column, expected

    def __str__(self) -> str:
        return f"invalid {self.what} {self.text!r} at column {self.column}: {self.expected}"


class WorkflowNotFound(ConfigurationError):
    """No workflow of that name is registered where it was looked for."""

    code = "ZART-C003"

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        self.name, self.known = name, tuple(sorted(known))
        super().__init__(self.name, self.known)

    def __str__(self) -> str:
        return (
            f"no workflow named {self.name!r} is registered (known: {', '.join(self.known) or 'none'}); "
            f"start a worker that imports the module which defines it, or check the spelling"
        )


class DuplicateName(ConfigurationError):
    """Two different workflows or steps claim one name (and version)."""

    code = "ZART-C004"

    def __init__(self, kind: str, name: str, first: str, second: str) -> None:
        super().__init__(kind, name, first, second)
        self.kind, self.name, self.first, self.second = kind, name, first, second

    def __str__(self) -> str:
        return (
            f"two {self.kind}s are named {self.name!r}: {self.first} and {self.second}; "
            f"names are how records find their code again, so give one of them another name"
        )


class SchemaOutOfDate(ConfigurationError):
    """The database's schema is not the one this release needs. `found` is None if there is none."""

    code = "ZART-C005"

    def __init__(self, found: str | None, expected: str) -> None:
        super().__init__(found, expected)
        self.found, self.expected = found, expected

    def __str__(self) -> str:
        state = "has no Zart schema" if self.found is None else f"is at schema {self.found}"
        return f"the database {state}, this release needs {self.expected}: run `zart migrate`"


class UsageError(ZartError):
    """The program uses Zart in a way that has no meaning; nothing was done."""

    code = "ZART-U001"


class NotInRun(UsageError):
    """A durable operation was used outside a workflow's body."""

    code = "ZART-U002"


class NestedStep(UsageError):
    """A durable operation was used inside a step."""

    code = "ZART-U003"

    def __init__(self, operation: str, step: str) -> None:
        super().__init__(operation, step)
        self.operation, self.step = operation, step

    def __str__(self) -> str:
        return (
            f"{self.operation} was called inside step {self.step!r}: a step is one unit and cannot hold durable "
            f"operations; move the call into the workflow's body, or call a plain function instead"
        )


class CallReused(UsageError):
    """A durable call was awaited twice."""

    code = "ZART-U004"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"the call {self.name!r} was already awaited; make another call to run it again"


class CallNotAwaited(UsageError):
    """A body ended with durable calls that were neither awaited nor handed on.

    `calls` holds one `(name, source line)` for each.
    """

    code = "ZART-U005"

    def __init__(self, calls: Iterable[tuple[str, str]]) -> None:
        self.calls = tuple((name, where) for name, where in calls)
        super().__init__(self.calls)

    def __str__(self) -> str:
        listed = "; ".join(f"{name!r} at {where}" for name, where in self.calls)
        return f"durable call never awaited: {listed}; write `await` before it, or hand it to gather or a task group"


class DuplicateKey(UsageError):
    """One key was used twice for one name in one scope."""

    code = "ZART-U006"

    def __init__(self, name: str, key: str) -> None:
        super().__init__(name, key)
        self.name, self.key = name, key

    def __str__(self) -> str:
        return f"step {self.name!r} was already called with key {self.key!r} in this scope; keys must differ"


class WrongTask(UsageError):
    """A durable operation was used from a thread, a callback or a foreign event loop."""

    code = "ZART-U007"


class TransactionInUse(UsageError):
    """A step asked for a second transaction in one attempt."""

    code = "ZART-U008"

    def __init__(self, step: str) -> None:
        super().__init__(step)
        self.step = step

    def __str__(self) -> str:
        return (
            f"step {self.step!r} has opened its transaction already: there is one for each attempt, which commits when "
            f"the step returns; put all statements into one block, or make two steps of it"
        )


class ExecutionError(ZartError):
    """Something about one execution; `execution_id` names it."""

    code = "ZART-E001"

    def __init__(self, execution_id: str, *facts: Any) -> None:
        super().__init__(execution_id, *facts)
        self.execution_id = execution_id


class ExecutionNotFound(ExecutionError):
    """No execution has that id."""

    code = "ZART-E002"

    def __init__(self, execution_id: str) -> None:
        super().__init__(execution_id)

    def __str__(self) -> str:
        return f"no execution {self.execution_id!r}"


class ExecutionConflict(ExecutionError):
    """The id is taken by an execution of another workflow or with another input."""

    code = "ZART-E003"

    def __init__(self, execution_id: str, reason: str) -> None:
        super().__init__(execution_id, reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} exists already: {self.reason}"


class ExecutionFailed(ExecutionError):
    """The run ended as failed; `failure` has type, message and traceback of what its workflow raised."""

    code = "ZART-E004"

    def __init__(self, execution_id: str, failure: Failure) -> None:
        super().__init__(execution_id, failure)
        self.failure = failure

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} failed: {self.failure}"


class ExecutionCancelled(ExecutionError):
    """The run was cancelled."""

    code = "ZART-E005"

    def __init__(self, execution_id: str, reason: str | None = None) -> None:
        super().__init__(execution_id, reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} was cancelled" + (f": {self.reason}" if self.reason else "")


class ExecutionBlocked(ExecutionError):
    """The engine refuses to guess how the run goes on and waits for a person.

    `divergence` has both sides and what repairs it; `reason` says the same in one line.
    """

    code = "ZART-E006"

    def __init__(self, execution_id: str, reason: str, divergence: DivergenceDetails | None = None) -> None:
        super().__init__(execution_id, reason, divergence)
        self.reason, self.divergence = reason, divergence

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} is blocked: {self.reason}"


class RunFinished(ExecutionError):
    """The execution has ended and takes nothing more."""

    code = "ZART-E007"

    def __init__(self, execution_id: str, state: str) -> None:
        super().__init__(execution_id, state)
        self.state = state

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} is {self.state} and takes nothing more"


class IllegalTransition(ExecutionError):
    """The run's state does not allow the action."""

    code = "ZART-E008"

    def __init__(self, execution_id: str, state: str, action: str) -> None:
        super().__init__(execution_id, state, action)
        self.state, self.action = state, action

    def __str__(self) -> str:
        return f"cannot {self.action} execution {self.execution_id!r}: it is {self.state}"


class WorkerCrashed(ExecutionError):
    """A run was failed because its workers died `deaths` times in a row, and nothing was recorded in between."""

    code = "ZART-E009"

    def __init__(self, execution_id: str, deaths: int) -> None:
        super().__init__(execution_id, deaths)
        self.deaths = deaths

    def __str__(self) -> str:
        return (
            f"{self.deaths} workers in a row died while they ran execution {self.execution_id!r}, and nothing was "
            f"recorded in between: look for a crash of the interpreter or for memory that runs out"
        )


class StepError(ZartError):
    """Something about one step."""

    code = "ZART-S001"


class StepFailed(StepError):
    """A step failed with an error that cannot be restored by type; type, message and traceback tell it."""

    code = "ZART-S002"

    def __init__(self, type: str, message: str, traceback: str = "", kind: str = "error") -> None:
        super().__init__(type, message, traceback, kind)
        self.type, self.message, self.traceback, self.kind = type, message, traceback, kind

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class StepTimeout(StepError, TimeoutError):
    """A step did not finish within its timeout. Never retried. `seconds` is the timeout that passed.

    `silent`: the step was alive for all we know, but sent no heartbeat for so long; this is retried like an error.
    """

    code = "ZART-S003"

    def __init__(
        self,
        step: str = "",
        seconds: float = 0.0,
        silent: bool = False,  # noqa: FBT001, FBT002 - a fact, and facts come in order
    ) -> None:
        super().__init__(step, seconds, silent)
        self.step, self.seconds, self.silent = step, seconds, silent

    def __str__(self) -> str:
        if self.silent:
            return f"step {self.step!r} sent no heartbeat for {self.seconds:g} s"
        return f"step {self.step!r} did not finish within {self.seconds:g} s"


class NonRetryable(StepError):
    """Raise this, or a subclass of it, in a step to fail it without further attempts."""

    code = "ZART-S004"


class EventTimeout(ZartError, TimeoutError):
    """No event of that name came in time. `seconds` is how long the wait was meant to last."""

    code = "ZART-V001"

    def __init__(self, name: str = "", seconds: float = 0.0) -> None:
        super().__init__(name, seconds)
        self.name, self.seconds = name, seconds

    def __str__(self) -> str:
        return f"no event {self.name!r} came within {self.seconds:g} s"


class DeadlineExceeded(ZartError, TimeoutError):
    """The workflow's own timeout passed."""

    code = "ZART-V002"


class WaitTimeout(ZartError, TimeoutError):
    """The caller's patience ended; the execution itself goes on unaffected."""

    code = "ZART-V003"

    def __init__(self, execution_id: str = "", seconds: float = 0.0) -> None:
        super().__init__(execution_id, seconds)
        self.execution_id, self.seconds = execution_id, seconds

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} did not finish within {self.seconds:g} s; it goes on"


class PayloadError(ZartError):
    """A value cannot be stored or restored."""

    code = "ZART-P001"


class PayloadInvalid(PayloadError):
    """A value does not have the declared shape, or does not come back equal from the store."""

    code = "ZART-P002"


class PayloadTooLarge(PayloadError):
    """A value is larger than `limit` bytes when stored."""

    code = "ZART-P003"

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(what, size, limit)
        self.what, self.size, self.limit = what, size, limit

    def __str__(self) -> str:
        return (
            f"{self.what} takes {self.size:,} bytes when stored, the limit is {self.limit:,}; "
            f"store the data elsewhere and pass a reference to it"
        )


class Divergence(ZartError):
    """What a run has recorded does not fit today's code. `code` is that of its `details`."""

    code = "ZART-D000"

    def __init__(self, details: DivergenceDetails) -> None:
        super().__init__(details)
        self.details, self.code = details, details.code


class StoreError(ZartError):
    """Something about the database."""

    code = "ZART-X001"


class StoreUnavailable(StoreError):
    """The database cannot be reached."""

    code = "ZART-X002"


class StoreConflict(StoreError):
    """What is stored contradicts what was sent, such as an idempotency key used again with another payload."""

    code = "ZART-X003"
