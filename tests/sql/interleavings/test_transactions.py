"""A step's record in its own transaction, with held locks: the fence comes last, and holds until the commit."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from pydantic_core import to_json
from tests.sql.scene import Pending, Scene, Session, flush, step, turn, verdicts

from zart_scheduler.store import tasks, transactions, workers

RECORD = "SELECT zart_record_v1(%s, %s, %s, %s)"


def begun(scene: Scene) -> tuple[Session, str]:
    """A step's transaction that has written something, and its number."""
    session = scene.transaction()
    ((xact,),) = session.sql("SELECT pg_current_xact_id()::text")
    session.sql("CREATE TEMPORARY TABLE IF NOT EXISTS effects (n integer)")
    return session, xact


def record(session: Session, worker: UUID, run: UUID, xact: str, number: int = 1, epoch: int = 1) -> None:
    session.sql(RECORD, worker, xact, _steps(run, number, epoch), 60_000)


def record_later(session: Session, worker: UUID, run: UUID, xact: str) -> Pending[list[tuple[object, ...]]]:
    return session.sql_later(RECORD, worker, xact, _steps(run, 1, 1), 60_000)


def _steps(run: UUID, number: int, epoch: int) -> str:
    return to_json([step(run, "a", number, epoch=epoch)]).decode()


def lock_worker(session: Session, worker: UUID) -> None:
    session.sql("SELECT 1 FROM zart_workers WHERE worker_id = %s FOR UPDATE", worker)


def sqlstate(pending: Pending[list[tuple[object, ...]]]) -> str | None:
    with pytest.raises(psycopg.Error) as refused:
        pending.result()
    return refused.value.sqlstate


def test_a_taker_waits_for_a_record_until_its_commit_and_finds_it_in_the_journal(scene: Scene) -> None:
    first = scene.worker()
    run = scene.claimed_run(first)
    session, xact = begun(scene)
    record(session, first, run, xact)

    taker = scene.session().sql_later("SELECT 1 FROM zart_workers WHERE worker_id = %s FOR UPDATE", first)
    assert taker.blocked()
    session.commit()

    taker.result()
    assert scene.journal(run) == {"a": ("o", turn(1, 1))}


def test_the_sweeper_skips_a_worker_that_is_committing_a_record(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)
    session, xact = begun(scene)
    record(session, first, run, xact)
    scene.expire(first)

    assert scene.do(workers.mark_dead(1e6)) == []
    assert scene.do(tasks.requeue_dead(10)) == 0
    session.commit()

    assert scene.do(workers.mark_dead(1e6)) == [first]
    assert scene.do(tasks.requeue_dead(10)) == 1
    assert [task.run_id for task in scene.claim(second)] == [run]
    assert scene.journal(run) == {"a": ("o", turn(1, 1))}


def test_a_zombies_record_that_starts_while_its_worker_is_declared_dead_is_refused(scene: Scene) -> None:
    first = scene.worker()
    run = scene.claimed_run(first)
    taker = scene.transaction()
    lock_worker(taker, first)
    taker.sql("UPDATE zart_workers SET state = 'dead' WHERE worker_id = %s", first)

    session, xact = begun(scene)
    zombie = record_later(session, first, run, xact)
    assert zombie.blocked()
    taker.commit()

    assert sqlstate(zombie) == transactions.FENCED
    session.commit()  # does nothing: the transaction has failed
    assert scene.journal(run) == {}


def test_a_zombies_record_that_starts_while_its_run_is_being_stolen_is_refused(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)
    taker = scene.transaction()
    lock_worker(taker, first)
    taker.sql("UPDATE zart_tasks SET epoch = epoch + 1, worker_id = %s WHERE task_id = %s", second, run)

    session, xact = begun(scene)
    zombie = record_later(session, first, run, xact)
    assert zombie.blocked()
    taker.commit()

    assert sqlstate(zombie) == transactions.LOST
    session.commit()
    assert scene.journal(run) == {}


