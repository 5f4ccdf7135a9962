"""The end of a run that another run has started: its outcome is in the parent's journal, or the end waits for that."""

from __future__ import annotations

from uuid import UUID

import pytest
from tests.sql.scene import Scene, end, flush, park, turn, verdicts

from zart_scheduler.store import executions, tasks

CHILD = ":child#0"


@pytest.fixture
def family(scene: Scene) -> tuple[UUID, UUID, UUID]:
    """A worker, a parked parent that waits for its child, and the child, which the worker owns."""
    worker = scene.worker()
    parent = scene.claimed_run(worker)
    assert verdicts(scene.flush(worker, parks=[park(parent, CHILD)])) == ["parked"]
    child = scene.claimed_run(worker)
    scene.sql(
        "UPDATE zart_tasks SET parent_task = %s, parent_ident = %s, parent_seq = 1, parent_phase = 'b' "
        "WHERE task_id = %s",
        parent,
        CHILD,
        child,
    )
    return worker, parent, child


def overdue(scene: Scene) -> int:
    return scene.do(tasks.end_overdue(10, 0.0, b'"late"'))


@pytest.mark.parametrize(("state", "outcome"), [("completed", "o"), ("failed", "e"), ("cancelled", "x")])
def test_an_end_is_recorded_in_the_parents_journal_without_a_turn_and_wakes_it(
    scene: Scene, family: tuple[UUID, UUID, UUID], state: str, outcome: str
) -> None:
    worker, parent, child = family

    assert verdicts(scene.flush(worker, ends=[end(child, state=state)])) == ["ended"]

    assert scene.journal(parent) == {CHILD: (outcome, None)}
    assert scene.task(parent) == "r"
    assert [task.run_id for task in scene.claim(worker)] == [parent]
    assert scene.journal(parent) == {CHILD: (outcome, turn(2, 0))}


def test_an_end_whose_parent_is_held_by_a_users_transaction_is_busy_and_nothing_waits(
    scene: Scene, family: tuple[UUID, UUID, UUID]
) -> None:
    worker, parent, child = family
    user = scene.transaction()
    user.do(executions.deliver(str(parent), "y", payload=b"1", key=None))

    ending = scene.session().later(flush(worker, ends=[end(child)]))
    assert not ending.blocked()
    assert verdicts(ending.result()) == ["busy"]
    assert scene.task(child) == "a"

    user.commit()
    assert verdicts(scene.flush(worker, ends=[end(child)])) == ["ended"]
    assert scene.journal(parent) == {CHILD: ("o", None)}


def test_a_cancel_of_a_child_waits_for_whoever_holds_its_parent(
    scene: Scene, family: tuple[UUID, UUID, UUID]
) -> None:
    worker, parent, child = family
    assert verdicts(scene.flush(worker, parks=[park(child, ":never#0")])) == ["parked"]
    user = scene.transaction()
    user.do(executions.deliver(str(parent), "y", payload=b"1", key=None))

    cancel = scene.session().later(executions.cancel(str(child), "enough"))
    assert cancel.blocked()
    user.commit()

    assert cancel.result().status == "cancelled"
    assert scene.journal(parent) == {CHILD: ("x", None)}
    assert scene.task(parent) == "r"


def test_a_child_past_its_deadline_is_ended_by_a_later_sweep_if_its_parent_is_held(
    scene: Scene, family: tuple[UUID, UUID, UUID]
) -> None:
    worker, parent, child = family
    assert verdicts(scene.flush(worker, parks=[park(child, ":never#0")])) == ["parked"]
    scene.sql("UPDATE zart_tasks SET deadline_at = clock_timestamp() WHERE task_id = %s", child)
    user = scene.transaction()
    user.do(executions.deliver(str(parent), "y", payload=b"1", key=None))

    assert overdue(scene) == 0
    assert scene.task(child) == "w"
    user.commit()

    assert overdue(scene) == 1
    assert scene.journal(parent) == {CHILD: ("e", None)}


def test_the_end_of_a_child_tells_nobody_when_its_parent_has_ended(
    scene: Scene, family: tuple[UUID, UUID, UUID]
) -> None:
    worker, parent, child = family
    scene.do(executions.cancel(str(parent), None))

    assert verdicts(scene.flush(worker, ends=[end(child)])) == ["ended"]
    assert scene.journal(parent) == {}


def test_a_dead_workers_child_that_was_to_be_cancelled_waits_for_its_parents_row(
    scene: Scene, family: tuple[UUID, UUID, UUID]
) -> None:
    worker, parent, child = family
    assert scene.do(executions.cancel(str(child), None)).status == "requested"
    user = scene.transaction()
    user.do(executions.deliver(str(parent), "y", payload=b"1", key=None))

    scene.bury(worker)
    assert scene.task(child) == "a"
    user.commit()

    scene.do(tasks.requeue_dead(100))
    assert scene.run_state(child) == "cancelled"
    assert scene.journal(parent) == {CHILD: ("x", None)}
