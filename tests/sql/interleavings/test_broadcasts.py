"""Broadcasts against registrations, timeouts, cancels and events, with held locks: none is lost for an open wait."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from tests.sql.scene import Scene, collect, drop, end, flush, park, turn, verdicts, wait

from zart_scheduler.store import executions, tasks
from zart_scheduler.store.executions import Broadcast, Met
from zart_scheduler.store.statement import Statement

FOREVER = 3600.0


def cast(
    payload: bytes = b"7",
    *,
    key: str = "K",
    retain: float | None = None,
    idem_key: str | None = None,
    alone: bool = True,
) -> Statement[Broadcast]:
    return executions.broadcast("x", key, payload=payload, idem_key=idem_key, retain=retain, alone=alone)


def accept(
    scene: Scene, payload: bytes = b"7", *, key: str = "K", retain: float | None = None, alone: bool = True
) -> int:
    """Broadcast, and die before any wait is met."""
    answer = scene.do(cast(payload, key=key, retain=retain, alone=alone))
    assert answer.status == "accepted"
    return answer.event_id


def meet(scene: Scene, limit: int = 100) -> int:
    """Do what a sweep does; return how many waits still miss something."""
    skipped = 0
    for event in scene.do(executions.find_unmet(100)):
        after: int | None = 0
        while after is not None:
            after, more = scene.do(executions.meet_broadcast(event, after, limit))
            skipped += more
    return skipped


def uses(scene: Scene, run: UUID) -> dict[bytes, str | None]:
    """Which call has what was set aside for an execution, by payload; None: it lies in the mailbox."""
    return dict(
        scene.sql(
            "SELECT b.payload, u.consumed_ident FROM zart_event_uses u JOIN zart_broadcasts b USING (event_id) "
            "WHERE u.execution_id = %s ORDER BY u.use_id",
            str(run),
        )
    )


def waiting_run(
    scene: Scene, worker: UUID, *idents: str, key: str | None = "K", timeout: float | None = None
) -> UUID:
    """A parked run with open waits for `x`."""
    run = scene.claimed_run(worker)
    names = idents or ("W",)
    waits = [wait(run, ident, n, key=key, timeout=timeout) for n, ident in enumerate(names, 1)]
    rows = scene.flush(worker, waits=waits, parks=[park(run, *names)])
    assert verdicts(rows) == ["parked"]
    return run


def test_a_broadcast_meets_every_open_wait_of_its_name_and_key_and_no_other(scene: Scene) -> None:
    worker = scene.worker()
    first, second = waiting_run(scene, worker), waiting_run(scene, worker, "A", "B")
    other, unkeyed = waiting_run(scene, worker, key="other"), waiting_run(scene, worker, key=None)

    accept(scene)
    assert meet(scene) == 0

    assert scene.journal(first) == {"W": ("o", None)}
    assert scene.journal(second) == {"A": ("o", None), "B": ("o", None)}
    assert (scene.journal(other), scene.journal(unkeyed)) == ({}, {})
    assert [scene.task(run) for run in (first, second, other, unkeyed)] == ["r", "r", "w", "w"]
    assert scene.do(executions.find_unmet(100)) == []


@pytest.mark.parametrize("retain", [None, FOREVER])
def test_a_registration_while_a_broadcast_gets_its_place_is_not_held_up_and_looks_again(
    scene: Scene, retain: float | None
) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    sender = scene.transaction()
    sender.do(cast(retain=retain))

    register = flush(worker, waits=[wait(run, "W", 1, key="K")])
    assert verdicts(scene.do(register)) == ["busy W"]
    sender.commit()

    assert verdicts(scene.do(register)) == ([] if retain is None else ["have W"])
    assert meet(scene) == 0
    assert scene.journal(run) == ({} if retain is None else {"W": ("o", turn(1, 1))})


def test_a_broadcast_that_meets_an_open_registration_waits_for_it_and_then_finds_the_wait(
    scene: Scene,
) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    owner = scene.transaction()
    owner.do(flush(worker, waits=[wait(run, "W", 1, key="K")], parks=[park(run, "W")]))

    sender = scene.session().later(cast())
    assert sender.blocked()
    owner.commit()

    assert sender.result().status == "accepted"
    assert meet(scene) == 0
    assert scene.journal(run) == {"W": ("o", None)}
    assert scene.task(run) == "r"


def test_a_registration_holds_no_topic_of_another_bucket(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    sender = scene.transaction()
    sender.do(cast(key="K"))

    assert verdicts(scene.do(flush(worker, waits=[wait(run, "W", 1, key="L")]))) == []


def test_a_broadcast_in_an_open_transaction_holds_up_nobody_and_reaches_who_waits_at_its_commit(
    scene: Scene,
) -> None:
    worker = scene.worker()
    early = waiting_run(scene, worker)
    sender = scene.transaction()
    assert sender.do(cast(alone=False)).status == "accepted"

    late = waiting_run(scene, worker)  # is not held up, and waits when the sender commits
    sender.commit()
    assert meet(scene) == 0

    assert scene.journal(early) == scene.journal(late) == {"W": ("o", None)}


def test_a_broadcast_that_was_committed_before_a_wait_does_not_meet_it(scene: Scene) -> None:
    worker = scene.worker()
    accept(scene)

    run = waiting_run(scene, worker)
    assert meet(scene) == 0

    assert scene.journal(run) == {}
    assert scene.do(executions.find_unmet(100)) == []


def test_a_sender_that_rolls_back_meets_nobody(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    sender = scene.transaction()
    sender.do(cast(alone=False))
    sender.rollback()

    assert meet(scene) == 0
    assert scene.journal(run) == {}


@pytest.mark.parametrize("alone", [True, False])
def test_a_timeout_does_not_take_what_was_accepted_before_it(scene: Scene, alone: bool) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker, timeout=0.3)
    accept(scene, alone=alone)  # and the sender dies
    scene.wait_past("SELECT max(deadline) FROM zart_waits")
    assert scene.do(tasks.fire_due(uuid4(), 10)) == 1

    scene.claim(worker)

    assert scene.journal(run) == {"W": ("o", turn(2, 0))}


def test_a_wait_past_its_deadline_is_not_met_and_its_timeout_stands(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker, timeout=0)
    accept(scene)

    assert meet(scene) == 0
    assert scene.do(executions.find_unmet(100)) == []
    assert scene.do(tasks.fire_due(uuid4(), 10)) == 1
    scene.claim(worker)

    assert scene.journal(run) == {"W": ("t", turn(2, 0))}
    assert uses(scene, run) == {}


def test_a_sweep_passes_over_a_run_whose_timeout_is_being_recorded(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker, timeout=0.3)
    scene.sql("UPDATE zart_tasks SET due_at = clock_timestamp()")
    assert scene.do(tasks.fire_due(uuid4(), 10)) == 1
    owner = scene.transaction()
    owner.do(tasks.claim(worker, uuid4(), queues=["default"], handlers=HANDLER, limit=5))
    event = accept(scene)

    sweep = scene.session().later(executions.meet_broadcast(event, 0, 100))
    assert not sweep.blocked()
    assert sweep.result() == Met(None, 1)
    owner.commit()

    assert meet(scene) == 0
    assert scene.journal(run) == {"W": ("o", None)}


def test_a_cancel_before_a_meeting_leaves_nothing_to_meet(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    canceller = scene.transaction()
    canceller.do(executions.cancel(str(run)))
    accept(scene)

    assert meet(scene) == 1
    canceller.commit()

    assert meet(scene) == 0
    assert (scene.journal(run), uses(scene, run)) == ({}, {})
    assert scene.do(executions.find_unmet(100)) == []


def test_a_cancel_after_a_meeting_leaves_the_event_in_the_mailbox(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    event = accept(scene)
    sweep = scene.transaction()
    sweep.do(executions.meet_broadcast(event, 0, 100))

    canceller = scene.session().later(executions.cancel(str(run)))
    assert canceller.blocked()
    sweep.commit()

    assert canceller.result().status == "cancelled"
    assert scene.journal(run) == {}
    assert uses(scene, run) == {b"7": None}


def test_an_event_that_comes_while_a_broadcast_is_unmet_does_not_overtake_it(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    accept(scene, b'"broadcast"')

    assert scene.deliver(run, payload=b'"sent"').status == "kept"

    assert uses(scene, run) == {b'"broadcast"': "W"}
    assert scene.task(run) == "r"
    scene.claim(worker)
    rows = scene.flush(worker, waits=[wait(run, "V", 2, key="K", epoch=2)])
    assert [(row.verdict, row.payload) for row in rows[:-1]] == [("have", b'"sent"')]


def test_an_event_sent_to_the_execution_meets_a_keyed_wait(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)

    assert scene.deliver(run).status == "consumed"
    accept(scene)
    assert meet(scene) == 0

    assert scene.journal(run) == {"W": ("o", None)}
    assert uses(scene, run) == {}


def test_of_an_event_and_a_retained_broadcast_a_new_wait_takes_the_earlier(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    accept(scene, b"1", retain=FOREVER)
    scene.deliver(run, payload=b"2")
    accept(scene, b"3", retain=FOREVER)

    rows = scene.flush(worker, waits=[wait(run, ident, n, key="K") for n, ident in enumerate("abc", 1)])

    assert [(row.ident, row.payload) for row in rows[:-1]] == [("a", b"1"), ("b", b"2"), ("c", b"3")]


def test_a_later_broadcast_does_not_overtake_an_earlier_one_that_is_unmet(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    accept(scene, b"1")
    second = accept(scene, b"2")

    scene.do(executions.meet_broadcast(second, 0, 100))

    assert uses(scene, run) == {b"1": "W"}


def test_a_retained_broadcast_is_taken_once_by_each_execution_while_it_lasts(scene: Scene) -> None:
    worker = scene.worker()
    first, second, third = (scene.claimed_run(worker) for _ in range(3))
    accept(scene, retain=FOREVER)

    assert verdicts(scene.flush(worker, waits=[wait(first, "W", 1, key="K")])) == ["have W"]
    assert verdicts(scene.flush(worker, waits=[wait(first, "V", 2, key="K")])) == []
    assert verdicts(scene.flush(worker, waits=[wait(second, "W", 1, key="K")])) == ["have W"]
    scene.sql("UPDATE zart_broadcasts SET retain_until = clock_timestamp()")
    assert verdicts(scene.flush(worker, waits=[wait(third, "W", 1, key="K")])) == []


def test_a_retained_broadcast_that_met_an_open_wait_is_not_taken_again(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker)
    accept(scene, retain=FOREVER)
    meet(scene)
    scene.claim(worker)

    assert verdicts(scene.flush(worker, waits=[wait(run, "V", 2, key="K", epoch=2)])) == []


def test_the_broadcast_of_a_cancelled_wait_goes_to_the_next_wait_of_its_topic(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 1, key="K")])
    accept(scene)
    meet(scene)
    later = [wait(run, "U", 2), wait(run, "O", 3, key="other"), wait(run, "V", 4, key="K")]
    assert verdicts(scene.flush(worker, waits=later)) == []

    scene.flush(worker, cancels=[drop(run, "W", 5)])

    assert scene.journal(run) == {"W": ("c", turn(1, 5)), "V": ("o", None)}
    assert uses(scene, run) == {b"7": "V"}


def test_the_broadcast_of_a_cancelled_wait_stays_for_a_wait_to_come_though_nothing_is_retained(
    scene: Scene,
) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 1, key="K")])
    accept(scene)
    meet(scene)
    scene.flush(worker, cancels=[drop(run, "W", 2)])
    assert uses(scene, run) == {b"7": None}

    assert verdicts(scene.flush(worker, waits=[wait(run, "U", 3)])) == []
    assert verdicts(scene.flush(worker, waits=[wait(run, "V", 4, key="K")])) == ["have V"]
    assert uses(scene, run) == {b"7": "V"}


def test_a_broadcast_that_one_wait_has_does_not_come_back_from_another_that_is_cancelled(
    scene: Scene,
) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "A", 1, key="K"), wait(run, "B", 2, key="K")])
    accept(scene)
    meet(scene)

    scene.flush(worker, cancels=[drop(run, "B", 3)])

    assert uses(scene, run) == {b"7": "A"}


def test_a_broadcast_that_no_body_has_seen_returns_once_at_the_end(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "A", 1, key="K"), wait(run, "B", 2, key="K")])
    accept(scene)
    meet(scene)

    assert verdicts(scene.flush(worker, ends=[end(run)])) == ["ended"]

    assert scene.sql("SELECT consumed_run FROM zart_event_uses") == [(None,)]


def test_a_broadcast_that_one_body_has_seen_does_not_return_at_the_end(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "A", 1, key="K"), wait(run, "B", 2, key="K")])
    accept(scene)
    meet(scene)
    scene.flush(worker, collects=[collect(run, 3)])

    scene.flush(worker, ends=[end(run) | {"unseen": ["B"]}])

    assert uses(scene, run) == {b"7": "A"}


def test_one_idempotency_key_is_accepted_once_for_each_topic(scene: Scene) -> None:
    first = scene.transaction()
    event = first.do(cast(idem_key="k")).event_id
    second = scene.session().later(cast(idem_key="k"))
    assert second.blocked()
    first.commit()

    assert second.result() == ("duplicate", event)
    assert scene.do(cast(b"8", idem_key="k")) == ("mismatch", event)
    assert scene.do(cast(b"8", idem_key="k", key="other")).status == "accepted"


def test_a_broadcast_whose_first_sender_rolls_back_is_accepted(scene: Scene) -> None:
    first = scene.transaction()
    first.do(cast(idem_key="k", alone=False))
    second = scene.session().later(cast(idem_key="k"))
    assert second.blocked()
    first.rollback()

    assert second.result().status == "accepted"


def test_who_waits_for_another_sender_of_its_key_holds_up_no_registration(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    first = scene.transaction()
    first.do(cast(idem_key="k", alone=False))
    second = scene.session().later(cast(idem_key="k"))
    assert second.blocked()

    assert verdicts(scene.flush(worker, waits=[wait(run, "W", 1, key="K")])) == []


def test_many_waits_are_met_in_transactions_of_a_bounded_size(scene: Scene) -> None:
    worker = scene.worker()
    runs = [waiting_run(scene, worker) for _ in range(5)]
    event = accept(scene)

    sizes, after = [], 0
    while True:
        met = scene.do(executions.meet_broadcast(event, after, 2))
        sizes.append(scene.do(executions.count_uses(event)))
        if met.after is None:
            break
        after = met.after

    assert sizes == [2, 4, 5]
    assert all(scene.task(run) == "r" for run in runs)
    assert scene.do(executions.find_unmet(100)) == []


HANDLER = [tasks.Handler("wf", "1", current=True, timeout=None)]
