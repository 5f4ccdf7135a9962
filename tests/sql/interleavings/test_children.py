"""Births and ends of children: nothing is born after its parent's end, nothing is left, no wake-up is lost."""

from __future__ import annotations

from uuid import UUID

import pytest
from tests.sql.scene import Scene, child, collect, drop, end, flush, park, turn, verdicts, wait

from zart_scheduler.store import executions, tasks
from zart_scheduler.store.tasks import Handler

CALL = ":wf#0"


@pytest.fixture
def parent(scene: Scene) -> tuple[UUID, UUID]:
    """A worker, and a run that it owns."""
    worker = scene.worker()
    return worker, scene.claimed_run(worker, tags={"team": "sky"})


def children(scene: Scene, run: UUID) -> list[UUID]:
    rows = scene.sql(
        "SELECT x.current_run_id FROM zart_execution_runs r JOIN zart_executions x "
        "ON x.parent_execution_id = r.execution_id WHERE r.run_id = %s ORDER BY x.created_at",
        run,
    )
    return [run_id for (run_id,) in rows]


def register(scene: Scene, *, on_failure: bool = False, on_cancel: bool = False) -> None:
    scene.sql(
        "INSERT INTO zart_workflows (workflow, version, parameters, required, current, queue, priority, on_failure, "
        "on_cancel, max_crashes) VALUES ('wf', '1', '{}', '{}', true, 'default', 0, %s, %s, 5)",
        on_failure,
        on_cancel,
    )


def cancel_children(scene: Scene, limit: int = 100) -> int:
    return scene.do(tasks.cancel_children(limit))


def left(scene: Scene) -> int:
    return int(scene.sql("SELECT count(*) FROM zart_cancellations")[0][0])


# -- birth


def test_a_birth_makes_execution_run_and_task_that_know_their_parent(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent

    item = child(run, CALL, 1, queue="slow", pr=7, v="3", p='{"a":1}')
    rows = scene.flush(worker, children=[item])

    assert [row.verdict for row in rows] == ["news", "ok"]
    assert scene.journal(run) == {}
    assert scene.sql(
        "SELECT x.tags, x.parent_execution_id, x.parent_ident, r.queue, r.priority, r.version, r.input, "
        "t.parent_task, t.parent_ident, t.parent_seq, t.version, t.state::text, t.queue "
        "FROM zart_executions x JOIN zart_execution_runs r ON r.run_id = x.current_run_id "
        "JOIN zart_tasks t ON t.task_id = r.run_id WHERE x.execution_id = %s",
        item["x"],
    ) == [({"team": "sky"}, str(run), CALL, "slow", 7, "3", b'{"a":1}', run, CALL, 1, "3", "r", "slow")]


def test_a_birth_that_is_asked_for_again_happens_once(scene: Scene, parent: tuple[UUID, UUID]) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1)])

    assert verdicts(scene.flush(worker, children=[child(run, CALL, 2)])) == []
    assert verdicts(scene.flush(worker, children=[child(run, CALL, 2)], resend=True)) == []

    assert len(children(scene, run)) == 1


def test_a_child_that_has_ended_is_not_born_again(scene: Scene, parent: tuple[UUID, UUID]) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1)])
    (born,) = (task.run_id for task in scene.claim(worker))
    scene.flush(worker, ends=[end(born)])

    assert verdicts(scene.flush(worker, children=[child(run, CALL, 2)])) == []
    assert len(children(scene, run)) == 1
    assert verdicts(scene.flush(worker, collects=[collect(run, 3)])) == [f"turn {CALL}", "collected"]
    assert verdicts(scene.flush(worker, children=[child(run, CALL, 4)])) == [f"have {CALL}"]


