"""Heartbeats as the flush writes them: the latest details of an attempt, beside its deadline and its failure."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.sql.scene import Scene, attempt, verdicts

from zart_scheduler.store import steps, tasks, workers


def beat(run: UUID, number: int, details: str, *, epoch: int = 1) -> dict[str, Any]:
    return attempt(run, "s", number, epoch=epoch) | {"b": details}


def details(scene: Scene, run: UUID) -> list[bytes | None]:
    return [row.heartbeat for row in scene.do(steps.load_attempts([run]))]


def test_the_latest_of_one_flush_and_of_several_counts(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    failed = attempt(run, "s", 1, error='"boom"', retry_in=9)

    scene.flush(
        worker, attempts=[beat(run, 1, "9"), attempt(run, "s", 1, deadline_in=60), beat(run, 1, "10")]
    )
    assert details(scene, run) == [b"10"]
    scene.flush(worker, attempts=[beat(run, 1, "2"), failed])
    assert details(scene, run) == [b"2"]
    scene.flush(worker, attempts=[failed])
    assert details(scene, run) == [b"2"]

    (row,) = scene.do(steps.load_attempts([run]))
    assert (row.error, row.attempt) == (b'"boom"', 1)
    assert row.due_in is not None
    assert row.deadline_in is not None


def test_a_run_of_another_worker_takes_no_heartbeat(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)
    scene.bury(first)
    (task,) = scene.claim(second)

    assert verdicts(scene.flush(second, attempts=[beat(run, 1, "1", epoch=1)])) == ["lost s"]
    assert details(scene, run) == []
    assert verdicts(scene.flush(second, attempts=[beat(run, 1, "2", epoch=task.epoch)])) == []


def test_a_death_after_a_heartbeat_of_its_own_does_not_count(scene: Scene) -> None:
    crash_counts = []
    run = scene.start()
    for number in range(4):
        worker = scene.worker()
        (task,) = scene.claim(worker)
        if number in (1, 2):
            scene.flush(worker, attempts=[beat(run, 1, str(number), epoch=task.epoch)])
        scene.expire(worker)
        scene.do(workers.mark_dead(1e6))
        scene.do(tasks.requeue_dead(10))
        crash_counts.append(scene.sql("SELECT crash_count FROM zart_tasks")[0][0])
    assert crash_counts == [1, 0, 0, 1]
