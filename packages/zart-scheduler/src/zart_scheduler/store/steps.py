"""The journal: the checkpoint that writes it, and the reads that give it to a claimed run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from zart_scheduler.sql import queries
from zart_scheduler.store.statement import Statement, json_text

_SQL = queries("steps")
_FLUSH = _SQL["flush"]
_LOAD_JOURNALS = _SQL["load_journals"]
_LOAD_ATTEMPTS = _SQL["load_attempts"]
_LOAD_SPAWNED_ATTEMPTS = _SQL["load_spawned_attempts"]


class FlushRow(NamedTuple):
    """One answer of a flush. `secs`: until a parked run is due, or until a collect should look again."""

    verdict: str
    task: UUID | None
    ident: str | None
    turn: int | None
    kind: str | None
    outcome: str | None
    payload: bytes | None
    secs: float | None


class JournalRow(NamedTuple):
    """One record of a run. `turn` None: started, and its outcome has not come or was not yet taken in."""

    run_id: UUID
    ident: str
    seq: int
    kind: str
    outcome: str
    turn: int | None
    args_hash: bytes | None
    attempt: int
    payload: bytes | None


class AttemptRow(NamedTuple):
    """A failed attempt (`error`), a heartbeat, a recorded deadline, or several. Seconds from now; negative = past.

    `is_last`: a person has granted one more attempt after it, whatever the policy says.
    """

    run_id: UUID
    ident: str
    attempt: int
    error: bytes | None
    heartbeat: bytes | None
    due_in: float | None
    deadline_in: float | None
    is_last: bool


def flush(
    worker_id: UUID, steps: str | bytes | None, rest: str | bytes | None, *, resend: bool = False
) -> Statement[list[FlushRow]]:
    """Record one checkpoint.

    Args:
        worker_id: Whose checkpoint; the fence (L4).
        steps: Plain records as a JSON array, or None.
        rest: Everything else as a JSON object of arrays, or None; the form of both is `zart_flush_v1`'s.
        resend: The very same checkpoint was sent before and its answer is not known.
    """
    params = {"worker": worker_id, "steps": json_text(steps), "rest": json_text(rest), "resend": resend}
    return Statement(_FLUSH, params, lambda rows: [FlushRow._make(row) for row in rows])


def load_journals(runs: Sequence[tuple[UUID, int | None]]) -> Statement[list[JournalRow]]:
    """Return the records of `runs`, in no order; with a floor only those whose turn is not below it."""
    params = {"runs": [run_id for run_id, _ in runs], "floors": [floor for _, floor in runs]}
    return Statement(_LOAD_JOURNALS, params, lambda rows: [JournalRow._make(row) for row in rows])


def load_attempts(runs: Sequence[UUID]) -> Statement[list[AttemptRow]]:
    """Return the recorded attempts of `runs` by run, identity and number."""
    return Statement(
        _LOAD_ATTEMPTS, {"runs": list(runs)}, lambda rows: [AttemptRow._make(row) for row in rows]
    )


def load_spawned_attempts(calls: Sequence[tuple[UUID, str]]) -> Statement[list[AttemptRow]]:
    """Return the recorded attempts of spawned steps, given by run and identity, in the same order."""
    params = {"runs": [run_id for run_id, _ in calls], "idents": [ident for _, ident in calls]}
    return Statement(_LOAD_SPAWNED_ATTEMPTS, params, lambda rows: [AttemptRow._make(row) for row in rows])
