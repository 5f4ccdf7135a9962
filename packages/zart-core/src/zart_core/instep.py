"""What only the code of a step may call."""

from __future__ import annotations

from typing import Any

from zart_core.current import attempt_var, step_var
from zart_core.errors import NotInRun
from zart_core.openattempt import OpenAttempt, TransactionBlock


def transaction() -> TransactionBlock:
    """Open the step's one database transaction: what it writes commits together with the step's record, or not at all.

    `async with transaction() as conn` gives a psycopg `AsyncConnection`, `with` in a sync step a `Connection`, to the
    database of Zart's own records. Leaving the block does not commit: that happens once, when the step has returned.
    An exception, a result that cannot be stored, a lost lease or a record that is there already rolls it back. A lost
    connection or a deadlock runs the step again, without spending an attempt. The connection cannot commit or roll
    back itself (`conn.transaction()` makes savepoints), and must not be used after the block.

    Raises:
        NotInRun: No step of a run calls it.
        TransactionInUse: This attempt of the step has opened one before.
    """
    attempt = _attempt("transaction()")
    attempt.check_free()
    return TransactionBlock(attempt)


def heartbeat(details: Any = None) -> None:
    """Say that the step is alive and, if `details` are given, how far it is. Plain and cheap; also in threads.

    A step with `heartbeat_timeout=` that is silent for longer is failed as timed out, and retried like an error.
    Details are a JSON value. They are recorded in the background, the first at once and then at most once a second,
    and `last_heartbeat()` gives them to the next attempt.

    Raises:
        NotInRun: No step of a run calls it.
        PayloadInvalid: The details are no JSON value.
    """
    _attempt("heartbeat()").pulse.beat(details)


def last_heartbeat() -> Any:
    """Return the details of this step's latest heartbeat, or None.

    They may be those of an earlier attempt in this run, also of one that died with its worker.

    Raises:
        NotInRun: No step of a run calls it.
    """
    return _attempt("last_heartbeat()").pulse.latest


def _attempt(operation: str) -> OpenAttempt:
    attempt = attempt_var.get()
    if attempt is None or step_var.get() is None:  # a body may have been woken by a step
        raise NotInRun(f"{operation} works only inside a step that a workflow calls")
    return attempt
