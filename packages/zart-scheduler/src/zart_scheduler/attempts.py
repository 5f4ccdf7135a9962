"""What is recorded of steps that have no outcome yet, folded from their attempts. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from zart_core.spi import AttemptRecord
from zart_scheduler.store.steps import AttemptRow


def fold_attempts(rows: Iterable[AttemptRow], now: float) -> defaultdict[UUID, dict[str, AttemptRecord]]:
    """Return by run and identity what is recorded of each step; rows come in order of their number.

    `now` is the host loop's time, to which due times are reckoned.
    """
    steps_of: defaultdict[UUID, dict[str, AttemptRecord]] = defaultdict(dict)
    for row in rows:
        known = steps_of[row.run_id].get(row.ident) or AttemptRecord(row.ident, 0, None, None)
        failed = row.error is not None
        steps_of[row.run_id][row.ident] = AttemptRecord(
            row.ident,
            row.attempt if failed else known.failed,
            now + row.due_in if failed and row.due_in is not None else known.due_at,
            now + row.deadline_in if row.deadline_in is not None else known.deadline_at,
            row.heartbeat or known.heartbeat,
            row.is_last,
        )
    return steps_of
