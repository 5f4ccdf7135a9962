"""A restart, by a person or by a start, as the database does it."""

from __future__ import annotations

from uuid import uuid4

import pytest
from tests.sql.lives import (
    NOBODY,
    again,
    as_child,
    current,
    ended_run,
    failed,
    fork,
    handled_run,
    outcome,
    request,
    rerun,
    restart,
    retry,
    runs_of,
)
from tests.sql.scene import Scene, end, park, step, verdicts, wait

from zart_core.spi import Started
from zart_scheduler.store import executions, life
from zart_scheduler.store.tasks import Handler


@pytest.mark.parametrize(
    "state", ["ready", "active", "parked", "blocked", "completed", "failed", "cancelled"]
)
def test_a_restart_replaces_a_run_in_any_state_and_leaves_an_ended_one_as_it_was(
    scene: Scene, state: str
) -> None:
    worker = scene.worker()
    run = scene.start()
    if state != "ready":
        assert [task.run_id for task in scene.claim(worker)] == [run]
    match state:
        case "parked":
            scene.flush(worker, waits=[wait(run, "W", 1)], parks=[park(run, "W")])
        case "blocked":
            scene.flush(worker, blocks=[{"t": run, "e": 1, "p": '"why"'}])
        case "completed" | "failed" | "cancelled":
            scene.flush(worker, ends=[end(run, state=state)])
    before = scene.sql("SELECT * FROM zart_execution_runs WHERE run_id = %s", run)

    answer = scene.do(restart(run))

    assert answer.status == "done"
    assert current(scene, run) == answer.run_id
    is_over = state in ("completed", "failed", "cancelled")
    assert runs_of(scene, run) == [(0, state if is_over else "cancelled"), (1, "live")]
    if is_over:
        assert scene.sql("SELECT * FROM zart_execution_runs WHERE run_id = %s", run) == before
    else:
        assert outcome(scene, run) == "replaced by run 1 (restart)"
    assert scene.task(run) is None
    assert scene.sql("SELECT * FROM zart_waits") == []
    assert scene.task(current(scene, run), "state::text, epoch") == ("r", 0)


def test_a_run_that_was_taken_takes_nothing_more_from_its_worker(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)

    scene.do(restart(run))

    for items in (
        {"steps": [step(run, "a", 1)]},
        {"waits": [wait(run, "W", 1)]},
        {"parks": [park(run, "W")]},
        {"ends": [end(run)]},
        {"continues": [{"t": run, "e": 1, "r": uuid4(), "p": "{}"}]},
    ):
        rows = scene.flush(worker, items)
        assert {row.verdict for row in rows} == {"lost", "ok"}
        assert {row.verdict for row in scene.flush(worker, items, resend=True)} == {"lost", "ok"}
    assert scene.journal(run) == {}
    assert runs_of(scene, run) == [(0, "cancelled"), (1, "live")]


