"""L4, with held locks: no interleaving of a write and a takeover lets two workers both be heard.

A record is stopped in mid-flight by a third session that holds an uncommitted row with the same key. "Blocked" is what
the server says of a session, never a guess from time.
"""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from tests.sql.scene import Pending, Scene, Session, claim, flush, step, turn, verdicts

from zart_scheduler.store import tasks, workers
from zart_scheduler.store.steps import FlushRow


def lock_worker(session: Session, worker: UUID) -> None:
    session.sql("SELECT 1 FROM zart_workers WHERE worker_id = %s FOR UPDATE", worker)


def take_over(session: Session, run: UUID, worker: UUID) -> None:
    session.sql("UPDATE zart_tasks SET epoch = epoch + 1, worker_id = %s WHERE task_id = %s", worker, run)


def record_in_flight(scene: Scene, worker: UUID, run: UUID) -> tuple[Pending[list[FlushRow]], Session]:
    """A flush of `a` that has passed its fence and hangs in its insert until the other session rolls back."""
    holder = scene.transaction()
    holder.sql(
        "INSERT INTO zart_steps (run_id, ident, seq, kind, outcome) VALUES (%s, 'a', 1, 's', 'o')", run
    )
    pending = scene.session().later(flush(worker, steps=[step(run, "a", 1)]))
    assert pending.blocked()
    return pending, holder


def test_a_taker_waits_for_a_record_in_flight_and_finds_it_in_the_journal(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)
    pending, holder = record_in_flight(scene, first, run)

    taker = scene.session().sql_later("SELECT 1 FROM zart_workers WHERE worker_id = %s FOR UPDATE", first)
    assert taker.blocked()
    holder.rollback()

    assert verdicts(pending.result()) == []
    taker.result()
    take_over(scene.admin, run, second)
    assert scene.journal(run) == {"a": ("o", turn(1, 1))}


def test_the_sweeper_skips_a_worker_whose_record_is_in_flight(scene: Scene) -> None:
    first = scene.worker()
    run = scene.claimed_run(first)
    pending, holder = record_in_flight(scene, first, run)
    scene.expire(first)

    assert scene.do(workers.mark_dead(1e6)) == []
    assert scene.do(tasks.requeue_dead(10)) == 0
    holder.rollback()
    pending.result()

    assert scene.do(workers.mark_dead(1e6)) == [first]
    assert scene.do(tasks.requeue_dead(10)) == 1
    assert scene.journal(run) == {"a": ("o", turn(1, 1))}


def test_a_mark_that_does_not_lock_the_row_would_not_wait_so_takers_lock_first(scene: Scene) -> None:
    first = scene.worker()
    run = scene.claimed_run(first)
    pending, holder = record_in_flight(scene, first, run)

    mark = scene.session().sql_later("UPDATE zart_workers SET state = 'dead' WHERE worker_id = %s", first)

    assert not mark.blocked()  # why every taker says FOR UPDATE
    holder.rollback()
    pending.result()


def test_a_record_that_starts_while_its_run_is_being_stolen_is_lost(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)
    taker = scene.transaction()
    lock_worker(taker, first)  # locked, not changed: the flush's first snapshot is older than the theft
    take_over(taker, run, second)

    zombie = scene.session().later(flush(first, steps=[step(run, "a", 1)]))
    assert zombie.blocked()
    taker.commit()

    assert verdicts(zombie.result()) == ["lost a"]
    assert scene.journal(run) == {}


def test_a_record_that_starts_while_its_worker_is_declared_dead_is_fenced(scene: Scene) -> None:
    first = scene.worker()
    run = scene.claimed_run(first)
    taker = scene.transaction()
    lock_worker(taker, first)
    taker.sql("UPDATE zart_workers SET state = 'dead' WHERE worker_id = %s", first)

    zombie = scene.session().later(flush(first, steps=[step(run, "a", 1)]))
    assert zombie.blocked()
    taker.commit()

    assert verdicts(zombie.result()) == ["fenced"]
    assert scene.journal(run) == {}


def test_a_lease_that_ends_while_the_fence_waits_is_over(scene: Scene) -> None:
    worker = scene.worker(lease=0.2)
    taker = scene.transaction()
    lock_worker(taker, worker)

    zombie = scene.session().later(flush(worker))
    assert zombie.blocked()
    scene.wait_past("SELECT max(lease_expires_at) FROM zart_workers")
    taker.rollback()

    assert verdicts(zombie.result()) == ["fenced"]


def test_the_workers_own_heartbeat_passes_a_flush_that_hangs(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    pending, holder = record_in_flight(scene, worker, run)

    beat = scene.session().later(workers.renew(worker, 60.0))

    assert not beat.blocked()
    assert beat.result() is True
    holder.rollback()
    pending.result()


def test_a_claim_that_starts_while_its_worker_is_declared_dead_gets_nothing(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.start()
    taker = scene.transaction()
    lock_worker(taker, worker)
    taker.sql("UPDATE zart_workers SET state = 'dead' WHERE worker_id = %s", worker)

    zombie = scene.session().later(claim(worker))
    assert zombie.blocked()
    taker.commit()

    assert zombie.result() is None
    assert scene.task(run) == "r"


def test_a_heartbeat_that_waited_for_the_taker_does_not_revive_the_dead(scene: Scene) -> None:
    worker = scene.worker()
    taker = scene.transaction()
    lock_worker(taker, worker)
    taker.sql("UPDATE zart_workers SET state = 'dead' WHERE worker_id = %s", worker)

    beat = scene.session().later(workers.renew(worker, 60.0))
    assert beat.blocked()
    taker.commit()

    assert beat.result() is False


def test_another_workers_record_is_adopted_not_replaced(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)
    scene.flush(first, steps=[step(run, "a", 1, payload='"first"')])
    scene.bury(first)
    (task,) = scene.claim(second)

    (stored, ok) = scene.flush(second, steps=[step(run, "a", 1, epoch=task.epoch, payload='"second"')])

    assert (stored.verdict, stored.turn, stored.payload) == ("stored", turn(1, 1), b'"first"')
    assert ok.verdict == "ok"


def test_a_record_that_loses_the_race_for_its_key_learns_who_won(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    pending, holder = record_in_flight(scene, worker, run)

    holder.commit()

    (stored, _) = pending.result()
    assert (stored.verdict, stored.ident, stored.turn) == ("stored", "a", None)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_the_fence_refuses_a_transaction_whose_snapshot_is_older_than_its_locks(
    scene: Scene, level: str
) -> None:
    worker = scene.worker()
    session = scene.transaction()
    session.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")

    with pytest.raises(psycopg.errors.InvalidTransactionState, match="READ COMMITTED"):
        session.do(flush(worker, steps=[]))