def test_the_start_of_a_detached_child_is_recorded_with_it_and_told_again_to_a_resend(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    item = child(run, CALL, 1, detached=True)

    first = scene.flush(worker, children=[item])
    again = scene.flush(worker, children=[item], resend=True)

    assert verdicts(first) == verdicts(again) == [f"have {CALL}"]
    assert [row.turn for row in (*first, *again) if row.verdict == "have"] == [turn(1, 1)] * 2
    (born,) = children(scene, run)
    assert scene.task(born, "parent_task, parent_ident, parent_seq") == (None, None, None)


def test_a_resend_after_the_park_is_told_of_the_detached_child_that_its_first_try_has_started(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    items = {
        "children": [child(run, CALL, 1, detached=True), child(run, ":wf#1", 2)],
        "parks": [park(run, ":wf#1")],
    }
    assert verdicts(scene.flush(worker, items)) == [f"have {CALL}", "parked"]

    assert verdicts(scene.flush(worker, items, resend=True)) == [f"have {CALL}", "parked"]
    assert len(children(scene, run)) == 2


def test_a_birth_whose_parent_is_held_is_busy_and_nothing_waits(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    user = scene.transaction()
    user.do(executions.deliver(str(run), "y", payload=b"1", key=None))

    birth = scene.session().later(flush(worker, children=[child(run, CALL, 1)]))
    assert not birth.blocked()
    assert verdicts(birth.result()) == [f"busy {CALL}"]
    assert children(scene, run) == []

    user.commit()
    assert verdicts(scene.flush(worker, children=[child(run, CALL, 1)])) == []
    assert len(children(scene, run)) == 1


def test_nothing_is_born_of_a_run_that_another_worker_has(scene: Scene, parent: tuple[UUID, UUID]) -> None:
    worker, run = parent
    scene.bury(worker)
    other = scene.worker()
    scene.claim(other)

    assert verdicts(scene.flush(worker, children=[child(run, CALL, 1)])) == ["fenced"]
    assert verdicts(scene.flush(other, children=[child(run, CALL, 1)])) == [f"lost {CALL}"]
    assert children(scene, run) == []


# -- birth against the parent's cancel


def test_a_cancel_that_comes_first_lets_nothing_be_born(scene: Scene, parent: tuple[UUID, UUID]) -> None:
    worker, run = parent
    user = scene.transaction()
    user.do(executions.cancel(str(run), None))

    item = child(run, CALL, 1, detached=True)
    assert verdicts(scene.flush(worker, children=[item])) == [f"busy {CALL}"]
    user.commit()

    assert verdicts(scene.flush(worker, children=[item])) == []
    assert verdicts(scene.flush(worker, parks=[park(run, CALL)])) == ["unparked"]
    assert (children(scene, run), scene.journal(run)) == ([], {})


def test_a_birth_that_comes_first_is_found_by_the_cancel(scene: Scene, parent: tuple[UUID, UUID]) -> None:
    worker, run = parent
    birth = scene.transaction()
    birth.do(flush(worker, children=[child(run, CALL, 1)], parks=[park(run, CALL)]))

    cancel = scene.session().later(executions.cancel(str(run), "enough"))
    assert cancel.blocked()
    birth.commit()

    assert cancel.result().status == "cancelled"
    (born,) = children(scene, run)
    assert cancel_children(scene) == 1
    assert scene.run_state(born) == "cancelled"


def test_a_birth_beside_the_end_in_one_flush_is_found_by_the_end(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent

    rows = scene.flush(worker, children=[child(run, CALL, 1)], ends=[end(run)])

    assert [row.verdict for row in rows] == ["news", "leaves", "ended", "ok"]
    (born,) = children(scene, run)
    assert cancel_children(scene) == 1
    assert scene.run_state(born) == "cancelled"


def test_a_taker_that_ends_the_parent_finds_the_birth_in_flight(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    scene.sql("UPDATE zart_tasks SET deadline_at = clock_timestamp() WHERE task_id = %s", run)
    birth = scene.transaction()
    birth.do(flush(worker, children=[child(run, CALL, 1)]))
    assert scene.do(tasks.end_overdue(10, 0.0, b'"late"')) == 0
    birth.commit()

    assert scene.do(tasks.end_overdue(10, 0.0, b'"late"')) == 1
    assert cancel_children(scene) == 1
    assert verdicts(scene.flush(worker, children=[child(run, ":wf#1", 2)])) == ["lost :wf#1"]
    assert len(children(scene, run)) == 1


# -- the end of a child against its parent's park and claim


def test_a_park_finds_the_end_that_came_before(scene: Scene, parent: tuple[UUID, UUID]) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1)])
    (born,) = (task.run_id for task in scene.claim(worker))
    ending = scene.transaction()
    assert verdicts(ending.do(flush(worker, ends=[end(born)]))) == ["ended"]

    assert verdicts(scene.flush(worker, parks=[park(run, CALL)])) == ["busy"]
    ending.commit()

    assert verdicts(scene.flush(worker, parks=[park(run, CALL)])) == ["unparked"]
    assert verdicts(scene.flush(worker, collects=[collect(run, 2)])) == [f"turn {CALL}", "collected"]


def test_an_end_finds_the_park_that_came_before(scene: Scene, parent: tuple[UUID, UUID]) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1)])
    (born,) = (task.run_id for task in scene.claim(worker))
    parking = scene.transaction()
    assert verdicts(parking.do(flush(worker, parks=[park(run, CALL)]))) == ["parked"]

    assert verdicts(scene.flush(worker, ends=[end(born)])) == ["busy"]
    parking.commit()

    assert verdicts(scene.flush(worker, ends=[end(born)])) == ["ended"]
    assert scene.task(run) == "r"


