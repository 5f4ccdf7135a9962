"""Letting a blocked run try again: names as people write them become identities, then the database decides."""

from __future__ import annotations

from collections.abc import Sequence

from zart_core import ExecutionNotFound, IllegalTransition, RunState, StoreConflict, UsageError
from zart_core.spi import check_reason, load_divergence, matches, shortest
from zart_scheduler.access import Access
from zart_scheduler.actors import this_process
from zart_scheduler.store import repairs

TRIES = 5
"""How often the run is looked at again that was changed between the look and the decision."""

_SHOWN = 10


async def unblock(
    access: Access,
    execution_id: str,
    *,
    accept: str | None,
    reset: str | None,
    reason: str | None,
    actor: str | None,
) -> RunState:
    """Let the execution's blocked run try again; return its state."""
    if accept is not None and reset is not None:
        raise UsageError("give either `accept` or `reset`, not both: one repair at a time")
    who, why = check_reason(actor or this_process()) or "", check_reason(reason)
    for _ in range(TRIES):
        block = await access.read(repairs.find_block(execution_id))
        if block is None:
            raise ExecutionNotFound(execution_id)
        if block.divergence is None:
            raise IllegalTransition(execution_id, block.state, "unblock")
        call = None if accept is None else accepted_call(accept, block.divergence)
        record = None
        if reset is not None:
            record = recorded_call(reset, await access.read(repairs.list_identities(block.run_id)))
        statement = repairs.unblock(
            execution_id, block.run_id, accept=call, reset=record, actor=who, reason=why
        )
        answer = await access.change(statement, repeatable=False)
        if answer.status == "refused":
            raise IllegalTransition(execution_id, answer.state or "ended", "unblock")
        if answer.status == "unblocked":
            return RunState(answer.state or "scheduled")
    raise StoreConflict(f"execution {execution_id!r} is being changed by others: look at it and try again")


def accepted_call(name: str, divergence: bytes) -> str:
    """Return the identity of the call that `name` accepts: the one that the run is blocked at.

    Raises:
        UsageError: The run is not blocked at that call, or at no call at all.
    """
    current = load_divergence(divergence).current
    if current is None:
        raise UsageError(
            "the run is not blocked at a call, so there is nothing to accept; mend what `divergence` says, and unblock "
            "it without `accept`"
        )
    if not matches(name, [current.identity]):
        raise UsageError(
            f"accept: the run is blocked at call {current.name!r} ({current.identity}), not at {name!r}"
        )
    return current.identity


def recorded_call(name: str, recorded: Sequence[str]) -> str:
    """Return the identity of the record that `name` stands for.

    Raises:
        UsageError: There is none, or there are several; the text lists them.
    """
    found = matches(name, recorded)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"reset: {name!r} may be any of these records, name one: {_listed(found, recorded)}")
    raise UsageError(
        f"reset: the run has recorded nothing named {name!r}; it has: {_listed(recorded, recorded)}"
    )


def _listed(identities: Sequence[str], recorded: Sequence[str]) -> str:
    shown = shortest(identities[:_SHOWN], recorded)
    if more := len(identities) - len(shown):
        shown.append(f"and {more} more")
    return ", ".join(shown) or "nothing"
