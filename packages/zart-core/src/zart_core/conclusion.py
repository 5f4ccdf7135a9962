"""How a run ends: what its body returned or raised, as state and payload."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from zart_core import divergence, faults
from zart_core.control import ContinueAsNew, DeadlinePassed, RunCancelled
from zart_core.errors import CallNotAwaited, DeadlineExceeded, PayloadError
from zart_core.handlers import Phase
from zart_core.items import BlockItem, ContinueItem, EndItem
from zart_core.records import DivergenceDetails, Failure
from zart_core.unwinding import Unwinding

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun

log = logging.getLogger("zart")

Ending = tuple[str, bytes | None]

CANNOT_PARK = (
    "%r cannot park: its body waits in memory (asyncio.sleep, asyncio.timeout or a thread), so it keeps its slot; "
    "use zart's sleep and timeout= in bodies"
)
CANNOT_GO_ON = (
    "%r cannot go on: its body runs without ever waiting (a loop around asyncio.sleep(0), for one), and outcomes are "
    "delivered only when it waits; await what it looks for"
)
WAITS_FOR_NOTHING = (
    "its body waits for something that nothing recorded will ever bring (a plain future or a lock)"
)
WAITS_FOR_A_CANCELLED = (
    "its body waits for a call that it had cancelled when it ran before; has its code changed?"
)

_FOREIGN_LOOP = ("attached to a different loop", "bound to a different event loop")


def conclude(
    body: asyncio.Task[Any], run: ActiveRun, phase: Phase, outcome: bytes | None, forgotten: CallNotAwaited
) -> Ending:
    """Return terminal state and payload of a run whose body, or handler, is done (L15 for `forgotten` calls).

    `outcome` is how the body ended if `phase` is a later one; a handler that returns nothing leaves it as it was.
    """
    error = asyncio.CancelledError("the body cancelled itself") if body.cancelled() else body.exception()
    if error is not None:
        if forgotten.calls:
            error.add_note(str(forgotten))
        if phase.follows_a_failure and error.__cause__ is None:
            with suppress(faults.Unrestorable):
                error.__cause__ = faults.restore(outcome or b"null")
        return failed(error)
    if forgotten.calls:
        return failed(forgotten)
    if phase.is_undoing or phase is Phase.ON_CANCEL or (phase is Phase.ON_FAILURE and body.result() is None):
        return unhandled(phase, outcome)
    workflow = run.workflow
    try:
        payload, _ = workflow.result_codec().encode(
            body.result(), f"result of workflow {workflow.name!r}", limit=run.host.max_payload
        )
    except PayloadError as unstorable:
        return failed(unstorable)
    return "completed", payload


def failure_of(phase: Phase, outcome: bytes | None) -> Failure:
    """Return what a handler is told of how the body ended."""
    if phase is Phase.ON_FAILURE:
        return faults.failure(outcome or b"null")
    return Failure("cancelled", "RunCancelled", from_json(outcome or b"null") or "no reason was given")


def unhandled(phase: Phase, outcome: bytes | None) -> Ending:
    """Return the ending of a run whose body's end stands."""
    return ("failed" if phase.follows_a_failure else "cancelled"), outcome


def failed(error: BaseException) -> Ending:
    """Return the ending of a run that failed with `error`."""
    if any(words in str(error) for words in _FOREIGN_LOOP):
        error.add_note(
            "a body has a loop of its own, where objects of another loop do not work: do I/O in a step"
        )
    return "failed", faults.record(error)


def stopped(run: ActiveRun, unwinding: Unwinding) -> EndItem | ContinueItem | BlockItem:
    """Return what is recorded of a run whose body was stopped by a signal."""
    reason = unwinding.reason
    if unwinding.signal is ContinueAsNew:
        assert isinstance(reason, str)  # noqa: S101 - the next run's input
        return ContinueItem(run, reason.encode())
    if unwinding.signal is RunCancelled:
        return EndItem(run, "cancelled", to_json(reason), bool(run.sagas))
    if unwinding.signal is DeadlinePassed:
        late = f"workflow {run.workflow.name!r} did not finish within its timeout"
        return EndItem(run, *failed(DeadlineExceeded(late)), bool(run.sagas))
    if isinstance(reason, DivergenceDetails):
        log.warning("%r cannot go on with this worker's code: %s", run, reason.reason)
        return BlockItem(run, divergence.dump(reason))
    return broken(run, str(reason))


def broken(run: ActiveRun, reason: str) -> BlockItem:
    """Return what is recorded of a run that the engine, or the database, is at fault with."""
    details = divergence.without_record(divergence.BROKEN, reason, run.execution_id)
    return BlockItem(run, divergence.dump(details), at_once=True)
