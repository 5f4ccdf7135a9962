"""How a run ends: what its body returned or raised, as state and payload."""

from __future__ import annotations

import asyncio
from typing import Any

from zart_core import faults
from zart_core.definition import Workflow
from zart_core.errors import CallNotAwaited, DeadlineExceeded, PayloadError

Ending = tuple[str, bytes]


def conclude(
    body: asyncio.Task[Any], workflow: Workflow[Any, Any], max_payload: int, forgotten: CallNotAwaited | None
) -> Ending:
    """Return terminal state and payload of a run whose body is done (L15 for `forgotten` calls)."""
    error = asyncio.CancelledError("the body cancelled itself") if body.cancelled() else body.exception()
    if error is not None:
        if forgotten is not None:
            error.add_note(str(forgotten))
        return failed(error)
    if forgotten is not None:
        return failed(forgotten)
    try:
        payload, _ = workflow.result_codec().encode(
            body.result(), f"result of workflow {workflow.name!r}", limit=max_payload
        )
    except PayloadError as unstorable:
        return failed(unstorable)
    return "completed", payload


def failed(error: BaseException) -> Ending:
    """Return the ending of a run that failed with `error`."""
    if "attached to a different loop" in str(error):
        error.add_note(
            "a body has a loop of its own, where objects of another loop do not work: do I/O in a step"
        )
    engine = isinstance(error, DeadlineExceeded | PayloadError | CallNotAwaited)
    return "failed", faults.record(error, kind=type(error).__name__ if engine else "error")
