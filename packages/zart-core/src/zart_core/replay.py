"""Decide what one durable call means, given what its run has already recorded.

Pure: no clock, no database, no logging. `executor.py` acts on the decision. Calls meet records by identity (scope,
name, key or occurrence), never by source position; kind and arguments are only compared (L10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zart_core.call import Call
from zart_core.journal import Journal, Outcome, Record


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
    """Today's code does not fit the record; `reason` is one sentence for a person."""

    reason: str


Decision = Execute | Wait | Recorded | Diverged


def decide(journal: Journal, call: Call[Any], on_divergence: str) -> Decision:
    """Return what to do with `call`; total over every journal."""
    record = journal.find(call.identity)
    if record is None:
        return Execute()
    if record.kind is not call.operation.kind:
        return Diverged(
            f"{call.identity!r} is recorded as a {record.kind.label}, and today's code makes a "
            f"{call.operation.kind.label} of it at {call.where}"
        )
    doubt = None
    if _has_other_arguments(call, record):
        doubt = f"{call.identity!r} is recorded with other arguments than today's code gives at {call.where}"
        if call.key is None and journal.is_inferred(call.scope.prefix(call.name)):
            return Diverged(
                f"{doubt}; only its position tells it from other calls of {call.name!r}, so it may be another call "
                f"(use .keyed() to name them)"
            )
        if on_divergence == "block":
            return Diverged(doubt)
    if record.turn is None or record.outcome is Outcome.CANCELLED:
        return Wait(doubt)
    return Recorded(record.turn, doubt)


def _has_other_arguments(call: Call[Any], record: Record) -> bool:
    return None not in (record.args_hash, call.args_hash) and record.args_hash != call.args_hash
