"""What a worker owns, by the database and by its memory; the two may differ, and the difference must not last.

*Strays* are owned but not known: their claim was committed and its answer, or what it read next, was lost. No other
worker takes them, since this one lives, so it hands them back.
*Ghosts* are known but not owned: ended by a sweeper because they did not obey, or taken away by a person. Their next
write would be refused, but a step that never returns makes none, so they are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from pydantic_core import to_json

from zart_scheduler.store.statement import Statement
from zart_scheduler.store.steps import FlushRow, flush
from zart_scheduler.store.tasks import Owned


def find_strays(owned: Iterable[Owned], known: Mapping[str, int]) -> list[Owned]:
    """Return what is owned and not among the `known` tasks; these are as of before `owned` was asked for."""
    return [task for task in owned if known.get(str(task.task_id)) != task.epoch]


def find_ghosts(owned: Iterable[Owned], known: Mapping[str, int]) -> dict[str, int]:
    """Return those of the `known` tasks that are not owned. One that is just leaving may be among them."""
    epochs = {str(task.task_id): task.epoch for task in owned}
    return {task_id: epoch for task_id, epoch in known.items() if epochs.get(task_id) != epoch}


def hand_back(worker_id: UUID, owned: Iterable[Owned]) -> Statement[list[FlushRow]]:
    """Make tasks ready that are not in memory; the answer is that of a flush: one whose row somebody holds stays."""
    releases = [{"t": str(task.task_id), "e": task.epoch} for task in owned]
    return flush(worker_id, None, to_json({"releases": releases}))