def test_a_restart_keeps_queue_and_priority_and_binds_the_version_anew(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.start(version="1", queue="slow", priority=7, input=b'{"n":1}')

    new = scene.do(restart(run)).run_id or NOBODY

    assert scene.task(new, "queue, priority, version") == ("slow", 7, "")
    assert scene.sql("SELECT input FROM zart_execution_runs WHERE run_id = %s", new) == [(b'{"n":1}',)]
    other = scene.do(restart(run, workflow="wf", version="2", input=b'{"n":2}')).run_id or NOBODY
    assert scene.task(other, "queue, priority, version") == ("slow", 7, "2")
    assert scene.sql("SELECT input FROM zart_execution_runs WHERE run_id = %s", other) == [(b'{"n":2}',)]
    handlers = [Handler("wf", "2", current=False, timeout=None)]
    assert [task.run_id for task in scene.claim(worker, queue="slow", handlers=handlers)] == [other]


def test_a_restart_with_another_workflow_is_a_conflict_that_changes_nothing(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)

    answer = scene.do(restart(run, workflow="other", input=b"{}"))

    assert (answer.status, answer.workflow) == ("conflict", "wf")
    assert runs_of(scene, run) == [(0, "live")]
    assert verdicts(scene.flush(worker, steps=[step(run, "a", 1)])) == []


def test_a_request_sent_again_is_carried_out_once_and_with_another_wish_it_is_refused(scene: Scene) -> None:
    worker = scene.worker()
    run = ended_run(scene, worker, [step(NOBODY, ":a#0", 1), failed(NOBODY, ":b#0", 2)])
    asked = request("k", input="1")

    first = scene.do(restart(run, request=asked))
    second = scene.do(restart(run, request=asked))

    assert (second.status, second.run_id) == ("replayed", first.run_id)
    assert scene.do(restart(run, request=request("k", input="2"))).status == "mismatch"
    assert scene.do(life.rerun(str(run), uuid4(), asked, steps=None, keep=None)).status == "mismatch"
    assert len(runs_of(scene, run)) == 2
    assert scene.sql("SELECT action, execution_id, detail -> 'asked' FROM zart_audit") == [
        ("restart", str(run), {"input": "1", "reason": None})
    ]


def test_what_is_done_to_an_unknown_execution_is_nothing(scene: Scene) -> None:
    for statement in (restart(NOBODY), rerun(NOBODY), fork(NOBODY, "a"), retry(NOBODY)):
        assert scene.do(statement).status == "unknown"
    assert scene.sql("SELECT * FROM zart_audit") == []


def test_no_handler_follows_a_restart_and_one_that_has_begun_goes_with_its_run(scene: Scene) -> None:
    worker = scene.worker()
    handled = handled_run(scene, worker, "failed")
    fresh = scene.claimed_run(worker)

    for run in (handled, fresh):
        assert scene.do(restart(run)).status == "done"

    assert runs_of(scene, handled) == [(0, "failed"), (1, "live")]
    assert runs_of(scene, fresh) == [(0, "cancelled"), (1, "live")]
    assert scene.sql("SELECT phase::text FROM zart_tasks") == [("b",), ("b",)]


def test_a_restart_leaves_the_children_of_the_old_run_to_be_cancelled(scene: Scene) -> None:
    worker = scene.worker()
    parent, born = scene.claimed_run(worker), scene.claimed_run(worker)
    as_child(scene, parent, born)

    scene.do(restart(parent))

    assert scene.sql("SELECT task_id, reason FROM zart_cancellations") == [(born, "its parent has ended")]


@pytest.mark.parametrize("state", ["ready", "active", "completed"])
def test_a_start_that_restarts_gives_an_execution_a_new_run_with_its_own_input(
    scene: Scene, state: str
) -> None:
    worker, new = scene.worker(), uuid4()
    run = scene.start(tags={"a": "1"})
    if state != "ready":
        scene.claim(worker)
    if state == "completed":
        scene.flush(worker, ends=[end(run)])

    answer = scene.do(
        again(run, new, input_hash=b"other", input=b"[]", queue="q", tags={"b": "2"}, delay=60.0)
    )

    assert answer == Started("restarted", new, "wf")
    assert scene.task(new, "queue, state::text") == ("q", "w")
    assert scene.sql("SELECT input_hash, tags FROM zart_executions") == [(b"other", {"b": "2"})]
    assert scene.do(again(run, new, input_hash=b"other", input=b"[]")) == answer
    assert len(runs_of(scene, run)) == 2
    assert scene.do(again(run, uuid4(), workflow="another")).status == "conflict"


def test_a_start_sent_again_is_known_though_the_run_has_gone_on_as_another(scene: Scene) -> None:
    worker, run = scene.worker(), uuid4()
    start = executions.start(str(run), run, "wf", input_hash=b"h", input=b"{}")
    assert scene.do(start).status == "created"
    scene.claim(worker)
    scene.flush(worker, continues=[{"t": run, "e": 1, "r": uuid4(), "p": "{}"}])

    assert scene.do(start) == Started("created", run, "wf")


def test_a_start_in_a_users_transaction_takes_no_run_away_from_a_worker(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    user = scene.transaction()

    assert user.do(again(run, uuid4(), in_callers=True)).status == "owned"

    assert verdicts(scene.flush(worker, steps=[step(run, "a", 1)], parks=[park(run, "W")])) == ["parked"]
    assert user.do(again(run, uuid4(), in_callers=True)).status == "restarted"
    user.rollback()
    assert runs_of(scene, run) == [(0, "live")]
