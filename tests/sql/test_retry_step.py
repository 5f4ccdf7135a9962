"""A failed run is opened again for one more try of a step."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.sql.lives import (
    ERROR,
    NOBODY,
    OTHER,
    as_child,
    ended_run,
    failed,
    handled_run,
    rerun,
    retry,
    runs_of,
)
from tests.sql.scene import Items, Scene, end, step, turn, verdicts

from zart_scheduler.store.tasks import Handler


def test_a_retried_step_is_forgotten_and_gets_one_more_attempt_in_the_same_run(scene: Scene) -> None:
    worker = scene.worker()
    run = ended_run(scene, worker, [step(NOBODY, ":a#0", 1), failed(NOBODY, ":b#0", 2, a=3)])

    assert scene.do(retry(run)).status == "done"

    assert scene.journal(run) == {":a#0": ("o", turn(1, 1))}
    assert runs_of(scene, run) == [(0, "live")]
    assert scene.sql("SELECT attempt, is_last, error FROM zart_step_attempts") == [(3, True, ERROR.encode())]
    assert scene.task(run, "state::text, epoch, version") == ("r", 1, "1")
    assert scene.run_state(run) == "scheduled"
    scene.claim(worker)
    assert verdicts(scene.flush(worker, steps=[step(run, ":b#0", 1, epoch=2)])) == []
    assert scene.journal(run)[":b#0"] == ("o", turn(2, 1))


def test_a_retry_asked_for_again_is_not_another(scene: Scene) -> None:
    worker = scene.worker()
    run = ended_run(scene, worker, [failed(NOBODY, ":b#0", 1)])

    assert scene.do(retry(run, key="k")).status == "done"
    assert scene.do(retry(run, key="k")).status == "replayed"

    assert scene.do(retry(run)).status == "illegal"
    assert len(scene.sql("SELECT * FROM zart_audit")) == 1


def test_the_step_that_failed_the_run_is_retried_and_a_name_chooses_another(scene: Scene) -> None:
    steps = [
        failed(NOBODY, ":cause#0", 1),
        failed(NOBODY, ":handled#0", 2, OTHER),
        failed(NOBODY, ":handled#1", 3, OTHER),
    ]
    worker = scene.worker()
    first, second, third = (ended_run(scene, worker, steps) for _ in range(3))
    unlike = ended_run(
        scene, worker, steps, error=json.dumps({"type": "t", "message": "\0", "kind": "error"})
    )

    assert scene.do(retry(first)).status == scene.do(retry(second, "handled")).status == "done"

    assert sorted(scene.journal(first)) == [":handled#0", ":handled#1"]
    assert sorted(scene.journal(second)) == [":cause#0", ":handled#0"]
    answer = scene.do(retry(third, "nope"))
    assert (answer.status, list(answer.names or ())) == ("no_step", ["cause", "handled"])
    assert runs_of(scene, third) == [(0, "failed")]
    scene.do(retry(unlike))
    assert sorted(scene.journal(unlike)) == [":cause#0", ":handled#0"]


def test_what_the_failure_cancelled_is_forgotten_with_it(scene: Scene) -> None:
    early = step(NOBODY, ":early#0", 1) | {"o": "c", "p": None}
    late = step(NOBODY, ".1:late#0", 3) | {"o": "c", "p": None}
    run = ended_run(
        scene, scene.worker(), [early, failed(NOBODY, ".0:b#0", 2), late, step(NOBODY, ":undo#0", 4)]
    )

    scene.do(retry(run))

    assert sorted(scene.journal(run)) == [":early#0", ":undo#0"]


def test_a_retried_run_has_a_new_deadline_and_a_timed_out_step_too(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.start()
    scene.claim(worker, handlers=[Handler("wf", "1", current=True, timeout=60.0)])
    scene.flush(worker, attempts=[{"t": run, "e": 1, "i": ":b#0", "a": 1, "k": "s", "d": 1, "l": 1.0}])
    scene.flush(
        worker, steps=[failed(run, ":b#0", 1) | {"o": "t"}], ends=[end(run, state="failed", payload=ERROR)]
    )
    scene.sql(
        """UPDATE zart_execution_runs
           SET started_at = started_at - interval '1 h', deadline_at = deadline_at - interval '1 h'"""
    )

    scene.do(retry(run))

    (left,) = scene.sql("SELECT extract(epoch FROM deadline_at - clock_timestamp()) FROM zart_tasks")[0]
    assert 50 < left <= 60
    assert scene.sql("SELECT deadline_at FROM zart_tasks") == scene.sql(
        "SELECT deadline_at FROM zart_execution_runs"
    )
    assert scene.sql("SELECT attempt, deadline_at, is_last FROM zart_step_attempts") == [(1, None, True)]


@pytest.mark.parametrize("kind", ["DeadlineExceeded", "WorkerCrashed", "error"])
def test_a_run_without_a_failed_step_goes_on_only_if_the_engine_ended_it(scene: Scene, kind: str) -> None:
    error = json.dumps({"type": "t", "message": "m", "kind": kind})
    run = ended_run(scene, scene.worker(), [step(NOBODY, ":a#0", 1)], error=error)

    answer = scene.do(retry(run))

    assert answer.status == ("no_step" if kind == "error" else "done")
    assert list(scene.journal(run)) == [":a#0"]


@pytest.mark.parametrize("state", ["live", "completed", "cancelled"])
def test_only_a_failed_run_is_opened_again(scene: Scene, state: str) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    if state != "live":
        scene.flush(worker, ends=[end(run, state=state)])

    answer = scene.do(retry(run))

    assert (answer.status, answer.state) == ("illegal", "running" if state == "live" else state)
    assert runs_of(scene, run) == [(0, state)]


def test_a_run_that_was_opened_again_takes_nothing_from_the_worker_that_ended_it(scene: Scene) -> None:
    worker = scene.worker()
    run = ended_run(scene, worker, [failed(NOBODY, ":b#0", 1)])
    scene.do(retry(run))

    assert verdicts(scene.flush(worker, ends=[end(run, state="failed")], resend=True)) == ["released"]
    assert verdicts(scene.flush(worker, steps=[step(run, ":c#0", 2)], resend=True)) == ["lost :c#0"]
    assert runs_of(scene, run) == [(0, "live")]
    assert scene.task(run) == "r"


@pytest.mark.parametrize("is_over", [True, False])
def test_no_step_is_retried_once_a_handler_has_begun(scene: Scene, is_over: bool) -> None:
    worker = scene.worker()
    run = handled_run(scene, worker, "failed")
    if is_over:
        scene.flush(worker, ends=[end(run, epoch=2, state="failed", payload=ERROR)])

    assert scene.do(retry(run)).status == "handled"

    assert runs_of(scene, run) == [(0, "failed" if is_over else "live")]


def child_record(outcome: str, number: int) -> dict[str, Any]:
    return step(NOBODY, ":child#0", number, payload=ERROR) | {"k": "k", "o": outcome}


@pytest.mark.parametrize(
    "steps",
    [
        [child_record("e", 1)],
        [failed(NOBODY, ":a#0", 1), child_record("c", 2)],
        [failed(NOBODY, ":a#0", 1)],
    ],
    ids=["it failed", "the failure cancelled it", "it was open at the end"],
)
def test_a_run_that_would_ask_for_a_child_again_is_not_opened(scene: Scene, steps: Items) -> None:
    run = ended_run(scene, scene.worker(), steps)
    as_child(scene, run, scene.start())

    assert scene.do(retry(run)).status == "children"

    assert runs_of(scene, run) == [(0, "failed")]
    assert scene.do(rerun(run)).status == "done"


def test_a_child_that_has_come_is_no_hindrance(scene: Scene) -> None:
    run = ended_run(scene, scene.worker(), [child_record("o", 1), failed(NOBODY, ":a#0", 2)])
    as_child(scene, run, scene.start())

    assert scene.do(retry(run)).status == "done"
