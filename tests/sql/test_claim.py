"""Claiming: known versions only, priority then order of arrival, bound at the first claim, exact under rivals."""

from __future__ import annotations

from uuid import uuid4

import pytest
from tests.sql.scene import Scene, claim, end, nap, park, step, turn, wait

from zart_scheduler.store import executions, runs, steps, tasks
from zart_scheduler.store.tasks import Handler


def test_only_registered_names_versions_and_queues_are_claimed(scene: Scene) -> None:
    worker = scene.worker()
    mine = scene.start(version="2")
    for options in ({"workflow": "other"}, {"version": "3"}, {"queue": "slow"}, {"version": "20"}):
        scene.start(**options)
    scene.start()  # bound to no version, and nothing here is current

    claimed = scene.claim(worker, handlers=[Handler("wf", "2", current=False, timeout=None)])

    assert [(task.run_id, task.workflow, task.version, task.epoch) for task in claimed] == [
        (mine, "wf", "2", 1)
    ]


def test_the_first_claim_binds_the_version_and_sets_start_and_deadline_and_later_ones_do_not(
    scene: Scene,
) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.start()
    (task,) = scene.claim(first, handlers=[Handler("wf", "7", current=True, timeout=60.0)])
    bound = scene.sql("SELECT version, started_at, deadline_at FROM zart_execution_runs")
    assert task.version == bound[0][0] == "7"
    assert (bound[0][2] - bound[0][1]).total_seconds() == pytest.approx(60, abs=1)
    scene.flush(first, releases=[end(run)])

    newer = [Handler("wf", "8", current=True, timeout=5.0), Handler("wf", "7", current=False, timeout=5.0)]
    (again,) = scene.claim(second, handlers=newer)

    assert (again.version, again.epoch) == ("7", 2)
    assert scene.sql("SELECT version, started_at, deadline_at FROM zart_execution_runs") == bound
    assert scene.task(run, "deadline_at") == bound[0][2]


def test_the_higher_priority_goes_first_then_the_order_of_arrival(scene: Scene) -> None:
    worker = scene.worker()
    low = [scene.start(priority=-1) for _ in range(2)]
    normal = [scene.start(), scene.start(version="1"), scene.start()]
    high = [scene.start(priority=5)]

    claimed = [*scene.claim(worker, limit=4), *scene.claim(worker, limit=4)]

    assert [task.run_id for task in claimed] == [*high, *normal, *low]


def test_a_woken_run_keeps_its_place(scene: Scene) -> None:
    worker = scene.worker()
    old = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(old, "W", 1)], parks=[park(old, "W")])
    young = scene.start()
    scene.deliver(old)

    assert [task.run_id for task in scene.claim(worker)] == [old, young]


def test_claims_share_the_ready_tasks_without_overlap(scene: Scene) -> None:
    workers = [scene.worker() for _ in range(4)]
    expected = {scene.start() for _ in range(60)}
    open_claims = [scene.transaction().do(claim(worker, limit=15)) for worker in workers]

    got = [task.run_id for claimed in open_claims for task in claimed or []]

    assert len(got) == 60
    assert set(got) == expected


def test_a_claim_finds_what_is_behind_a_head_that_others_hold(scene: Scene) -> None:
    worker = scene.worker()
    head = [scene.start(priority=9) for _ in range(20)]
    behind = [scene.start() for _ in range(10)]
    holder = scene.transaction()
    for run in head:
        holder.sql("SELECT 1 FROM zart_tasks WHERE task_id = %s FOR UPDATE", run)

    pending = scene.session().later(claim(worker, limit=10))

    assert not pending.blocked()
    assert [task.run_id for task in pending.result() or []] == behind


def test_a_run_past_its_deadline_is_not_handed_out(scene: Scene) -> None:
    worker = scene.worker()
    late = [scene.start(priority=9) for _ in range(10)]
    scene.claim(worker)
    scene.flush(worker, releases=[end(run) for run in late])
    scene.sql("UPDATE zart_tasks SET deadline_at = clock_timestamp() - interval '1 s'")
    fresh = [scene.start() for _ in range(3)]

    assert [task.run_id for task in scene.claim(worker, limit=5)] == fresh


def test_a_fenced_worker_claims_nothing(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.start()
    scene.expire(worker)

    assert scene.do(claim(worker)) is None
    assert scene.task(run) == "r"


def test_a_claim_gives_its_turn_to_all_that_has_come_and_records_timeouts(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(
        worker,
        steps=[nap(run, "due", 0), nap(run, "later", 600), step(run, "a", 1)],
        waits=[wait(run, "late", 2, timeout=-1, name="y"), wait(run, "W", 3), wait(run, "open", 4, name="z")],
    )
    scene.deliver(run)
    scene.flush(worker, releases=[end(run)])

    scene.claim(worker)

    assert scene.journal(run) == {
        "a": ("o", turn(1, 1)),
        "due": ("o", turn(2, 0)),
        "later": ("o", None),
        "late": ("t", turn(2, 0)),
        "W": ("o", turn(2, 0)),
    }
    assert scene.sql("SELECT ident FROM zart_waits") == [("open",)]


def test_inputs_and_journals_are_read_for_many_runs_and_only_the_new_for_cached_ones(scene: Scene) -> None:
    worker = scene.worker()
    one, two = scene.start(input=b"[1]", tags={"k": "v"}), scene.start(input=b"[2]")
    scene.claim(worker)
    scene.flush(worker, steps=[step(one, "a", 1), step(two, "a", 1), nap(two, "z", 60), step(two, "b", 2)])

    inputs = {row.run_id: row for row in scene.do(runs.load_inputs([one, two]))}
    journal = scene.do(steps.load_journals([(one, None), (two, turn(1, 2))]))

    assert {run: (row.input, row.version, row.epoch, dict(row.tags)) for run, row in inputs.items()} == {
        one: (b"[1]", "1", 1, {"k": "v"}),
        two: (b"[2]", "1", 1, {}),
    }
    assert inputs[one].execution_id == str(one)
    assert {(row.run_id, row.ident, row.turn) for row in journal} == {
        (one, "a", turn(1, 1)),
        (two, "b", turn(1, 2)),
    }
    assert scene.do(steps.load_journals([])) == []


def test_an_ended_run_is_left_out_of_the_inputs(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, ends=[end(run)])

    assert scene.do(runs.load_inputs([run])) == []


def test_a_delayed_start_is_scheduled_until_its_time(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.start(delay=0.2)
    assert scene.run_state(run) == "scheduled"
    assert scene.claim(worker) == []
    assert scene.do(tasks.fire_due(uuid4(), 10)) == 0

    scene.wait_past("SELECT max(due_at) FROM zart_tasks")
    assert scene.do(tasks.fire_due(uuid4(), 10)) == 1
    assert [task.run_id for task in scene.claim(worker)] == [run]


def test_a_cancel_before_the_first_claim_leaves_nothing_to_claim(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.start(delay=60)

    assert scene.do(executions.cancel(str(run))) == ("cancelled", "cancelled")
    assert scene.claim(worker) == []
