"""Begin a call that has no record, or give it up: what each kind of operation asks of the worker and of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zart_core import faults
from zart_core.call import Call
from zart_core.children import ChildOperation
from zart_core.errors import PayloadError
from zart_core.items import CancelItem, ChildItem, RecordItem, RevokeItem, SpawnItem, WaitItem
from zart_core.journal import Outcome
from zart_core.operations import (
    CaptureOperation,
    EventOperation,
    PublishOperation,
    SleepOperation,
    StepOperation,
)
from zart_core.spawning import SpawnOperation

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun


def start(run: ActiveRun, call: Call[Any]) -> None:
    """Begin `call`; its outcome will come by a record."""
    match call.operation:
        case StepOperation() | CaptureOperation():
            run.attempts.start(call)
        case EventOperation(name=name, key=key, timeout=timeout):
            run.put(WaitItem(run, call.identity, call.sequence, name, key, timeout))
        case PublishOperation() as published:
            _publish(run, call, published)
        case SpawnOperation(task=task) as operation if task is not None:
            run.put(SpawnItem(run, call.identity, call.sequence, task))
            operation.task = None
        case SpawnOperation():
            run.put(RevokeItem(run, call.identity, call.sequence))
        case SleepOperation(length=length) if length is not None and length <= 0:
            run.record(call, Outcome.OK, b"null")
        case SleepOperation(length=length, until=until):
            run.put(RecordItem.of(run, call, Outcome.OK, None, None, length=length, until=until))
        case ChildOperation(input=PayloadError() as error):
            run.record(call, Outcome.ERROR, faults.record(error, kind=type(error).__name__))
        case ChildOperation(workflow=workflow, input=bytes() as stored) as child:
            run.put(
                ChildItem(
                    run,
                    call.identity,
                    call.sequence,
                    child.execution_id(call.identity),
                    workflow,
                    stored,
                    call.args_hash,
                    child.reference(call.identity),
                )
            )


def _publish(run: ActiveRun, call: Call[Any], operation: PublishOperation) -> None:
    try:
        value = operation.encode(run.host.max_payload)
    except PayloadError as error:  # L2: recorded at once
        run.record(call, Outcome.ERROR, faults.record(error, kind=type(error).__name__))
    else:
        run.record(call, Outcome.OK, None, published=value)


def give_up(run: ActiveRun, call: Call[Any]) -> None:
    """Record that the body gave `call` up before it had an outcome (L12).

    What comes from outside may have come, or been begun by an earlier pass, without this one knowing: it is always
    closed.
    """
    record = run.journal.find(call.identity)
    if record is not None and record.outcome is Outcome.CANCELLED:
        return
    operation = call.operation
    if isinstance(operation, SleepOperation | EventOperation):
        run.put(CancelItem(run, call.identity, call.sequence, operation.kind))
    elif isinstance(operation, ChildOperation):
        child = operation.execution_id(call.identity)
        run.put(CancelItem(run, call.identity, call.sequence, operation.kind, child))
    elif record is None and run.attempts.give_up(call.identity):
        run.record(call, Outcome.CANCELLED, None)
