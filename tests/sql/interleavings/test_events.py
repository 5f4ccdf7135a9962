"""Events against waits, timeouts, cancels and ends, with held locks: no wake-up is lost, none comes twice."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest
from tests.sql.scene import Scene, collect, end, flush, park, turn, verdicts, wait

from zart_core.spi import Delivered
from zart_scheduler.store import executions, tasks
from zart_scheduler.store.statement import Statement


def waiting_run(scene: Scene, worker: UUID, *, timeout: float | None = None) -> UUID:
    """A parked run with one open wait `W` for `x`."""
    run = scene.claimed_run(worker)
    rows = scene.flush(worker, waits=[wait(run, "W", 1, timeout=timeout)], parks=[park(run, "W")])
    assert verdicts(rows) == ["parked"]
    return run


def send(run: UUID, payload: bytes = b"7", key: str | None = None) -> Statement[Delivered]:
    return executions.deliver(str(run), "x", payload=payload, key=key)


def test_a_wait_registered_while_a_delivery_is_open_is_not_done_and_then_finds_the_event(
    scene: Scene,
) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    sender = scene.transaction()
    assert sender.do(send(run)).status == "kept"

    register = flush(worker, waits=[wait(run, "W", 1)], parks=[park(run, "W")])
    assert verdicts(scene.do(register)) == ["busy W", "busy"]
    sender.commit()

    (have, unparked, _) = scene.do(register)
    assert (have.verdict, have.turn, have.payload) == ("have", turn(1, 1), b"7")
    assert unparked.verdict == "unparked"
    assert scene.mailbox(run) == {b"7": "W"}


def test_a_delivery_that_meets_an_open_registration_waits_for_it_and_wakes_the_run(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    owner = scene.transaction()
    owner.do(flush(worker, waits=[wait(run, "W", 1)], parks=[park(run, "W")]))

    sender = scene.session().later(send(run))
    assert sender.blocked()
    owner.commit()

    assert sender.result().status == "consumed"
    assert scene.task(run) == "r"
    assert scene.journal(run) == {"W": ("o", None)}


def test_a_registration_that_starts_while_its_row_was_held_looks_after_the_lock(scene: Scene) -> None:
    # The lock statement sees the row free although its own snapshot is older than the delivery; the look must be newer.
    worker = scene.worker()
    run = scene.claimed_run(worker)
    gate = scene.transaction()
    gate.sql("SELECT 1 FROM zart_workers WHERE worker_id = %s FOR UPDATE", worker)
    register = scene.session().later(flush(worker, waits=[wait(run, "W", 1)], parks=[park(run, "W")]))
    assert register.blocked()  # in its fence; its first snapshot is taken
    assert scene.deliver(run).status == "kept"
    gate.commit()

    assert verdicts(register.result()) == ["have W", "unparked"]


def test_two_deliveries_to_one_wait_are_consumed_once(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    first = scene.transaction()
    assert first.do(send(run, b'"A"')).status == "consumed"

    second = scene.session().later(send(run, b'"B"'))
    assert second.blocked()
    first.commit()

    assert second.result().status == "kept"
    assert scene.mailbox(run) == {b'"A"': "W", b'"B"': None}


def test_a_timeout_recorded_first_leaves_the_event_in_the_mailbox(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker, timeout=0)
    assert scene.do(tasks.fire_due(uuid4(), 10)) == 1
    owner = scene.transaction()
    claimed = owner.do(tasks.claim(worker, UUID(int=1), queues=["default"], handlers=HANDLER, limit=5))
    assert claimed is not None
    assert [task.epoch for task in claimed] == [2]

    sender = scene.session().later(send(run))
    assert sender.blocked()
    owner.commit()

    assert sender.result().status == "kept"
    assert scene.journal(run) == {"W": ("t", turn(2, 0))}


def test_a_wait_past_its_deadline_is_closed_also_before_its_timeout_is_recorded(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker, timeout=0)

    assert scene.deliver(run).status == "kept"
    assert scene.do(tasks.fire_due(uuid4(), 10)) == 1
    scene.claim(worker)

    assert scene.journal(run) == {"W": ("t", turn(2, 0))}
    assert scene.mailbox(run) == {b"7": None}


def test_a_delivery_recorded_first_makes_the_timer_pass(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker, timeout=0.3)
    sender = scene.transaction()
    assert sender.do(send(run)).status == "consumed"
    scene.wait_past("SELECT max(deadline) FROM zart_waits")

    timer = scene.session().later(tasks.fire_due(uuid4(), 10))
    assert not timer.blocked()
    assert timer.result() == 0
    sender.commit()
    scene.claim(worker)

    assert scene.journal(run) == {"W": ("o", turn(2, 0))}


def test_a_delivery_that_meets_an_open_cancel_finds_the_run_ended(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    canceller = scene.transaction()
    assert canceller.do(executions.cancel(str(run))).status == "cancelled"

    sender = scene.session().later(send(run))
    assert sender.blocked()
    canceller.commit()

    receipt = sender.result()
    assert (receipt.status, receipt.state) == ("terminal", "cancelled")
    assert scene.mailbox(run) == {}


def test_a_cancel_that_meets_an_open_delivery_gives_the_event_back(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    sender = scene.transaction()
    sender.do(send(run))

    canceller = scene.session().later(executions.cancel(str(run)))
    assert canceller.blocked()
    sender.commit()

    assert canceller.result().status == "cancelled"
    assert scene.mailbox(run) == {b"7": None}
    assert scene.journal(run) == {}


def test_one_idempotency_key_is_accepted_once_and_answered_after_the_end(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    first = scene.transaction()
    event = first.do(send(run, key="k")).event_id

    second = scene.session().later(send(run, key="k"))
    assert second.blocked()
    first.commit()
    assert second.result() == ("duplicate", event, None)

    scene.flush(worker, ends=[end(run)])
    assert scene.deliver(run, key="k") == ("duplicate", event, None)
    assert scene.deliver(run, payload=b"8", key="k") == ("mismatch", event, None)
    assert scene.deliver(run, name="other", key="k") == ("mismatch", event, None)
    assert scene.deliver(run, key="new") == ("terminal", None, "completed")


def test_a_sender_that_rolls_back_wakes_nobody(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    sender = scene.transaction()
    assert sender.do(send(run)).status == "consumed"

    sender.rollback()

    assert scene.task(run) == "w"
    assert scene.journal(run) == {}
    assert scene.mailbox(run) == {}
    assert scene.deliver(run).status == "consumed"


def test_events_kept_before_their_waits_are_consumed_in_order_of_acceptance(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    for payload in (b"1", b"2", b"3"):
        scene.deliver(run, payload=payload)

    rows = scene.flush(worker, waits=[wait(run, "c", 3), wait(run, "a", 1), wait(run, "b", 2)])

    assert [(row.ident, row.payload) for row in rows[:-1]] == [("a", b"1"), ("b", b"2"), ("c", b"3")]


def test_a_delivery_that_meets_an_open_end_finds_the_run_ended(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    owner = scene.transaction()
    assert verdicts(owner.do(flush(worker, ends=[end(run)]))) == ["ended"]

    sender = scene.session().later(send(run))
    assert sender.blocked()
    owner.commit()

    assert sender.result() == ("terminal", None, "completed")


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_sender_whose_snapshot_would_miss_a_new_wait_is_refused(scene: Scene, level: str) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    sender = scene.transaction()
    sender.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
    sender.sql("SELECT 1 FROM zart_waits")
    scene.flush(worker, waits=[wait(run, "W", 1)], parks=[park(run, "W")])

    with pytest.raises(psycopg.errors.InvalidTransactionState):
        sender.do(send(run))


def test_an_event_that_no_body_has_seen_outlives_its_run(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "seen", 1), wait(run, "unseen", 2)])
    scene.deliver(run, payload=b"1")
    scene.flush(worker, collects=[collect(run, 3)])
    scene.deliver(run, payload=b"2")

    assert verdicts(scene.flush(worker, ends=[end(run)])) == ["ended"]

    assert scene.mailbox(run) == {b"1": "seen", b"2": None}
    assert scene.journal(run) == {"seen": ("o", turn(1, 3))}


def test_an_event_with_a_turn_that_the_owner_has_not_delivered_returns_at_its_end(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "seen", 1), wait(run, "unseen", 2)])
    scene.deliver(run, payload=b"1")
    scene.deliver(run, payload=b"2")
    scene.flush(worker, collects=[collect(run, 3)])

    ending = end(run) | {"unseen": ["unseen"]}
    assert verdicts(scene.flush(worker, ends=[ending])) == ["ended"]

    assert scene.mailbox(run) == {b"1": "seen", b"2": None}
    assert scene.journal(run) == {"seen": ("o", turn(1, 3))}


@pytest.mark.parametrize("group", ["releases", "blocks"])
def test_an_event_that_the_owner_gives_up_undelivered_has_no_turn_until_the_next_claim(
    scene: Scene, group: str
) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "seen", 1), wait(run, "unseen", 2)])
    scene.deliver(run, payload=b"1")
    scene.deliver(run, payload=b"2")
    scene.flush(worker, collects=[collect(run, 3)])

    scene.flush(worker, {group: [end(run) | {"unseen": ["unseen"]}]})
    assert scene.journal(run) == {"seen": ("o", turn(1, 3)), "unseen": ("o", None)}
    if group == "releases":
        scene.claim(worker)
        assert scene.journal(run)["unseen"] == ("o", turn(2, 0))
    else:
        scene.do(executions.cancel(str(run)))
        assert scene.mailbox(run) == {b"1": "seen", b"2": None}


def test_an_event_with_a_turn_stays_consumed_when_another_than_the_owner_ends_the_run(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 1)])
    scene.deliver(run)
    scene.flush(worker, collects=[collect(run, 2)])
    scene.do(executions.cancel(str(run)))
    scene.bury(worker)

    assert scene.run_state(run) == "cancelled"
    assert scene.mailbox(run) == {b"7": "W"}


def test_a_delivery_that_meets_an_open_restart_goes_to_the_new_run(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    new = uuid4()
    operator = scene.transaction()
    operator.sql("DELETE FROM zart_waits WHERE run_id = %s", run)
    operator.sql("DELETE FROM zart_tasks WHERE task_id = %s", run)
    operator.sql("UPDATE zart_executions SET current_run_id = %s", new)
    operator.sql(
        "INSERT INTO zart_tasks (task_id, run_id, execution_id, queue, workflow) VALUES (%s, %s, %s, 'default', 'wf')",
        new,
        new,
        str(run),
    )

    sender = scene.session().later(send(run))
    assert sender.blocked()
    operator.commit()

    assert sender.result().status == "kept"
    scene.claim(worker)
    assert verdicts(scene.flush(worker, waits=[wait(new, "W", 1)])) == ["have W"]


HANDLER = [tasks.Handler("wf", "1", current=True, timeout=None)]
