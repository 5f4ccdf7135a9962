"""Spawned steps in the schema: spawn, claim, end, delay and cancel, each once whatever is sent again."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.sql.scene import (
    Scene,
    attempt,
    claim,
    collect,
    delay,
    end,
    finish,
    flush,
    park,
    revoke,
    spawn,
    turn,
    verdicts,
)

from zart_scheduler.store import executions, runs, steps, tasks, workflows
from zart_scheduler.store.tasks import Handler

STEP = ":job#0"
ALL = "SELECT count(*) FROM zart_tasks WHERE kind = 's'"


@pytest.fixture
def worker(scene: Scene) -> UUID:
    return scene.worker()


@pytest.fixture
def run(scene: Scene, worker: UUID) -> UUID:
    """A run that waits, parked, for a spawned step that is ready."""
    run = scene.claimed_run(worker)
    assert verdicts(scene.flush(worker, spawns=[spawn(run, STEP)])) == []
    assert verdicts(scene.flush(worker, parks=[park(run, STEP)])) == ["parked"]
    return run


def claimed(scene: Scene, worker: UUID) -> UUID:
    (task,) = scene.claim(worker)
    assert task.kind == "s"
    return task.task_id


def owned(scene: Scene, task: UUID) -> Any:
    return scene.task(task, "state::text, worker_id")


def test_a_spawn_makes_one_task_that_workers_of_that_code_claim(scene: Scene, worker: UUID) -> None:
    run = scene.claimed_run(worker, priority=7)
    for resend in (False, True, False):
        assert verdicts(scene.flush(worker, spawns=[spawn(run, STEP)], resend=resend)) == []
    assert scene.sql(ALL) == [(1,)]

    other = Handler("wf", "2", current=True, timeout=None)
    assert scene.claim(worker, handlers=[other]) == []
    (task,) = scene.claim(worker, handlers=[Handler("wf", "1", current=True, timeout=60.0)])
    assert (task.kind, task.run_id, task.execution_id, task.epoch) == ("s", run, str(run), 1)
    assert scene.task(task.task_id, "priority, deadline_at, crash_count") == (7, None, 0)
    (row,) = scene.do(runs.load_spawned([task.task_id]))
    assert (row.ident, row.seq, row.payload, row.wanted, row.run_id) == (STEP, 1, b'{"step": "s"}', True, run)


def test_spawns_are_claimed_in_the_order_of_the_calls(scene: Scene, worker: UUID) -> None:
    run = scene.claimed_run(worker)
    scene.flush(worker, spawns=[spawn(run, f":job#{n}") for n in (2, 0, 1)])
    found = [scene.task(task.task_id, "parent_ident") for task in scene.claim(worker)]
    assert found == [":job#2", ":job#0", ":job#1"]


def test_an_end_is_recorded_without_a_turn_wakes_the_run_and_takes_the_task_away(
    scene: Scene, worker: UUID, run: UUID
) -> None:
    task = claimed(scene, worker)
    assert scene.run_state(run) == "waiting"
    assert verdicts(scene.flush(worker, finishes=[finish(task, hash="ab")])) == ["ended"]
    assert scene.journal(run) == {STEP: ("o", None)}
    assert scene.task(task) is None
    (row,) = scene.sql("SELECT kind::text, seq, attempt, args_hash, worker_id, payload FROM zart_steps")
    assert row == ("p", 1, 2, b"\xab", worker, b"5")
    assert [found.run_id for found in scene.claim(worker)] == [run]
    assert scene.journal(run) == {STEP: ("o", turn(2, 0))}


def test_an_end_sent_again_is_an_end(scene: Scene, worker: UUID, run: UUID) -> None:
    task = claimed(scene, worker)
    scene.flush(worker, finishes=[finish(task)])
    journal = scene.journal(run)
    assert verdicts(scene.flush(worker, finishes=[finish(task, payload="6")], resend=True)) == ["ended"]
    assert verdicts(scene.flush(worker, finishes=[finish(task)])) == ["lost"]
    assert scene.journal(run) == journal


def test_a_claim_of_a_spawned_step_gives_no_turn_to_the_runs_outcomes(
    scene: Scene, worker: UUID, run: UUID
) -> None:
    """Only the owner of the body may: what it holds in memory would be overtaken."""
    task = claimed(scene, worker)
    scene.flush(worker, finishes=[finish(task)])
    (body,) = scene.claim(worker)
    scene.flush(worker, spawns=[spawn(run, ":job#1", epoch=2)])
    second = claimed(scene, worker)
    scene.flush(worker, delays=[delay(second, 0.0)])
    scene.sql("UPDATE zart_steps SET turn = NULL")
    scene.do(tasks.fire_due(worker, 10))
    assert claimed(scene, worker) == second
    assert scene.task(second, "epoch") == 2
    assert scene.journal(run) == {STEP: ("o", None)}
    assert body.task_id == run


def test_the_end_in_the_same_flush_as_the_park_keeps_the_run_awake(scene: Scene, worker: UUID) -> None:
    run = scene.claimed_run(worker)
    scene.flush(worker, spawns=[spawn(run, STEP)])
    task = claimed(scene, worker)
    answers = scene.flush(worker, finishes=[finish(task)], parks=[park(run, STEP)])
    assert verdicts(answers) == ["ended", "unparked"]
    assert verdicts(scene.flush(worker, collects=[collect(run, 1)])) == [f"turn {STEP}", "collected"]


def test_an_end_whose_run_is_held_by_a_users_transaction_is_busy_and_nothing_waits(
    scene: Scene, worker: UUID, run: UUID
) -> None:
    task = claimed(scene, worker)
    user = scene.transaction()
    user.do(executions.deliver(str(run), "y", payload=b"1", key=None))

    ending = scene.session().later(flush(worker, finishes=[finish(task)]))
    assert not ending.blocked()
    assert verdicts(ending.result()) == [f"busy {STEP}"]
    assert scene.task(task) == "a"
    user.commit()
    assert verdicts(scene.flush(worker, finishes=[finish(task)])) == ["ended"]


def test_a_spawn_whose_body_is_held_is_busy_and_lost_if_it_is_another_workers(
    scene: Scene, worker: UUID
) -> None:
    run, other = scene.claimed_run(worker), scene.worker()
    assert verdicts(scene.flush(other, spawns=[spawn(run, STEP)])) == [f"lost {STEP}"]
    assert verdicts(scene.flush(worker, spawns=[spawn(run, STEP, epoch=2)])) == [f"lost {STEP}"]
    user = scene.transaction()
    user.do(executions.deliver(str(run), "y", payload=b"1", key=None))
    assert verdicts(scene.flush(worker, spawns=[spawn(run, STEP)])) == [f"busy {STEP}"]
    user.commit()
    assert scene.sql(ALL) == [(0,)]


def test_a_delay_gives_the_step_up_until_it_is_due(scene: Scene, worker: UUID, run: UUID) -> None:
    task = claimed(scene, worker)
    scene.sql("UPDATE zart_tasks SET crash_count = 3 WHERE task_id = %s", task)
    (row, _) = scene.flush(worker, delays=[delay(task, 60.0)])
    assert (row.verdict, row.secs) == ("parked", 60.0)
    assert scene.task(task, "state::text, worker_id, crash_count") == ("w", None, 0)
    assert verdicts(scene.flush(worker, delays=[delay(task, 60.0)], resend=True)) == ["parked"]
    assert verdicts(scene.flush(worker, finishes=[finish(task)])) == ["lost"]
    scene.sql("UPDATE zart_tasks SET due_at = clock_timestamp() WHERE task_id = %s", task)
    scene.do(tasks.fire_due(worker, 10))
    assert claimed(scene, worker) == task


def test_attempts_are_recorded_for_the_run_and_do_not_wake_it(scene: Scene, worker: UUID, run: UUID) -> None:
    task = claimed(scene, worker)
    tried = attempt(task, STEP, 1, error='"no"', retry_in=0.0) | {"j": run, "k": "p"}
    assert verdicts(scene.flush(worker, attempts=[tried])) == []
    assert verdicts(scene.flush(worker, attempts=[tried], resend=True)) == []
    (row,) = scene.do(steps.load_spawned_attempts([(run, STEP)]))
    assert (row.attempt, row.error) == (1, b'"no"')
    assert scene.do(steps.load_attempts([run])) == []
    scene.sql("UPDATE zart_tasks SET state = 'r' WHERE task_id = %s", run)
    scene.claim(worker)
    scene.flush(worker, parks=[park(run, STEP, epoch=2)])
    assert scene.task(run, "due_at") is None
    stale = attempt(task, STEP, 2, error='"no"', epoch=9) | {"j": run, "k": "p"}
    assert verdicts(scene.flush(worker, attempts=[stale])) == [f"lost {STEP}"]


def test_a_death_counts_unless_an_attempt_was_recorded(scene: Scene, worker: UUID, run: UUID) -> None:
    task = claimed(scene, worker)
    scene.bury(worker)
    assert scene.task(task, "state::text, crash_count, epoch") == ("r", 1, 2)
    second = scene.worker()
    assert claimed(scene, second) == task
    tried = attempt(task, STEP, 1, error='"no"', retry_in=0.0, epoch=3) | {"j": run, "k": "p"}
    scene.flush(second, attempts=[tried])
    scene.bury(second)
    assert scene.task(task, "crash_count") == 0
    third = scene.worker()
    claimed(scene, third)
    scene.bury(third)
    assert scene.task(task, "crash_count") == 1


def test_a_step_whose_workers_died_too_often_fails_and_its_run_hears_of_it(
    scene: Scene, worker: UUID, run: UUID
) -> None:
    task = claimed(scene, worker)
    scene.bury(worker)
    scene.sql("UPDATE zart_tasks SET crash_count = 5 WHERE task_id = %s", task)
    second = scene.worker()
    assert scene.claim(second) == []
    assert scene.claim(second, suspects=True) == []
    (found,) = scene.do(tasks.list_crashed(10))
    user = scene.transaction()
    user.do(executions.deliver(str(run), "y", payload=b"1", key=None))
    assert not scene.do(tasks.fail_crashed(found.run_id, b'"dead"')), "its run's row is held"
    user.commit()
    assert scene.do(tasks.fail_crashed(found.run_id, b'"dead"'))
    assert scene.journal(run) == {STEP: ("e", None)}
    assert (scene.task(task), scene.task(run)) == (None, "r")
    assert not scene.do(tasks.fail_crashed(found.run_id, b'"dead"'))


@pytest.mark.parametrize("held", [False, True])
def test_steps_of_a_body_do_not_reach_the_handler_of_its_failure(
    scene: Scene, worker: UUID, held: bool
) -> None:
    scene.sql("DELETE FROM zart_workflows")
    scene.do(
        workflows.upsert(
            "wf",
            "1",
            parameters=(),
            required=(),
            input_schema={},
            result_schema={},
            current=True,
            queue="default",
            priority=0,
            max_crashes=5,
            on_failure=True,
            on_cancel=False,
        )
    )
    run = scene.claimed_run(worker)
    scene.flush(worker, spawns=[spawn(run, STEP), spawn(run, ":seen#0"), spawn(run, ":unseen#0")])
    other = scene.worker()
    first, *more = scene.do(claim(other)) or []
    scene.flush(other, finishes=[finish(task.task_id) for task in more])
    scene.flush(worker, revokes=[revoke(run, ":seen#0", 1)])
    holder = scene.transaction()
    if held:
        holder.sql("SELECT 1 FROM zart_tasks WHERE task_id = %s FOR UPDATE", first.task_id)
    assert verdicts(scene.flush(worker, ends=[end(run, state="failed")])) == ["released"]
    holder.rollback()
    assert scene.task(run, "state::text, phase::text") == ("r", "f")
    assert [row.wanted for row in scene.do(runs.load_spawned([first.task_id]))] == [False]
    assert verdicts(scene.flush(other, finishes=[finish(first.task_id)])) == ["ended"]
    assert scene.journal(run) == {":seen#0": ("o", turn(1, 1))}, "nothing that the body never saw"


def test_look_finds_a_marked_step_and_never_news_of_its_run(scene: Scene, worker: UUID, run: UUID) -> None:
    task = claimed(scene, worker)
    scene.sql(
        "INSERT INTO zart_steps (run_id, ident, seq, kind, outcome) VALUES (%s, ':other#0', 9, 'p', 'o')", run
    )
    assert scene.do(tasks.look(worker)) == []
    assert [found.task_id for found in scene.do(tasks.list_owned(worker))] == [task]
    scene.do(executions.cancel(str(run), None))
    (found,) = scene.do(tasks.look(worker))
    assert (found.task_id, found.cancel, found.news) == (task, True, False)


# -- cancels


def test_a_cancel_of_an_idle_step_is_recorded_and_its_task_goes(scene: Scene, worker: UUID) -> None:
    run = scene.claimed_run(worker)
    scene.flush(worker, spawns=[spawn(run, STEP)])
    assert verdicts(scene.flush(worker, revokes=[revoke(run, STEP, 4)])) == [f"have {STEP}"]
    assert scene.journal(run) == {STEP: ("x", turn(1, 4))}
    assert scene.sql(ALL) == [(0,)]
    assert verdicts(scene.flush(worker, revokes=[revoke(run, STEP, 4)], resend=True)) == [f"have {STEP}"]
    assert verdicts(scene.flush(worker, spawns=[spawn(run, STEP)])) == [f"have {STEP}"]
    assert scene.sql(ALL) == [(0,)]


def test_a_step_spawned_and_cancelled_in_one_flush_is_never_begun(scene: Scene, worker: UUID) -> None:
    run = scene.claimed_run(worker)
    scene.flush(worker, spawns=[spawn(run, STEP)], revokes=[revoke(run, STEP, 1)])
    assert scene.journal(run) == {STEP: ("x", turn(1, 1))}
    assert scene.sql(ALL) == [(0,)]


def test_a_cancel_after_the_end_gives_the_outcome_its_turn(scene: Scene, worker: UUID) -> None:
    run = scene.claimed_run(worker)
    scene.flush(worker, spawns=[spawn(run, STEP)])
    scene.flush(worker, finishes=[finish(claimed(scene, worker))])
    (row,) = [row for row in scene.flush(worker, revokes=[revoke(run, STEP, 4)]) if row.task is not None]
    assert (row.verdict, row.outcome, row.turn, row.payload) == ("have", "o", turn(1, 4), b"5")
    scene.flush(worker, revokes=[revoke(run, STEP, 9)])
    assert scene.journal(run) == {STEP: ("o", turn(1, 4))}


def test_an_active_step_that_is_cancelled_is_marked_and_its_end_is_not_recorded(
    scene: Scene, worker: UUID
) -> None:
    run = scene.claimed_run(worker)
    scene.flush(worker, spawns=[spawn(run, STEP)])
    task = claimed(scene, worker)
    scene.flush(worker, revokes=[revoke(run, STEP, 4)])
    assert scene.task(task, "state::text, cancel_requested_at IS NOT NULL") == ("a", True)
    assert verdicts(scene.flush(worker, finishes=[finish(task)])) == ["ended"]
    assert scene.journal(run) == {STEP: ("x", turn(1, 4))}
    assert scene.task(task) is None


@pytest.mark.parametrize("way", ["delay", "release", "death", "overdue"])
def test_a_marked_step_goes_whatever_its_owner_does(scene: Scene, worker: UUID, way: str) -> None:
    run = scene.claimed_run(worker)
    scene.flush(worker, spawns=[spawn(run, STEP)])
    second = scene.worker()
    task = claimed(scene, second)
    scene.flush(worker, revokes=[revoke(run, STEP, 4)])
    match way:
        case "delay":
            assert verdicts(scene.flush(second, delays=[delay(task, 9.0)])) == ["ended"]
        case "release":
            assert verdicts(scene.flush(second, releases=[{"t": task, "e": 1}])) == ["released"]
        case "death":
            scene.bury(second)
        case "overdue":
            assert scene.do(tasks.end_overdue(10, 0.0, b'"late"')) == 1
    assert scene.task(task) is None
    assert scene.task(run) == "a"
    assert scene.run_state(run) == "running"


# -- the end of the run


@pytest.mark.parametrize("how", ["end", "cancel", "deadline"])
def test_the_end_of_a_run_takes_its_steps_along(scene: Scene, worker: UUID, how: str) -> None:
    run = scene.claimed_run(worker)
    scene.flush(worker, spawns=[spawn(run, f":job#{n}") for n in range(3)])
    (active,) = scene.do(claim(worker, limit=1)) or []
    if how == "end":
        assert verdicts(scene.flush(worker, ends=[end(run)])) == ["ended"]
    else:
        scene.flush(worker, parks=[park(run, STEP)])
        if how == "cancel":
            scene.do(executions.cancel(str(run), None))
        else:
            scene.sql("UPDATE zart_tasks SET deadline_at = clock_timestamp() WHERE task_id = %s", run)
            assert scene.do(tasks.end_overdue(10, 60.0, b'"late"')) == 1
    rows = scene.sql("SELECT task_id, cancel_requested_at IS NOT NULL FROM zart_tasks")
    assert rows == [(active.task_id, True)]
    assert [row.wanted for row in scene.do(runs.load_spawned([active.task_id]))] == [False]
    assert verdicts(scene.flush(worker, finishes=[finish(active.task_id)])) == ["ended"]
    assert scene.journal(run) == {}
    assert scene.sql("SELECT count(*) FROM zart_tasks") == [(0,)]


def test_a_step_whose_row_is_held_when_its_run_ends_finds_the_run_gone(scene: Scene, worker: UUID) -> None:
    run = scene.claimed_run(worker)
    scene.flush(worker, spawns=[spawn(run, STEP)])
    second = scene.worker()
    claiming = scene.transaction()
    (task,) = claiming.do(claim(second)) or []
    ending = scene.session().later(flush(worker, ends=[end(run)]))
    assert not ending.blocked()
    assert verdicts(ending.result()) == ["ended"]
    claiming.commit()
    assert owned(scene, task.task_id) == ("a", second)
    (row,) = scene.do(runs.load_spawned([task.task_id]))
    assert not row.wanted
    assert verdicts(scene.flush(second, finishes=[finish(task.task_id, outcome=None)])) == ["ended"]
    assert scene.sql("SELECT count(*) FROM zart_tasks") == [(0,)]
    assert scene.journal(run) == {}


def test_an_unknown_task_is_lost(scene: Scene, worker: UUID) -> None:
    assert verdicts(scene.flush(worker, finishes=[finish(uuid4())])) == ["lost"]
    assert verdicts(scene.flush(worker, delays=[delay(uuid4(), 1.0)])) == ["lost"]
