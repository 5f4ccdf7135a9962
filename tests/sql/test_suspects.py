"""Runs whose workers die again and again: they are claimed apart from all others, and fail in the end."""

from __future__ import annotations

from uuid import UUID

from tests.sql.scene import Scene, end, park, step, verdicts

from zart_scheduler.store import executions, tasks, workflows


def kill(scene: Scene, times: int) -> None:
    """Let workers die over what is ready, suspect or not."""
    for _ in range(times):
        victim = scene.worker()
        assert scene.claim(victim) + scene.claim(victim, suspects=True)
        scene.bury(victim)


def register(scene: Scene, **options: object) -> None:
    facts: dict[str, object] = {
        "parameters": [],
        "required": [],
        "input_schema": None,
        "result_schema": None,
        "current": True,
    }
    scene.do(workflows.upsert("wf", "1", **{**facts, **options}))  # type: ignore[arg-type] # as given


def crashed(scene: Scene) -> dict[UUID, int]:
    return {found.run_id: found.deaths for found in scene.do(tasks.list_crashed(10))}


def test_from_the_second_death_on_a_run_is_claimed_apart_from_all_others(scene: Scene) -> None:
    poison = scene.start()
    kill(scene, 1)
    worker = scene.worker()
    assert [task.run_id for task in scene.claim(worker)] == [poison]
    scene.bury(worker)
    healthy = [scene.start(), scene.start()]

    worker = scene.worker()
    assert [task.run_id for task in scene.claim(worker)] == healthy
    assert [task.run_id for task in scene.claim(worker, suspects=True, limit=1)] == [poison]


def test_a_record_or_a_park_sets_the_count_back(scene: Scene) -> None:
    run = scene.start()
    kill(scene, 2)
    worker = scene.worker()
    (claimed,) = scene.claim(worker, suspects=True)
    assert verdicts(scene.flush(worker, steps=[step(run, "a", 1, epoch=claimed.epoch)])) == []
    scene.bury(worker)
    assert scene.task(run, "crash_count") == 0

    kill(scene, 2)
    worker = scene.worker()
    (claimed,) = scene.claim(worker, suspects=True)
    scene.flush(worker, parks=[park(run, ":b#0", epoch=claimed.epoch)])
    assert scene.task(run, "crash_count") == 0


def test_a_death_after_the_run_was_trusted_does_not_count_and_the_next_claim_is_not_trusted(
    scene: Scene,
) -> None:
    run = scene.start()
    kill(scene, 2)
    worker = scene.worker()
    (claimed,) = scene.claim(worker, suspects=True)
    assert scene.do(tasks.trust(worker, run, claimed.epoch))
    scene.bury(worker)
    assert scene.task(run, "crash_count") == 2

    kill(scene, 1)
    assert scene.task(run, "crash_count") == 3


def test_a_fenced_worker_trusts_nobody(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.expire(worker)
    assert not scene.do(tasks.trust(worker, run, 1))


def test_as_many_deaths_as_the_workflow_allows_fail_the_run_and_nobody_claims_it_before(scene: Scene) -> None:
    register(scene, max_crashes=3)
    run = scene.start()
    kill(scene, 2)
    assert crashed(scene) == {}
    assert not scene.do(tasks.fail_crashed(run, b'"died"'))
    kill(scene, 1)

    assert scene.claim(scene.worker(), suspects=True) == []
    assert crashed(scene) == {run: 3}
    assert scene.do(tasks.fail_crashed(run, b'"died"'))
    assert scene.run_state(run) == "failed"
    assert scene.sql("SELECT outcome FROM zart_execution_runs") == [(b'"died"',)]
    assert crashed(scene) == {}


def test_a_workflow_that_nobody_has_registered_allows_five(scene: Scene) -> None:
    run = scene.start()
    kill(scene, 4)
    assert crashed(scene) == {}
    kill(scene, 1)
    assert crashed(scene) == {run: 5}


def test_a_workflow_may_survive_no_death_at_all(scene: Scene) -> None:
    register(scene, max_crashes=1)
    run = scene.start()
    kill(scene, 1)
    assert scene.claim(scene.worker()) == []
    assert crashed(scene) == {run: 1}


def test_a_crashed_run_whose_row_is_held_is_failed_by_a_later_sweep(scene: Scene) -> None:
    register(scene, max_crashes=2)
    run = scene.start()
    kill(scene, 2)
    user = scene.transaction()
    user.do(executions.deliver(str(run), "x", payload=b"1"))

    assert not scene.do(tasks.fail_crashed(run, b'"died"'))
    user.commit()
    assert scene.do(tasks.fail_crashed(run, b'"died"'))


def test_a_failure_or_a_cancel_is_handed_to_the_workflows_handler_before_the_run_ends(scene: Scene) -> None:
    register(scene, on_failure=True, on_cancel=True)
    worker = scene.worker()
    failing, cancelled = scene.claimed_run(worker), scene.claimed_run(worker)

    assert verdicts(scene.flush(worker, ends=[end(failing, state="failed", payload='"no"')])) == ["released"]
    assert verdicts(scene.flush(worker, parks=[park(cancelled, ":x#0")])) == ["parked"]
    assert scene.do(executions.cancel(str(cancelled), "why")).status == "requested"

    found = {task.run_id: task.epoch for task in scene.claim(worker)}
    assert found == {failing: 2, cancelled: 3}
    assert scene.sql("SELECT phase::text, deadline_at FROM zart_tasks ORDER BY phase") == [
        ("c", None),
        ("f", None),
    ]
    ends = [
        end(failing, epoch=2, payload='"sorry"'),
        end(cancelled, epoch=3, state="cancelled", payload='"why"'),
    ]
    assert verdicts(scene.flush(worker, ends=ends)) == ["ended", "ended"]
    assert (scene.run_state(failing), scene.run_state(cancelled)) == ("completed", "cancelled")


def test_the_handing_over_is_recognised_when_it_is_sent_again(scene: Scene) -> None:
    register(scene, on_failure=True)
    worker = scene.worker()
    run = scene.claimed_run(worker)
    ends = [end(run, state="failed", payload='"no"')]

    assert verdicts(scene.flush(worker, ends=ends)) == ["released"]
    assert verdicts(scene.flush(worker, ends=ends, resend=True)) == ["released"]
    assert verdicts(scene.flush(scene.worker(), ends=ends)) == ["released"]
    assert scene.task(run, "phase::text, epoch") == ("f", 1)


def test_a_cancel_stops_a_failure_handler_and_the_failure_stands(scene: Scene) -> None:
    register(scene, on_failure=True, on_cancel=True)
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, ends=[end(run, state="failed", payload='"no"')])

    assert scene.do(executions.cancel(str(run), "enough")).state == "failed"
    assert scene.sql("SELECT state, outcome FROM zart_execution_runs") == [("failed", b'"no"')]


def test_a_second_cancel_does_not_disturb_the_cancel_handler(scene: Scene) -> None:
    register(scene, on_cancel=True)
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, parks=[park(run, ":x#0")])
    scene.do(executions.cancel(str(run), "why"))
    scene.claim(worker)

    answer = scene.do(executions.cancel(str(run), "again"))
    assert (answer.status, answer.state) == ("requested", "running")
    assert scene.task(run, "cancel_requested_at") is None


def test_a_run_that_never_began_is_cancelled_without_its_handler(scene: Scene) -> None:
    register(scene, on_cancel=True)
    run = scene.start()
    assert scene.do(executions.cancel(str(run), None)).status == "cancelled"
    assert scene.run_state(run) == "cancelled"
