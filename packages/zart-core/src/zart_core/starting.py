"""Begin a call that has no record, or give it up: what each kind of operation asks of the worker and of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zart_core.call import Call
from zart_core.items import CancelItem, RecordItem, WaitItem
from zart_core.journal import Outcome
from zart_core.operations import CaptureOperation, EventOperation, SleepOperation, StepOperation

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun


def start(run: ActiveRun, call: Call[Any]) -> None:
    """Begin `call`; its outcome will come by a record."""
    match call.operation:
        case StepOperation() | CaptureOperation():
            run.attempts.start(call)
        case EventOperation(name=name, timeout=timeout):
            run.put(WaitItem(run, call.identity, call.sequence, name, timeout))
        case SleepOperation(length=length) if length is not None and length <= 0:
            run.record(call, Outcome.OK, b"null")
        case SleepOperation(length=length, until=until):
            run.put(RecordItem.of(run, call, Outcome.OK, None, None, length=length, until=until))


def give_up(run: ActiveRun, call: Call[Any]) -> None:
    """Record that the body gave `call` up before it had an outcome (L12).

    What comes from outside may have come, or been begun by an earlier pass, without this one knowing: it is always
    closed.
    """
    record = run.journal.find(call.identity)
    if record is not None and record.outcome is Outcome.CANCELLED:
        return
    if isinstance(call.operation, SleepOperation | EventOperation):
        run.put(CancelItem(run, call.identity, call.sequence, call.operation.kind))
    elif record is None and run.attempts.give_up(call.identity):
        run.record(call, Outcome.CANCELLED, None)
