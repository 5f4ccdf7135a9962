"""Calls that run a workflow as an execution of its own: a child, whose id derives from parent and call. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from zart_core.call import Call
from zart_core.canonical import args_hash
from zart_core.codec import Codec
from zart_core.errors import ExecutionCancelled, PayloadError
from zart_core.identity import child_id
from zart_core.journal import Kind, Outcome, Record
from zart_core.operations import receive

if TYPE_CHECKING:
    from zart_core.definition import Workflow
    from zart_core.executor import ActiveRun


@dataclass(frozen=True, slots=True)
class DetachedChild:
    """An execution that a body has started and that goes on whatever becomes of its parent."""

    execution_id: str


@dataclass(frozen=True, slots=True)
class ChildOperation:
    """Run a workflow as an execution of its own, for run `run_index` of the execution `parent`.

    `input` is the stored form of the arguments, or why they have none. A detached child is started, not waited for.
    """

    kind: ClassVar[Kind] = Kind.CHILD
    workflow: Workflow[Any, Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    input: bytes | PayloadError = b""
    parent: str = ""
    run_index: int = 0
    is_detached: bool = False

    def execution_id(self, identity: str) -> str:
        """Return the id of the child that the call of this identity starts."""
        return child_id(self.parent, self.run_index, identity)

    def receive(self, record: Record) -> Any:
        """Return the child's result, or raise its error or `ExecutionCancelled`; of a detached one, return its id."""
        if record.outcome is Outcome.CANCELLED_ELSEWHERE:
            raise ExecutionCancelled(
                self.execution_id(record.identity), json.loads(record.payload or b"null")
            )
        codec = _DETACHED if self.is_detached else self.workflow.result_codec()
        return receive(record, codec, f"result of child {self.workflow.name!r}")

    def reference(self, identity: str) -> bytes | None:
        """Return what the start of a detached child is recorded as; None for one that is waited for."""
        if not self.is_detached:
            return None
        return _DETACHED.encode(DetachedChild(self.execution_id(identity)), "a detached child")[0]

    async def plain(self) -> Any:
        """Run the function, outside any run."""
        return await self.workflow.fn(*self.args, **self.kwargs)


_DETACHED = Codec.of(DetachedChild, what="a detached child")


def child_call(
    body: ActiveRun,
    workflow: Workflow[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    is_detached: bool = False,
) -> Call[Any]:
    """Return the call by which `body` starts a child. Arguments that cannot be stored are the call's failure (L2).

    Raises:
        TypeError: The arguments do not fit the workflow's function.
        ConfigurationError: An annotation of the workflow cannot be resolved.
    """
    given = workflow.parameters.bind(args, kwargs)
    workflow.result_codec()
    parent, run_index = body.context.execution_id, body.context.run_index
    operation = ChildOperation(workflow, args, kwargs, b"", parent, run_index, is_detached)
    call: Call[Any] = Call(body, workflow.name, operation, args_hash(given))
    if body.journal.find(call.identity) is None:  # else it will not be started
        call.operation = replace(operation, input=_stored(body, workflow, args, kwargs))
    return call


def _stored(
    body: ActiveRun, workflow: Workflow[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bytes | PayloadError:
    """Encode the arguments as they are when the call is made: the body may change them before it starts."""
    try:
        return workflow.parameters.encode(args, kwargs, body.host.max_payload)
    except PayloadError as error:
        return error