def test_an_end_in_the_flush_that_parks_the_parent_wakes_it(scene: Scene, parent: tuple[UUID, UUID]) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1)])
    (born,) = (task.run_id for task in scene.claim(worker))

    assert verdicts(scene.flush(worker, parks=[park(run, CALL)], ends=[end(born)])) == ["parked", "ended"]

    assert scene.task(run) == "r"
    scene.claim(worker)
    assert scene.journal(run) == {CALL: ("o", turn(2, 0))}


def test_a_claim_passes_a_parent_whose_child_is_ending_and_finds_the_outcome_later(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1)], waits=[wait(run, ":x#0", 2)])
    (born,) = (task.run_id for task in scene.claim(worker))
    scene.flush(worker, parks=[park(run, CALL, ":x#0")])
    scene.deliver(run)  # the parent is ready
    ending = scene.transaction()
    ending.do(flush(worker, ends=[end(born)]))

    assert scene.claim(scene.worker()) == []
    ending.commit()

    assert [task.run_id for task in scene.claim(worker)] == [run]
    assert scene.journal(run) == {CALL: ("o", turn(2, 0)), ":x#0": ("o", turn(2, 0))}


def test_the_end_of_a_child_that_was_given_up_does_not_wake_its_parent(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    item = child(run, CALL, 1)
    scene.flush(worker, children=[item])
    (born,) = (task.run_id for task in scene.claim(worker))
    scene.flush(
        worker,
        cancels=[drop(run, CALL, 2, kind="k", child=item["x"])],
        waits=[wait(run, ":x#0", 3)],
        parks=[park(run, ":x#0")],
    )

    assert verdicts(scene.flush(worker, ends=[end(born)])) == ["ended"]

    assert scene.task(run) == "w"
    assert scene.journal(run) == {CALL: ("c", turn(1, 2))}


# -- giving up and leaving


def test_a_child_that_the_body_gives_up_is_cancelled_and_its_record_stays(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    item = child(run, CALL, 1)
    scene.flush(worker, children=[item])
    (born,) = children(scene, run)

    rows = scene.flush(worker, cancels=[drop(run, CALL, 2, kind="k", child=item["x"])])

    assert [row.verdict for row in rows] == ["leaves", "ok"]
    assert cancel_children(scene) == 1
    assert scene.run_state(born) == "cancelled"
    assert scene.journal(run) == {CALL: ("c", turn(1, 2))}
    assert left(scene) == 0


def test_a_call_that_is_cancelled_in_the_flush_that_starts_it_starts_nothing(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    item = child(run, CALL, 1)

    scene.flush(worker, children=[item], cancels=[drop(run, CALL, 2, kind="k", child=item["x"])])

    assert children(scene, run) == []
    assert scene.journal(run) == {CALL: ("c", turn(1, 2))}


def test_a_detached_child_whose_call_the_body_gives_up_is_cancelled(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    item = child(run, CALL, 1, detached=True)
    scene.flush(worker, children=[item])

    scene.flush(worker, cancels=[drop(run, CALL, 2, kind="k", child=item["x"])])

    assert cancel_children(scene) == 1
    assert scene.journal(run) == {CALL: ("c", turn(1, 1))}


def test_a_tree_is_cancelled_level_by_level_without_its_detached_branch(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, top = parent
    scene.flush(worker, children=[child(top, CALL, 1), child(top, ":wf#1", 2, detached=True)])
    middle, detached = children(scene, top)
    scene.claim(worker)
    scene.flush(worker, children=[child(middle, CALL, 1), child(detached, CALL, 1)])
    (bottom,), (under_detached,) = children(scene, middle), children(scene, detached)
    for run in (top, middle, detached):
        assert verdicts(scene.flush(worker, parks=[park(run, CALL)])) == ["parked"]

    assert scene.do(executions.cancel(str(top), None)).status == "cancelled"
    states = [[scene.run_state(run) for run in (middle, bottom)]]
    for _ in range(2):
        assert cancel_children(scene) == 1
        states.append([scene.run_state(run) for run in (middle, bottom)])

    assert states == [["waiting", "scheduled"], ["cancelled", "scheduled"], ["cancelled", "cancelled"]]
    assert cancel_children(scene) == 0
    assert [scene.run_state(run) for run in (detached, under_detached)] == ["waiting", "scheduled"]


def test_an_active_child_is_asked_and_its_owner_ends_it(scene: Scene, parent: tuple[UUID, UUID]) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1)])
    (born,) = (task.run_id for task in scene.claim(worker))
    scene.flush(worker, ends=[end(run, state="failed")])

    assert cancel_children(scene) == 1
    assert left(scene) == 0
    (look,) = scene.do(tasks.look(worker))
    assert (look.task_id, look.cancel, look.cancel_reason) == (born, True, "its parent has ended")


def test_a_child_whose_row_somebody_holds_is_cancelled_later_and_holds_up_nobody(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1), child(run, ":wf#1", 2)])
    first, second = children(scene, run)
    scene.flush(worker, ends=[end(run)])
    user = scene.transaction()
    user.sql("SELECT 1 FROM zart_tasks WHERE task_id = %s FOR UPDATE", first)

    assert cancel_children(scene, 1) == 0
    assert cancel_children(scene, 1) == 1  # the held one went to the back
    assert scene.run_state(second) == "cancelled"
    user.commit()

    assert cancel_children(scene) == 1
    assert scene.run_state(first) == "cancelled"


