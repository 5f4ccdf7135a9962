"""Decide what one durable call means, given what its run has already recorded.

Pure: no clock, no database, no logging. `executor.py` acts on the decision. Calls meet records by identity (scope,
name, key or occurrence), never by source position; kind and arguments are only compared (L10).
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any, Final

from zart_core.call import Call
from zart_core.identity import Identity
from zart_core.journal import Journal, Kind, Outcome, Record

OTHER_KIND: Final = "ZART-D001"
OTHER_ARGUMENTS: Final = "ZART-D002"
RENAMED: Final = "ZART-D003"

_ENGINES_NAMES: Final = frozenset({"now", "new_uuid", "random_float"})
"""Captures that have their name from the engine: nobody renames them."""


@dataclass(frozen=True, slots=True)
class Execute:
    """Nothing is recorded: it is new work."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It was started, or given up, and has no outcome that could be delivered."""

    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """Its outcome has come; `turn` is its place in the order of the run.

    `doubt` says in what today's code differs from the record, where that is to be warned about only.
    """

    turn: int
    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class Diverged:
    """Today's code does not fit `record`; `code` tells in what way, `reason` is one sentence for a person."""

    code: str
    reason: str
    record: Record


Decision = Execute | Wait | Recorded | Diverged


def identify(journal: Journal, call: Call[Any]) -> str:
    """Return the identity that `call` is recorded by: its own, or that of a former name of its step."""
    own = call.identity
    aliases: tuple[str, ...] = getattr(call.operation, "aliases", ())
    if not aliases or journal.find(own) is not None or journal.attempts(own) is not None:
        return own
    former = (call.identity_under(name) for name in aliases)
    return next((i for i in former if journal.is_unmet(i) or journal.attempts(i) is not None), own)


def decide(journal: Journal, call: Call[Any], on_divergence: str) -> Decision:
    """Return what to do with `call`; total over every journal."""
    record = journal.find(call.identity)
    if record is None:
        return Execute()
    if record.kind is not call.operation.kind:
        reason = (
            f"{call.identity!r} is recorded as {record.kind.with_article}, and today's code makes "
            f"{call.operation.kind.with_article} of it at {call.where}"
        )
        return Diverged(OTHER_KIND, reason, record)
    doubt = None
    if _has_other_arguments(call, record) and call.identity not in journal.accepted:
        doubt = f"{call.identity!r} is recorded with other arguments than today's code gives at {call.where}"
        if call.key is None and journal.is_inferred(call.identity[: call.identity.rindex("#") + 1]):
            reason = (
                f"{doubt}; only its position tells it from other calls of {call.name!r}, so it may be another call "
                f"(use .keyed() to name them)"
            )
            return Diverged(OTHER_ARGUMENTS, reason, record)
        if on_divergence == "block":
            return Diverged(OTHER_ARGUMENTS, doubt, record)
    if record.turn is None or record.outcome is Outcome.CANCELLED:
        return Wait(doubt)
    return Recorded(record.turn, doubt)


def renamed(
    journal: Journal, call: Call[Any], made: Iterable[Call[Any]], *, is_settled: bool
) -> Diverged | None:
    """Return why `call`, which has no record and is about to start, may be a recorded one by another name.

    Args:
        journal: What is recorded. Nothing of it can be delivered any more, or `call` would not start (L11).
        call: The call.
        made: Calls that the body has made and not awaited yet: their records are theirs.
        is_settled: Whether the body waits for nothing in memory. A timer of its own may make it call, later, what it
            called before; then only a record that was made in this very place, or before it, shows that the code has
            changed.
    """
    if call.identity in journal.accepted:
        return None
    record = _next_unmet(journal, call, {other.identity for other in made})
    if record is None or record.kind is not call.operation.kind or _has_other_arguments(call, record):
        return None
    before = Identity.parse(record.identity)
    if record.kind is Kind.CAPTURE and not _ENGINES_NAMES.isdisjoint({before.name, call.name}):
        return None
    if not is_settled and record.sequence > call.sequence:
        return None
    reason = (
        f"{call.identity!r} at {call.where} has no record, and the next record of its scope that no call has met, "
        f"{record.identity!r}, is {record.kind.with_article} with the same arguments: it may be the same call by "
        f"another name"
    )
    return Diverged(RENAMED, reason, record)


def _next_unmet(journal: Journal, call: Call[Any], taken: Container[str]) -> Record | None:
    """Return the record that `call` may have had by another name. Keys are people's own: another key, another call."""
    unmet = (record for record in journal.unmet_in(call.scope.path) if record.identity not in taken)
    if call.key is None:
        return next(unmet, None)
    keys = [(Identity.parse(record.identity).key, record) for record in unmet]
    by_key = next((record for key, record in keys if key == call.key), None)
    return by_key or next((record for key, record in keys if key is None), None)


def _has_other_arguments(call: Call[Any], record: Record) -> bool:
    return None not in (record.args_hash, call.args_hash) and record.args_hash != call.args_hash
