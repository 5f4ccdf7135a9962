"""What any worker's sweeper does: the dead, their tasks, timers, and what nobody ended in time."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from tests.sql.scene import Scene, block, claim, end, flush, nap, park, step, turn, verdicts, wait

from zart_scheduler.store import executions, tasks, workers
from zart_scheduler.store.tasks import Handler, Look

LATE = b'{"kind":"DeadlineExceeded"}'


def overdue(scene: Scene, grace: float = 0.0) -> int:
    return scene.do(tasks.end_overdue(100, grace, LATE))


def set_deadline(scene: Scene, run: UUID, seconds: float) -> None:
    scene.sql(
        "UPDATE zart_tasks SET deadline_at = clock_timestamp() + %s * interval '1 s' WHERE task_id = %s",
        seconds,
        run,
    )


# -- workers


def test_a_worker_lives_as_long_as_it_renews(scene: Scene) -> None:
    worker = scene.worker(lease=0.2)
    assert scene.do(workers.renew(worker, 3600)) is True
    assert scene.do(workers.mark_dead(5)) == []

    scene.expire(worker)

    assert scene.do(workers.renew(worker, 3600)) is False
    assert scene.do(workers.mark_dead(5)) == [worker]
    assert scene.do(workers.mark_dead(5)) == []


def test_dead_is_a_one_way_door(scene: Scene) -> None:
    worker = scene.worker()
    scene.do(workers.retire(worker))

    assert scene.do(workers.renew(worker, 3600)) is False
    assert scene.do(claim(worker)) is None
    assert verdicts(scene.flush(worker)) == ["fenced"]
    scene.do(workers.register(worker, lease=60, name="", host="", pid=1, queues=[], workflows=[], version=""))
    assert scene.do(workers.renew(worker, 3600)) is False


def test_a_worker_is_described_beside_its_lease(scene: Scene) -> None:
    worker = UUID(int=7)
    scene.do(
        workers.register(
            worker, lease=9, name="n", host="h", pid=42, queues=["a", "b"], workflows=["wf@1"], version="0.1"
        )
    )

    assert scene.sql(
        "SELECT worker_id, name, host, pid, queues, workflows, version FROM zart_worker_info"
    ) == [(worker, "n", "h", 42, ["a", "b"], ["wf@1"], "0.1")]


def test_a_stopped_client_that_holds_the_fence_past_its_lease_is_cut_off(scene: Scene) -> None:
    worker, other = scene.worker(lease=0.3), scene.worker()
    run = scene.start()
    stopped = scene.transaction()
    assert stopped.do(claim(worker))
    bystander = scene.transaction()
    bystander.do(flush(other))  # holds another worker's row
    scene.wait_past("SELECT min(lease_expires_at) FROM zart_workers")

    assert scene.do(workers.mark_dead(3600)) == []  # within the grace: left alone
    assert scene.do(workers.mark_dead(0)) == []
    scene.sql(
        "DO $$ BEGIN WHILE EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = "
        f"{stopped.connection.info.backend_pid}) LOOP PERFORM pg_sleep(0.01); "
        "PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
    )

    assert scene.do(workers.mark_dead(0)) == [worker]
    assert scene.task(run) == "r"
    bystander.sql("SELECT 1")


def test_a_stopped_client_is_found_among_several_that_hold_the_row(scene: Scene) -> None:
    worker = scene.worker(lease=0.3)
    sessions = [scene.transaction(), scene.transaction()]
    for session in sessions:
        session.do(flush(worker))
    scene.wait_past("SELECT min(lease_expires_at) FROM zart_workers")

    scene.do(workers.mark_dead(0))
    for session in sessions:
        scene.sql(
            "DO $$ BEGIN WHILE EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = "
            f"{session.connection.info.backend_pid}) LOOP PERFORM pg_sleep(0.01); "
            "PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
        )

    assert scene.do(workers.mark_dead(0)) == [worker]


# -- tasks of the dead


def test_tasks_of_the_dead_become_ready_with_a_higher_epoch_and_a_crash_each(scene: Scene) -> None:
    first, alive = scene.worker(), scene.worker()
    run = scene.start()
    for victim in (first, scene.worker()):
        assert [task.run_id for task in scene.claim(victim)] == [run]
        scene.bury(victim)

    found = scene.claim(alive, suspects=True)
    assert [(task.run_id, task.epoch, task.crash_count) for task in found] == [(run, 5, 2)]


def test_tasks_of_the_living_are_left_alone(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)

    assert scene.do(tasks.requeue_dead(10)) == 0
    assert scene.task(run, "state::text, worker_id, epoch") == ("a", worker, 1)


def test_tasks_of_an_owner_nobody_knows_are_those_of_a_dead_one(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.sql("DELETE FROM zart_workers")

    assert scene.do(tasks.requeue_dead(10)) == 1
    assert scene.task(run) == "r"


def test_a_batch_of_tasks_is_bounded_and_skips_what_is_held(scene: Scene) -> None:
    worker = scene.worker()
    for _ in range(5):
        scene.start()
    (held, *_) = scene.claim(worker)
    holder = scene.transaction()
    holder.do(executions.deliver(held.execution_id, "x", payload=b"1"))
    scene.expire(worker)
    scene.do(workers.mark_dead(5))

    assert [
        scene.do(tasks.requeue_dead(3)),
        scene.do(tasks.requeue_dead(3)),
        scene.do(tasks.requeue_dead(3)),
    ] == [3, 1, 0]
    holder.rollback()
    assert scene.do(tasks.requeue_dead(3)) == 1


def test_a_run_whose_owner_died_before_obeying_a_cancel_is_cancelled(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.do(executions.cancel(str(run), "why"))

    scene.bury(worker)

    assert scene.run_state(run) == "cancelled"
    assert scene.sql("SELECT outcome FROM zart_execution_runs") == [(b'"why"',)]


# -- timers


def test_timers_fire_when_due_in_bounded_batches(scene: Scene) -> None:
    worker = scene.worker()
    runs = [scene.start() for _ in range(4)]
    scene.claim(worker)
    scene.flush(
        worker,
        steps=[nap(run, "z", 0.01 if number < 3 else 600) for number, run in enumerate(runs)],
    )
    scene.sql("UPDATE zart_steps SET wake_at = wake_at + interval '0.3 s'")
    assert verdicts(scene.flush(worker, parks=[park(run, "z") for run in runs])) == ["parked"] * 4
    scene.wait_past("SELECT min(due_at) FROM zart_tasks")
    scene.wait_past("SELECT max(due_at) FROM (SELECT due_at FROM zart_tasks ORDER BY due_at LIMIT 3) t")

    assert [scene.do(tasks.fire_due(uuid4(), 2)) for _ in range(3)] == [2, 1, 0]
    assert sorted(scene.task(run) for run in runs) == ["r", "r", "r", "w"]


# -- deadlines and cancels


@pytest.mark.parametrize("how", ["ready", "parked", "blocked"])
def test_a_run_without_an_owner_is_failed_when_its_deadline_passes(scene: Scene, how: str) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 1)])
    group, item = {
        "ready": ("releases", end(run)),
        "parked": ("parks", park(run, "W")),
        "blocked": ("blocks", block(run)),
    }[how]
    scene.flush(worker, {group: [item]})
    set_deadline(scene, run, 60)
    assert overdue(scene) == 0

    set_deadline(scene, run, -1)
    assert overdue(scene, grace=3600) == 1

    assert scene.sql("SELECT state, outcome FROM zart_execution_runs") == [("failed", LATE)]
    assert scene.sql("SELECT 1 FROM zart_tasks UNION ALL SELECT 1 FROM zart_waits") == []


def test_an_owner_has_the_grace_to_end_a_late_run_itself(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    set_deadline(scene, run, -10)

    assert overdue(scene, grace=60) == 0
    assert scene.do(tasks.look(worker)) == [
        Look(run, 1, cancel=False, cancel_reason=None, overdue=True, news=False)
    ]
    assert overdue(scene, grace=5) == 1

    assert scene.sql("SELECT state, outcome FROM zart_execution_runs") == [("failed", LATE)]


def test_a_run_taken_from_its_owner_is_lost_to_it(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    set_deadline(scene, run, -10)
    overdue(scene)

    rows = scene.flush(worker, steps=[step(run, "a", 1)], ends=[end(run)])

    assert verdicts(rows) == ["lost a", "lost"]
    assert scene.run_state(run) == "failed"


def test_a_run_is_not_taken_while_a_record_of_its_owner_is_in_flight(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    set_deadline(scene, run, -10)
    writer = scene.transaction()
    writer.do(flush(worker, steps=[step(run, "a", 1)]))

    assert overdue(scene) == 0
    writer.commit()
    assert overdue(scene) == 1
    assert scene.journal(run) == {"a": ("o", turn(1, 1))}


def test_a_run_is_not_taken_while_a_user_holds_its_row(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    set_deadline(scene, run, -10)
    user = scene.transaction()
    user.do(executions.deliver(str(run), "x", payload=b"1"))

    pending = scene.session().later(tasks.end_overdue(10, 0.0, LATE))
    assert not pending.blocked()
    assert pending.result() == 0
    user.commit()
    assert overdue(scene) == 1
    assert scene.mailbox(run) == {b"1": None}


def test_a_cancel_that_its_owner_does_not_obey_is_carried_out(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.do(executions.cancel(str(run), "why"))
    assert overdue(scene, grace=60) == 0

    assert overdue(scene, grace=-1) == 1

    assert scene.sql("SELECT state, outcome FROM zart_execution_runs") == [("cancelled", b'"why"')]


@pytest.mark.parametrize(("deadline", "state"), [(-1, "failed"), (1, "cancelled")])
def test_of_a_deadline_and_a_cancel_the_earlier_counts(scene: Scene, deadline: float, state: str) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.do(executions.cancel(str(run)))
    set_deadline(scene, run, deadline)

    assert overdue(scene, grace=-5) == 1

    assert scene.run_state(run) == state


# -- the look at active runs


def test_a_look_tells_only_of_runs_that_want_attention(scene: Scene) -> None:
    worker, other = scene.worker(), scene.worker()
    handlers = [Handler("wf", "1", current=True, timeout=None)]
    runs = [scene.start() for _ in range(7)]
    scene.claim(worker, limit=6, handlers=handlers)
    scene.claim(other)
    quiet, cancelled, slept, timed_out, told, late, foreign = runs
    scene.flush(
        worker,
        steps=[step(quiet, "a", 1), nap(quiet, "z", 600), nap(slept, "z", -1)],
        waits=[wait(quiet, "W", 2, timeout=600), wait(timed_out, "W", 1, timeout=-1), wait(told, "W", 1)],
    )
    scene.do(executions.cancel(str(cancelled), "why"))
    scene.do(executions.cancel(str(foreign)))
    scene.deliver(told)
    set_deadline(scene, late, -1)

    found = {look.task_id: look[2:] for look in scene.do(tasks.look(worker))}

    assert found == {
        cancelled: (True, "why", False, False),
        slept: (False, None, False, True),
        timed_out: (False, None, False, True),
        told: (False, None, False, True),
        late: (False, None, True, False),
    }
