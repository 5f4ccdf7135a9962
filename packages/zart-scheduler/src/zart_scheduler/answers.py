"""What the database answered to a start, an event or a cancel -> what the caller gets, or an error. Pure."""

from __future__ import annotations

from typing import assert_never

from zart_core import (
    EventReceipt,
    ExecutionConflict,
    ExecutionNotFound,
    IllegalTransition,
    RunFinished,
    RunState,
    StoreConflict,
)
from zart_scheduler.requests import StartRequest
from zart_scheduler.store.executions import Cancelled, Delivered, Started


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