def test_a_record_that_is_there_already_refuses_the_second(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    assert verdicts(scene.flush(worker, steps=[step(run, "a", 1)])) == []
    session, xact = begun(scene)

    with pytest.raises(psycopg.Error) as refused:
        record(session, worker, run, xact, number=2)

    assert refused.value.sqlstate == transactions.STORED
    session.commit()
    assert scene.journal(run) == {"a": ("o", turn(1, 1))}


def test_two_records_of_one_step_at_once_are_one(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    (first, first_xact), (second, second_xact) = begun(scene), begun(scene)
    record(first, worker, run, first_xact)

    pending = second.sql_later(RECORD, worker, second_xact, _steps(run, 2, 1), 60_000)
    assert pending.blocked()
    first.commit()

    assert sqlstate(pending) == transactions.STORED


def test_a_transaction_that_the_step_has_ended_itself_takes_no_record(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    session, xact = begun(scene)
    session.sql("COMMIT")
    session.sql("SELECT pg_current_xact_id()")

    with pytest.raises(psycopg.Error) as refused:
        record(session, worker, run, xact)

    assert refused.value.sqlstate == transactions.ANOTHER


def test_the_workers_heartbeat_and_flushes_pass_a_record_that_waits_for_its_commit(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    session, xact = begun(scene)
    record(session, worker, run, xact)

    beat = scene.session().later(workers.renew(worker, 60.0))
    other = scene.session().later(flush(worker, steps=[step(run, "b", 2)]))

    assert not beat.blocked()
    assert not other.blocked()
    session.commit()
    assert scene.journal(run) == {"a": ("o", turn(1, 1)), "b": ("o", turn(1, 2))}


def test_a_client_that_stands_still_behind_the_fence_loses_its_transaction(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    session, xact = begun(scene)
    session.sql(RECORD, worker, xact, _steps(run, 1, 1), 50)

    taker = scene.session().sql_later("SELECT 1 FROM zart_workers WHERE worker_id = %s FOR UPDATE", worker)
    taker.result()

    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        session.commit()
    assert scene.journal(run) == {}


def test_before_the_fence_a_step_may_take_its_time(scene: Scene) -> None:
    session, _ = begun(scene)
    assert session.sql("SHOW idle_in_transaction_session_timeout") == [("0",)]


def test_the_fate_of_a_commit_is_open_until_its_transaction_is_over(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    session, xact = begun(scene)
    record(session, worker, run, xact)
    fate = transactions.find_fate(xact, str(run), "a", turn(1, 1))

    session.commit()

    assert scene.do(fate) == "committed"
    again, other = begun(scene)
    again.rollback()
    assert scene.do(transactions.find_fate(other, str(run), "b", turn(1, 2))) == "gone"


def test_a_transaction_whose_fate_is_asked_for_cannot_commit_any_more_once_it_is_told(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    for is_fenced in (True, False):
        session, xact = begun(scene)
        if is_fenced:
            record(session, worker, run, xact)
        fate = transactions.find_fate(xact, str(run), "a", turn(1, 1))
        while (answer := scene.do(fate)) == "open":
            pass
        assert answer == "gone"
        with pytest.raises(psycopg.OperationalError):
            session.commit()
    assert scene.journal(run) == {}


def test_the_fate_of_a_transaction_that_the_server_does_not_know_is_told_by_the_record(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    assert verdicts(scene.flush(worker, steps=[step(run, "a", 1)])) == []
    future = str(2**40)

    assert scene.do(transactions.find_fate(future, str(run), "a", turn(1, 1))) == "committed"
    assert scene.do(transactions.find_fate(future, str(run), "b", turn(1, 2))) == "gone"


def test_a_step_that_holds_what_a_taker_wants_is_not_waited_for(scene: Scene) -> None:
    """A step may lock task rows itself, by an event it sends. The sweeper does not wait for it, so nobody deadlocks."""
    first = scene.worker()
    run = scene.claimed_run(first)
    session, xact = begun(scene)
    session.sql("SELECT 1 FROM zart_tasks WHERE task_id = %s FOR UPDATE", run)
    scene.expire(first)

    assert scene.do(workers.mark_dead(1e6)) == [first]
    assert scene.do(tasks.requeue_dead(10)) == 0
    with pytest.raises(psycopg.Error) as refused:
        record(session, first, run, xact)
    assert refused.value.sqlstate == transactions.FENCED
    session.rollback()
    assert scene.do(tasks.requeue_dead(10)) == 1


def test_a_dead_workers_open_transactions_are_ended(scene: Scene) -> None:
    dead, alive = scene.worker(), scene.worker()
    sessions = {worker: scene.transaction() for worker in (dead, alive)}
    for worker, session in sessions.items():
        session.sql(f"SET application_name = 'zart-step-{worker}'")
    scene.expire(dead)

    assert scene.do(workers.mark_dead(1e6)) == [dead]

    with pytest.raises(psycopg.OperationalError):
        sessions[dead].sql("SELECT 1")
    assert sessions[alive].sql("SELECT 1") == [(1,)]