def test_a_child_that_was_given_up_ends_when_its_parents_row_is_free(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    item = child(run, CALL, 1)
    scene.flush(worker, children=[item])
    scene.flush(worker, cancels=[drop(run, CALL, 2, kind="k", child=item["x"])])
    user = scene.transaction()
    user.do(executions.deliver(str(run), "y", payload=b"1", key=None))

    cancelling = scene.session().later(tasks.cancel_children(10))
    assert not cancelling.blocked()
    assert cancelling.result() == 0
    user.commit()

    assert cancel_children(scene) == 1


def test_a_child_that_has_ended_meanwhile_is_no_longer_to_be_cancelled(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1)])
    (born,) = (task.run_id for task in scene.claim(worker))
    scene.flush(worker, ends=[end(run)])
    scene.flush(worker, ends=[end(born)])

    assert cancel_children(scene) == 1
    assert left(scene) == 0
    assert scene.run_state(born) == "completed"


def test_the_children_of_a_dead_workers_cancelled_run_are_left(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1)])
    (born,) = children(scene, run)
    scene.do(executions.cancel(str(run), None))

    scene.bury(worker)

    assert scene.run_state(run) == "cancelled"
    assert cancel_children(scene) == 1
    assert scene.run_state(born) == "cancelled"


def test_a_child_of_a_body_that_has_failed_tells_its_handler_nothing(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    register(scene, on_failure=True)
    scene.flush(worker, children=[child(run, CALL, 1), child(run, ":wf#1", 2)])
    first, second = (task.run_id for task in scene.claim(worker))
    scene.flush(worker, ends=[end(first)])  # has come, and no body has seen it

    assert verdicts(scene.flush(worker, ends=[end(run, state="failed")])) == ["released"]
    assert scene.journal(run) == {}
    assert cancel_children(scene) == 1
    scene.claim(worker)
    scene.flush(worker, children=[child(run, "!:wf#0", 3, epoch=2)], parks=[park(run, "!:wf#0", epoch=2)])
    scene.flush(worker, ends=[end(second, state="cancelled")])

    assert scene.task(run, "state::text, phase::text") == ("w", "f")
    assert scene.run_state(run) == "waiting"
    (own,) = (task.run_id for task in scene.claim(worker))
    scene.flush(worker, ends=[end(own)])
    assert scene.journal(run) == {"!:wf#0": ("o", None)}


def test_a_child_that_is_handed_to_its_own_handler_is_cancelled_once(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1)])
    (born,) = (task.run_id for task in scene.claim(worker))
    register(scene, on_cancel=True)
    scene.flush(worker, parks=[park(born, ":never#0")], ends=[end(run)])

    assert cancel_children(scene) == 1
    assert scene.task(born, "state::text, phase::text") == ("r", "c")
    assert (left(scene), cancel_children(scene)) == (0, 0)


def test_a_run_that_waits_for_a_child_is_waiting_until_that_has_come(
    scene: Scene, parent: tuple[UUID, UUID]
) -> None:
    worker, run = parent
    scene.flush(worker, children=[child(run, CALL, 1, name="other")], parks=[park(run, CALL)])
    assert scene.run_state(run) == "waiting"

    other = Handler("other", "1", current=True, timeout=None)
    (born,) = (task.run_id for task in scene.claim(worker, handlers=[other]))
    scene.flush(worker, ends=[end(born)])

    assert scene.run_state(run) == "scheduled"
