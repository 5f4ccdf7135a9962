"""A spawned step's end against the spawn that is sent again, the run's claim, its park and its end."""

from __future__ import annotations

from uuid import UUID

import pytest
from tests.sql.scene import (
    Scene,
    collect,
    end,
    finish,
    flush,
    park,
    revoke,
    spawn,
    turn,
    verdicts,
)

STEP = ":job#0"
TASKS = "SELECT count(*) FROM zart_tasks WHERE kind = 's'"


def meet(scene: Scene) -> tuple[UUID, UUID, UUID, UUID]:
    """The body's owner, the run, the step's owner and the step's task."""
    owner, other = scene.worker(), scene.worker()
    run = scene.claimed_run(owner)
    scene.flush(owner, spawns=[spawn(run, STEP)])
    (task,) = scene.claim(other)
    return owner, run, other, task.task_id


def test_a_spawn_sent_again_while_the_steps_end_is_uncommitted_does_not_run_it_again(scene: Scene) -> None:
    """L1: after a crash the replay comes to the spawn again, beside the end of the very step."""
    owner, run, other, task = meet(scene)
    ending = scene.transaction()
    assert verdicts(ending.do(flush(other, finishes=[finish(task)]))) == ["ended"]

    again = scene.session().later(flush(owner, spawns=[spawn(run, STEP)]))
    assert not again.blocked(), "a flush never waits for a task row"
    assert verdicts(again.result()) == [f"busy {STEP}"]
    ending.commit()

    assert verdicts(scene.flush(owner, spawns=[spawn(run, STEP)])) == []
    assert scene.sql(TASKS) == [(0,)]
    assert scene.journal(run) == {STEP: ("o", None)}


def test_an_end_beside_the_park_of_its_run_is_either_counted_or_wakes_it(scene: Scene) -> None:
    owner, run, other, task = meet(scene)
    ending = scene.transaction()
    ending.do(flush(other, finishes=[finish(task)]))
    assert verdicts(scene.flush(owner, parks=[park(run, STEP)])) == ["busy"]
    ending.commit()
    assert verdicts(scene.flush(owner, parks=[park(run, STEP)])) == ["unparked"]


def test_a_park_under_way_makes_the_end_busy_and_the_next_try_wakes_the_run(scene: Scene) -> None:
    owner, run, other, task = meet(scene)
    parking = scene.transaction()
    assert verdicts(parking.do(flush(owner, parks=[park(run, STEP)]))) == ["parked"]
    ending = scene.session().later(flush(other, finishes=[finish(task)]))
    assert not ending.blocked()
    assert verdicts(ending.result()) == [f"busy {STEP}"]
    parking.commit()
    assert scene.task(run) == "w"
    assert verdicts(scene.flush(other, finishes=[finish(task)])) == ["ended"]
    assert scene.task(run) == "r"


def test_an_uncommitted_end_is_passed_over_by_a_claim_and_seen_by_the_next(scene: Scene) -> None:
    owner, run, other, task = meet(scene)
    scene.flush(owner, releases=[{"t": run, "e": 1}])
    ending = scene.transaction()
    ending.do(flush(other, finishes=[finish(task)]))
    assert scene.claim(owner) == []
    ending.commit()
    assert [found.run_id for found in scene.claim(owner)] == [run]
    assert scene.journal(run) == {STEP: ("o", turn(2, 0))}


def test_an_end_around_a_collect_gets_its_turn_by_the_next(scene: Scene) -> None:
    owner, run, other, task = meet(scene)
    ending = scene.transaction()
    ending.do(flush(other, finishes=[finish(task)]))
    assert verdicts(scene.flush(owner, collects=[collect(run, 1)])) == ["collected"]
    ending.commit()
    assert scene.journal(run) == {STEP: ("o", None)}
    assert verdicts(scene.flush(owner, collects=[collect(run, 2)])) == [f"turn {STEP}", "collected"]
    assert scene.journal(run) == {STEP: ("o", turn(1, 2))}


@pytest.mark.parametrize("first", ["end", "cancel"])
def test_an_end_and_a_cancel_give_one_outcome(scene: Scene, first: str) -> None:
    owner, run, other, task = meet(scene)
    pair = [(other, {"finishes": [finish(task)]}), (owner, {"revokes": [revoke(run, STEP, 1)]})]
    (one, groups), (two, later) = pair if first == "end" else reversed(pair)
    opened = scene.transaction()
    opened.do(flush(one, groups))
    second = scene.session().later(flush(two, later))
    assert not second.blocked()
    assert verdicts(second.result())[0].startswith("busy")
    opened.commit()
    scene.flush(two, later)
    assert scene.journal(run) == {STEP: ("o" if first == "end" else "x", turn(1, 1))}
    assert scene.sql(TASKS) == [(0,)]


def test_an_end_beside_the_end_of_its_run_is_dropped(scene: Scene) -> None:
    owner, run, other, task = meet(scene)
    over = scene.transaction()
    over.do(flush(owner, ends=[end(run)]))
    ending = scene.session().later(flush(other, finishes=[finish(task)]))
    assert not ending.blocked()
    assert verdicts(ending.result()) == [f"busy {STEP}"]
    over.commit()
    assert verdicts(scene.flush(other, finishes=[finish(task)])) == ["ended"]
    assert scene.journal(run) == {}
    assert scene.sql(TASKS) == [(0,)]


def test_a_step_that_was_taken_over_is_heard_from_its_new_owner_only(scene: Scene) -> None:
    """L4."""
    _, run, zombie, task = meet(scene)
    scene.bury(zombie)
    heir = scene.worker()
    assert [found.task_id for found in scene.claim(heir)] == [task]
    assert verdicts(scene.flush(zombie, finishes=[finish(task, payload="6")])) == ["fenced"]
    assert verdicts(scene.flush(heir, finishes=[finish(task)])) == ["lost"], "its epoch is 3 by now"
    assert verdicts(scene.flush(heir, finishes=[finish(task, epoch=3)])) == ["ended"]
    assert scene.sql("SELECT payload FROM zart_steps WHERE run_id = %s", run) == [(b"5",)]
