"""What the store answered to a start, an event, a cancel or a wait -> what the caller gets, or an error. Pure."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple, assert_never
from uuid import UUID

from zart_core.codec import MISSING, Codec
from zart_core.divergence import load as load_divergence
from zart_core.errors import (
    Divergence,
    ExecutionBlocked,
    ExecutionCancelled,
    ExecutionConflict,
    ExecutionFailed,
    ExecutionNotFound,
    IllegalTransition,
    RunFinished,
    StoreConflict,
    ZartError,
)
from zart_core.faults import failure
from zart_core.records import EventReceipt
from zart_core.requests import StartRequest
from zart_core.rows import Ending
from zart_core.states import RunState


class Started(NamedTuple):
    """`run_id` and `workflow` are the stored ones, also on a conflict.

    `owned`: a worker executes it, and a caller's transaction must not take it away.
    """

    status: Literal["created", "existing", "restarted", "conflict", "owned"]
    run_id: UUID
    workflow: str


class Delivered(NamedTuple):
    """`state` is the run's, where it was `terminal`."""

    status: Literal["unknown", "terminal", "duplicate", "mismatch", "kept", "consumed"]
    event_id: int | None
    state: str | None


class Cancelled(NamedTuple):
    """`state` is what the run is in now, None if there is none."""

    status: Literal["unknown", "cancelled", "requested", "noop", "terminal"]
    state: str | None


def existed(request: StartRequest, answer: Started) -> bool:
    """Return whether the execution was there before this start.

    Raises:
        ExecutionConflict: It was, with another workflow or input, or the start asked to be rejected then.
    """
    if answer.status == "conflict":
        if answer.workflow != request.workflow:
            reason = f"it runs workflow {answer.workflow!r}, not {request.workflow!r}"
        else:
            reason = f"it was started with another input for workflow {request.workflow!r}; use another id"
        raise ExecutionConflict(request.execution_id, reason)
    if answer.status == "owned":
        raise ExecutionConflict(
            request.execution_id,
            "a worker executes it, and a transaction of yours cannot take it away; restart it without `conn`",
        )
    if answer.status in ("created", "restarted"):  # also when a lost answer made the start be sent twice
        return answer.status == "restarted"
    if request.reject:
        raise ExecutionConflict(request.execution_id, "it was started before, and on_conflict is 'reject'")
    return True


def receipt(execution_id: str, name: str, answer: Delivered) -> EventReceipt:
    """Return the receipt of an event.

    Raises:
        ExecutionNotFound: There is no such execution.
        RunFinished: It has ended.
        StoreConflict: The idempotency key was used for another event.
    """
    match answer.status:
        case "unknown":
            raise ExecutionNotFound(execution_id)
        case "terminal":
            raise RunFinished(execution_id, answer.state or "ended")
        case "mismatch":
            raise StoreConflict(
                f"the idempotency key of event {name!r} was used before, for execution {execution_id!r}, with another "
                f"name or payload; a key belongs to one event"
            )
        case "duplicate" | "kept" | "consumed" as status:
            met = status == "consumed"
            return EventReceipt(str(answer.event_id), status == "duplicate", met, int(met))
        case other:
            assert_never(other)


def cancelled(execution_id: str, answer: Cancelled) -> RunState:
    """Return the run's state after a cancel: `cancelled`, or `running` while its owner unwinds it.

    Raises:
        ExecutionNotFound: There is no such execution.
        IllegalTransition: It has completed or failed.
    """
    match answer.status:
        case "unknown":
            raise ExecutionNotFound(execution_id)
        case "terminal":
            raise IllegalTransition(execution_id, answer.state or "ended", "cancel")
        case "cancelled" | "noop":
            return RunState.CANCELLED
        case "requested":
            return RunState.RUNNING
        case other:
            assert_never(other)


def result_of(ending: Ending, codec: Codec | None) -> Any:
    """Return the result of an execution that has ended, decoded by `codec`, or as plain JSON without one.

    Raises:
        ExecutionNotFound: There is no such execution.
        ExecutionFailed: The run failed; the original exception, where it can be had, is the cause too.
        ExecutionCancelled: It was cancelled.
        ExecutionBlocked: A person has to look at it.
        PayloadInvalid: The result does not have the shape that `codec` stands for.
    """
    outcome = ending.outcome or b"null"
    match ending.state:
        case None:
            raise ExecutionNotFound(ending.execution_id)
        case "completed":
            what = f"result of execution {ending.execution_id!r}"
            return (codec or Codec.of(MISSING, what=what)).decode(outcome, what)
        case "failed":
            failed = failure(outcome)
            raise ExecutionFailed(ending.execution_id, failed) from failed.exception
        case "cancelled":
            raise ExecutionCancelled(ending.execution_id, json.loads(outcome))
        case "blocked":
            details = load_divergence(outcome)
            raise ExecutionBlocked(ending.execution_id, str(details), details) from Divergence(details)
        case state:
            raise ZartError(f"execution {ending.execution_id!r} is in the unknown state {state!r}")
