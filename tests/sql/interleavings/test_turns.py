"""L11, with held locks: the order in which a run's owner takes outcomes into the journal is the order for ever."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from tests.sql.scene import (
    Scene,
    attempt,
    block,
    claim,
    collect,
    drop,
    end,
    flush,
    nap,
    park,
    step,
    turn,
    verdicts,
    wait,
)

from zart_scheduler.store import executions, tasks


def waiting(scene: Scene, worker: UUID) -> UUID:
    """An active run with one open wait `W` for `x`."""
    run = scene.claimed_run(worker)
    assert verdicts(scene.flush(worker, waits=[wait(run, "W", 0)])) == []
    return run


def test_an_event_committed_before_a_flush_gets_the_collects_place_in_it(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting(scene, worker)
    scene.deliver(run)

    rows = scene.flush(worker, steps=[step(run, "a", 1), step(run, "b", 9000)], collects=[collect(run, 2)])

    assert verdicts(rows) == ["turn W", "collected"]
    assert scene.journal(run) == {"a": ("o", turn(1, 1)), "W": ("o", turn(1, 2)), "b": ("o", turn(1, 9000))}


def test_a_collect_does_not_wait_for_an_open_delivery_and_a_later_one_takes_it(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting(scene, worker)
    sender = scene.transaction()
    sender.do(executions.deliver(str(run), "x", payload=b"7"))

    first = scene.session().later(flush(worker, steps=[step(run, "a", 1)], collects=[collect(run, 2)]))
    assert not first.blocked()
    assert verdicts(first.result()) == ["collected"]
    sender.commit()

    rows = scene.flush(worker, steps=[step(run, "b", 5000)], collects=[collect(run, 5001)])
    assert verdicts(rows) == ["turn W", "collected"]
    assert scene.journal(run)["W"] == ("o", turn(1, 5001))


def test_an_event_stays_without_a_turn_until_a_collect(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting(scene, worker)
    scene.flush(worker, steps=[step(run, "a", 1), step(run, "b", 2)])
    scene.deliver(run)
    assert scene.journal(run)["W"] == ("o", None)

    (taken, _, _) = scene.flush(worker, collects=[collect(run, 3)])

    assert (taken.ident, taken.turn, taken.kind, taken.outcome, taken.payload) == (
        "W",
        turn(1, 3),
        "w",
        "o",
        b"7",
    )


def test_a_users_open_transaction_holds_up_neither_steps_nor_sleeps_nor_other_runs(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[nap(run, "z", -1)])
    sender = scene.transaction()
    sender.do(executions.deliver(str(run), "nobody", payload=b"7"))

    checkpoint = scene.session().later(
        flush(
            worker,
            steps=[step(run, "a", 1)],
            attempts=[attempt(run, "s", 1, error='"boom"')],
            cancels=[drop(run, "z2", 4, kind="z")],
            waits=[wait(run, "W", 2)],
            collects=[collect(run, 3)],
            parks=[park(run, "W")],
        )
    )
    assert not checkpoint.blocked()
    assert verdicts(checkpoint.result()) == ["busy z2", "busy W", "turn z", "collected", "busy"]
    for group, item in (("ends", end(run)), ("releases", end(run)), ("blocks", block(run))):
        assert verdicts(scene.flush(worker, {group: [item]})) == ["busy"]
    assert scene.journal(run) == {"a": ("o", turn(1, 1)), "z": ("o", turn(1, 3))}
    assert scene.task(run) == "a"

    sender.commit()
    assert verdicts(scene.flush(worker, ends=[end(run)])) == ["ended"]


def test_a_claim_passes_over_a_run_with_an_open_delivery_and_takes_the_others(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting(scene, worker)
    scene.flush(worker, parks=[park(run, "W")])
    scene.deliver(run)
    sender = scene.transaction()
    sender.do(executions.deliver(str(run), "x", payload=b"8"))
    other = scene.start()

    pending = scene.session().later(claim(worker))
    assert not pending.blocked()
    assert [task.run_id for task in pending.result() or []] == [other]
    sender.commit()

    assert [(task.run_id, task.epoch) for task in scene.claim(worker)] == [(run, 2)]
    assert scene.journal(run) == {"W": ("o", turn(2, 0))}


def test_a_collect_that_starts_while_its_worker_is_taken_is_fenced(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = waiting(scene, first)
    scene.deliver(run)
    taker = scene.transaction()
    taker.sql("SELECT 1 FROM zart_workers WHERE worker_id = %s FOR UPDATE", first)
    taker.sql("UPDATE zart_workers SET state = 'dead' WHERE worker_id = %s", first)

    zombie = scene.session().later(flush(first, collects=[collect(run, 1)]))
    assert zombie.blocked()
    taker.commit()

    assert verdicts(zombie.result()) == ["fenced"]
    scene.do(tasks.requeue_dead(10))
    scene.claim(second)
    assert scene.journal(run) == {"W": ("o", turn(3, 0))}


def test_a_collect_before_the_taker_keeps_its_turn_which_is_below_the_next_claims(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = waiting(scene, first)
    scene.deliver(run)
    zombie = scene.transaction()
    assert verdicts(zombie.do(flush(first, collects=[collect(run, 1)]))) == ["turn W", "collected"]

    taker = scene.session().sql_later("SELECT 1 FROM zart_workers WHERE worker_id = %s FOR UPDATE", first)
    assert taker.blocked()
    zombie.commit()
    taker.result()
    scene.bury(first)

    (task,) = scene.claim(second)
    assert scene.journal(run) == {"W": ("o", turn(1, 1))}
    assert turn(1, 1) < turn(task.epoch, 0)


def test_a_collect_takes_a_sleep_only_when_it_is_due_and_says_when_that_is(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[nap(run, "soon", 0), nap(run, "late", 600)])

    (taken, collected, _) = scene.flush(worker, collects=[collect(run, 1)])

    assert (taken.verdict, taken.ident, taken.turn) == ("turn", "soon", turn(1, 1))
    assert 590 < (collected.secs or 0) <= 600


def test_a_collect_leaves_a_timeout_alone_whose_wait_an_open_delivery_has_met(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 0, timeout=0.3)])
    sender = scene.transaction()
    assert sender.do(executions.deliver(str(run), "x", payload=b"7")).status == "consumed"
    scene.wait_past("SELECT max(deadline) FROM zart_waits")

    pending = scene.session().later(flush(worker, collects=[collect(run, 1)]))
    assert not pending.blocked()
    (collected, _) = pending.result()
    assert (collected.verdict, collected.secs is not None and collected.secs <= 0) == ("collected", True)
    sender.commit()

    assert verdicts(scene.flush(worker, collects=[collect(run, 2)])) == ["turn W", "collected"]
    assert scene.journal(run) == {"W": ("o", turn(1, 2))}


def test_a_collect_records_the_timeouts_that_have_come(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 0, timeout=-1), wait(run, "V", 0, timeout=600)])

    (taken, collected, _) = scene.flush(worker, collects=[collect(run, 1)])

    assert (taken.ident, taken.kind, taken.outcome, taken.payload) == ("W", "w", "t", None)
    assert 590 < (collected.secs or 0) <= 600


def test_a_stolen_run_takes_neither_steps_nor_turns_from_its_former_owner(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting(scene, worker)
    scene.deliver(run)
    taker = scene.transaction()
    taker.sql("SELECT 1 FROM zart_workers WHERE worker_id = %s FOR UPDATE", worker)
    taker.sql(
        "UPDATE zart_tasks SET state = 'r', worker_id = NULL, epoch = epoch + 1 WHERE task_id = %s", run
    )

    zombie = scene.session().later(flush(worker, steps=[step(run, "a", 1)], collects=[collect(run, 2)]))
    assert zombie.blocked()
    taker.commit()

    assert verdicts(zombie.result()) == ["lost a", "lost"]
    assert scene.journal(run) == {"W": ("o", None)}


def test_a_collect_sent_again_tells_what_it_gave_before_and_what_came_since(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W1", 0), wait(run, "W2", 0, name="y")])
    scene.deliver(run, "x")
    assert verdicts(scene.flush(worker, collects=[collect(run, 2)])) == ["turn W1", "collected"]
    scene.deliver(run, "y")

    rows = scene.flush(worker, resend=True, collects=[collect(run, 2)])

    assert verdicts(rows) == ["turn W1", "turn W2", "collected"]
    assert scene.journal(run) == {"W1": ("o", turn(1, 2)), "W2": ("o", turn(1, 2))}


def test_a_resend_waits_until_its_first_try_is_decided(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.deliver(run)
    groups = {"waits": [wait(run, "W", 1), wait(run, "V", 2, name="y")], "parks": [park(run, "V")]}
    first = scene.transaction()
    assert verdicts(first.do(flush(worker, groups))) == ["have W", "parked"]

    again = scene.session().later(flush(worker, groups, resend=True))
    assert again.blocked()
    first.commit()

    assert verdicts(again.result()) == ["have W", "parked"]


def test_a_wait_met_in_its_own_flush_is_answered_the_same_when_sent_again(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.deliver(run)
    checkpoint = flush(worker, waits=[wait(run, "W", 3)])

    first, again = scene.do(checkpoint), scene.do(checkpoint)

    assert first == again
    assert (first[0].verdict, first[0].turn, first[0].payload) == ("have", turn(1, 3), b"7")


def test_a_cancel_of_a_wait_does_not_wait_for_its_open_event_and_later_frees_it(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting(scene, worker)
    sender = scene.transaction()
    assert sender.do(executions.deliver(str(run), "x", payload=b"7")).status == "consumed"
    cancel = flush(worker, cancels=[drop(run, "W", 2)])

    pending = scene.session().later(cancel)
    assert not pending.blocked()
    assert verdicts(pending.result()) == ["busy W"]
    sender.commit()

    assert verdicts(scene.do(cancel)) == []
    assert scene.journal(run) == {"W": ("c", turn(1, 2))}
    assert scene.mailbox(run) == {b"7": None}


def test_the_event_of_a_cancelled_wait_goes_to_the_oldest_open_wait_of_its_name(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W1", 1), wait(run, "W2", 2), wait(run, "W3", 3)])
    scene.deliver(run)

    assert verdicts(scene.flush(worker, cancels=[drop(run, "W1", 4)])) == []

    assert scene.mailbox(run) == {b"7": "W2"}
    assert scene.journal(run) == {"W1": ("c", turn(1, 4)), "W2": ("o", None)}


def test_the_event_of_a_cancelled_wait_serves_a_new_wait_of_the_same_flush(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting(scene, worker)
    scene.deliver(run)

    rows = scene.flush(worker, cancels=[drop(run, "W", 1)], waits=[wait(run, "V", 2)])

    assert verdicts(rows) == ["have V"]
    assert scene.mailbox(run) == {b"7": "V"}


def test_a_wait_that_was_delivered_and_then_cancelled_keeps_its_turn(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting(scene, worker)
    scene.deliver(run)
    scene.flush(worker, collects=[collect(run, 1)])

    scene.flush(worker, cancels=[drop(run, "W", 2)])

    assert scene.journal(run) == {"W": ("c", turn(1, 1))}


def test_a_run_does_not_park_while_its_outcome_comes_has_come_or_has_a_turn_it_never_saw(
    scene: Scene,
) -> None:
    worker = scene.worker()
    run = waiting(scene, worker)
    sender = scene.transaction()
    sender.do(executions.deliver(str(run), "x", payload=b"7"))
    leave = flush(worker, parks=[park(run, "W")])

    assert verdicts(scene.do(leave)) == ["busy"]
    sender.commit()
    assert verdicts(scene.do(leave)) == ["unparked"]
    scene.flush(worker, collects=[collect(run, 1)])
    assert verdicts(scene.do(leave)) == ["unparked"]
    assert scene.task(run) == "a"


def test_a_run_parks_on_a_sleep_until_it_is_due(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[nap(run, "z", 0.3)])
    (parked, _) = scene.flush(worker, parks=[park(run, "z")])
    assert parked.verdict == "parked"
    assert 0 < (parked.secs or 0) <= 0.3
    assert scene.do(tasks.fire_due(uuid4(), 10)) == 0

    scene.wait_past("SELECT max(wake_at) FROM zart_steps")
    assert scene.do(tasks.fire_due(uuid4(), 10)) == 1
    scene.claim(worker)
    assert scene.journal(run) == {"z": ("o", turn(2, 0))}


def test_a_run_does_not_park_on_a_sleep_that_is_due(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[nap(run, "z", 0)])

    assert verdicts(scene.flush(worker, parks=[park(run, "z")])) == ["unparked"]


def test_the_epoch_tells_a_cached_body_that_another_worker_had_the_run(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)
    scene.flush(first, waits=[wait(run, "A", 0), wait(run, "B", 0, name="y")], parks=[park(run, "A", "B")])
    scene.deliver(run, "x")
    (task,) = scene.claim(second)
    scene.flush(second, steps=[step(run, "own", 5, epoch=2)], parks=[park(run, "B", epoch=task.epoch)])
    scene.deliver(run, "y")

    (again,) = scene.claim(first)

    assert again.epoch == 3
    assert scene.journal(run) == {"A": ("o", turn(2, 0)), "own": ("o", turn(2, 5)), "B": ("o", turn(3, 0))}


@pytest.mark.parametrize(("recorded", "crashes"), [(False, 1), (True, 0)])
def test_a_death_counts_unless_the_run_recorded_something_since_its_claim(
    scene: Scene, recorded: bool, crashes: int
) -> None:
    first, second = scene.worker(), scene.worker()
    run = waiting(scene, first)
    scene.flush(first, parks=[park(run, "W")])
    scene.deliver(run)
    scene.claim(first)  # gives W a turn: that alone is no progress
    if recorded:
        scene.flush(first, steps=[step(run, "a", 1, epoch=2)])

    scene.bury(first)

    assert [(task.epoch, task.crash_count) for task in scene.claim(second)] == [(4, crashes)]
