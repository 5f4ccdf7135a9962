"""What a spawned step asks for, and how its task says what it is to do. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, NoReturn

from pydantic_core import to_json

from zart_core.call import Call
from zart_core.definition import Step
from zart_core.errors import ConfigurationError, StepFailed
from zart_core.journal import Kind, Outcome, Record
from zart_core.operations import SpawnedOperation, StepOperation
from zart_core.retry import RetryPolicy


class Settled(NamedTuple):
    """The outcome of a spawned step: a value, or an error."""

    value: Any
    error: BaseException | None

    def get(self) -> Any:
        """Return the value or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


@dataclass(slots=True)
class SpawnOperation:
    """Make a step a task of its own, or cancel that task."""

    kind: ClassVar[Kind] = Kind.SPAWN
    step: StepOperation
    task: bytes | None
    """What the task is to do, until it is one; None if it is to be cancelled."""
    settled: Settled | None = None

    def receive(self, record: Record) -> Settled:
        """Return the recorded outcome, the same at each time: one handle may be awaited more than once."""
        if self.settled is None:
            self.settled = self._read(record)
        return self.settled

    def _read(self, record: Record) -> Settled:
        if record.outcome is Outcome.CANCELLED_ELSEWHERE:
            text = f"spawned step {self.step.step.name!r} was cancelled"
            return Settled(None, StepFailed("StepCancelled", text, "", "cancelled"))
        try:
            return Settled(self.step.receive(record), None)
        except Exception as error:  # not RunBlocked, which is none
            return Settled(None, error)

    def plain(self) -> NoReturn:
        """Refuse: only a body spawns."""
        raise AssertionError


class Task(NamedTuple):
    """What a spawned step is to do, as its task says it."""

    step: str
    code: str
    args: bytes
    args_hash: bytes | None
    retry: dict[str, Any] | None
    timeout: tuple[float | None, str] | None

    @staticmethod
    def read(payload: bytes) -> Task:
        """Return what `describe` has written."""
        found = json.loads(payload)
        given = found.get("hash")
        timeout = found.get("timeout")
        return Task(
            found["step"],
            found["code"],
            found["args"].encode(),
            bytes.fromhex(given) if given is not None else None,
            found.get("retry"),
            (timeout[0], timeout[1]) if timeout is not None else None,
        )

    def operation(self, step: Step[Any, Any]) -> SpawnedOperation:
        """Return what to run, by the code of `step`.

        Raises:
            PayloadInvalid: The arguments do not fit its parameters.
        """
        args, kwargs = step.parameters.decode(self.args)
        policy = step.policy if self.retry is None else RetryPolicy(**self.retry)
        timeout, scope = self.timeout or (step.timeout, step.timeout_scope)
        return SpawnedOperation(step, args, kwargs, policy, timeout, scope)


def describe(call: Call[Any], operation: StepOperation, limit: int) -> bytes:
    """Return what a worker has to know to run `call` as a task of its own; `limit` is in bytes.

    Of the options only what differs from the step's own is in it, so that a new deploy may change those.

    Raises:
        PayloadInvalid: An argument cannot be stored.
        PayloadTooLarge: They all take more than `limit` bytes.
    """
    step = operation.step
    task: dict[str, Any] = {"step": step.name, "code": step.code}
    if operation.policy != step.policy:
        task["retry"] = operation.policy
    if (operation.timeout, operation.timeout_scope) != (step.timeout, step.timeout_scope):
        task["timeout"] = [operation.timeout, operation.timeout_scope]
    if call.args_hash is not None:
        task["hash"] = call.args_hash.hex()
    task["args"] = step.parameters.encode(operation.args, operation.kwargs, limit).decode()
    return to_json(task)


def check_spawnable(call: Call[Any]) -> StepOperation:
    """Return the operation of a step's call that other workers can run.

    Raises:
        ConfigurationError: They could not find its function.
    """
    operation = call.operation
    assert isinstance(operation, StepOperation)  # noqa: S101 - a StepCall has no other
    if operation.step.code is None:
        raise ConfigurationError(
            f"step {call.name!r} cannot be spawned, since other workers could not find its function "
            f"{operation.step.fn!r}: decorate a function that has a name with @step, and call that"
        )
    return operation
