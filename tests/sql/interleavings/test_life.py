"""Whoever replaces a current run, a person or the run itself, against flushes, claims, events, cancels and ends."""

from __future__ import annotations

import time
from uuid import UUID, uuid4

from tests.sql.interleavings.test_fence import record_in_flight
from tests.sql.scene import (
    PATIENCE,
    Items,
    Pending,
    Scene,
    Session,
    claim,
    end,
    flush,
    park,
    step,
    verdicts,
    wait,
)

from zart_core.spi import Delivered
from zart_scheduler.store import executions, life
from zart_scheduler.store.life import Changed, Request
from zart_scheduler.store.statement import Statement
from zart_scheduler.store.steps import FlushRow


def restart(run: UUID, key: str | None = None) -> Statement[Changed]:
    return life.restart(str(run), uuid4(), Request(key or str(uuid4()), "somebody", {}))


def rerun(run: UUID) -> Statement[Changed]:
    return life.rerun(str(run), uuid4(), Request(str(uuid4()), "somebody", {}), steps=None, keep=None)


def retry(run: UUID) -> Statement[Changed]:
    return life.retry_step(str(run), Request(str(uuid4()), "somebody", {}), None)


def send(run: UUID, payload: bytes = b"7") -> Statement[Delivered]:
    return executions.deliver(str(run), "x", payload=payload)


def go_on(run: UUID, new: UUID | None = None, *, epoch: int = 1) -> Items:
    return [{"t": run, "e": epoch, "r": new or uuid4(), "p": "{}"}]


def states(scene: Scene, run: UUID) -> list[str]:
    rows = scene.sql(
        "SELECT state FROM zart_execution_runs WHERE execution_id = %s ORDER BY run_index", str(run)
    )
    return [state for (state,) in rows]


def current(scene: Scene, run: UUID) -> UUID:
    ((found,),) = scene.sql("SELECT current_run_id FROM zart_executions WHERE execution_id = %s", str(run))
    assert isinstance(found, UUID)
    return found


# -- against the owner


def test_a_restart_waits_for_a_record_in_flight_which_then_is_the_old_runs(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    record, holder = record_in_flight(scene, worker, run)

    taker = scene.session().later(restart(run))
    assert taker.blocked()
    holder.rollback()

    assert verdicts(record.result()) == []
    assert taker.result().status == "done"
    assert list(scene.journal(run)) == ["a"]
    assert states(scene, run) == ["cancelled", "live"]


def test_a_record_that_starts_while_its_run_is_being_restarted_is_lost(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    taker = scene.transaction()
    taker.do(restart(run))

    zombie = scene.session().later(flush(worker, steps=[step(run, "a", 1)], ends=[end(run)]))
    assert zombie.blocked()
    taker.commit()

    assert verdicts(zombie.result()) == ["lost a", "lost"]
    assert scene.journal(run) == {}
    assert states(scene, run) == ["cancelled", "live"]


def test_a_rerun_keeps_a_record_that_was_in_flight(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    record, holder = record_in_flight(scene, worker, run)

    taker = scene.session().later(rerun(run))
    assert taker.blocked()
    holder.rollback()
    record.result()

    assert taker.result().status == "done"
    assert list(scene.journal(current(scene, run))) == ["a"]


def end_in_flight(scene: Scene, worker: UUID, run: UUID) -> Session:
    """The run's end, not committed yet."""
    owner = scene.transaction()
    assert verdicts(owner.do(flush(worker, ends=[end(run, state="failed")]))) == ["ended"]
    return owner


def test_a_restart_that_meets_the_end_of_the_run_leaves_that_as_it_is(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    owner = end_in_flight(scene, worker, run)

    taker = scene.session().later(restart(run))
    assert taker.blocked()
    owner.commit()

    assert taker.result().status == "done"
    assert states(scene, run) == ["failed", "live"]


def test_a_restart_that_meets_a_continuation_replaces_the_run_that_followed(scene: Scene) -> None:
    worker, second = scene.worker(), uuid4()
    run = scene.claimed_run(worker)
    owner = scene.transaction()
    owner.do(flush(worker, continues=go_on(run, second)))

    taker = scene.session().later(restart(run))
    assert taker.blocked()
    owner.commit()

    assert taker.result().status == "done"
    assert states(scene, run) == ["completed", "cancelled", "live"]
    assert scene.sql("SELECT count(*) FROM zart_tasks") == [(1,)]


def test_a_continuation_that_meets_a_restart_is_lost(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    taker = scene.transaction()
    taker.do(restart(run))

    owner = scene.session().later(flush(worker, continues=go_on(run)))
    assert owner.blocked()
    taker.commit()

    assert verdicts(owner.result()) == ["lost"]
    assert states(scene, run) == ["cancelled", "live"]


# -- against claims


def test_a_restart_of_a_run_that_is_just_being_claimed_takes_it_from_its_new_owner(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.start()
    claimer = scene.transaction()
    assert [task.run_id for task in claimer.do(claim(worker)) or ()] == [run]

    taker = scene.session().later(restart(run))
    assert taker.blocked()
    claimer.commit()

    assert taker.result().status == "done"
    assert verdicts(scene.flush(worker, steps=[step(run, "a", 1)])) == ["lost a"]
    assert states(scene, run) == ["cancelled", "live"]


def test_a_claim_passes_over_a_run_that_is_being_restarted(scene: Scene) -> None:
    worker = scene.worker()
    run, other = scene.start(), scene.start()
    taker = scene.transaction()
    taker.do(restart(run))

    assert [task.run_id for task in scene.claim(worker)] == [other]
    taker.commit()

    assert [task.run_id for task in scene.claim(worker)] == [current(scene, run)]


# -- against users' transactions


def test_a_restart_waits_for_an_open_delivery_without_holding_up_the_worker(scene: Scene) -> None:
    worker = scene.worker()
    run, other = scene.claimed_run(worker), scene.claimed_run(worker)
    sender = scene.transaction()
    assert sender.do(send(run)).status == "kept"

    taker = scene.session().later(restart(run))
    assert taker.blocked()
    assert verdicts(scene.flush(worker, steps=[step(other, "a", 1), step(run, "a", 1)])) == []
    sender.commit()

    assert taker.result().status == "done"
    assert scene.mailbox(run) == {b"7": None}
    assert list(scene.journal(run)) == ["a"]


def test_a_restart_that_has_the_workers_row_does_not_wait_for_a_users_transaction(scene: Scene) -> None:
    worker = scene.worker()
    run, other = scene.claimed_run(worker), scene.claimed_run(worker)
    record, holder = record_in_flight(scene, worker, run)
    session = scene.session()
    taker = session.later(restart(run))
    assert taker.blocked()  # by the record
    sender = scene.transaction()
    sender.do(send(run))  # takes the task's row before the restart comes to it
    holder.rollback()
    record.result()

    wait_until_blocked_by(scene, session, sender)
    assert verdicts(scene.flush(worker, steps=[step(other, "b", 1)])) == []
    sender.rollback()

    assert taker.result().status == "done"


def wait_until_blocked_by(scene: Scene, waiting: Session, holder: Session) -> None:
    pids = waiting.connection.info.backend_pid, holder.connection.info.backend_pid
    deadline = time.monotonic() + PATIENCE
    while scene.sql("SELECT %s = ANY (pg_blocking_pids(%s))", pids[1], pids[0]) != [(True,)]:
        assert time.monotonic() < deadline, "it does not wait for that session"


def held_restart(scene: Scene, run: UUID) -> Session:
    taker = scene.transaction()
    taker.do(restart(run))
    return taker


def test_an_event_sent_while_its_run_is_being_replaced_reaches_the_next(scene: Scene) -> None:
    worker = scene.worker()
    run, looping = scene.claimed_run(worker), scene.claimed_run(worker)
    owner = scene.transaction()
    owner.do(flush(worker, continues=go_on(looping)))
    to_looping = scene.session().later(send(looping))
    assert to_looping.blocked()
    owner.commit()
    taker = held_restart(scene, run)
    to_run = scene.session().later(send(run))
    assert to_run.blocked()
    taker.commit()

    assert to_run.result().status == to_looping.result().status == "kept"
    scene.claim(worker)
    for each in (run, looping):
        (have, _) = scene.flush(worker, waits=[wait(current(scene, each), "W", 1)])
        assert have.payload == b"7"


def test_an_event_sent_while_a_restart_is_rolled_back_reaches_the_run_that_stays(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    taker = held_restart(scene, run)
    sender = scene.session().later(send(run))
    assert sender.blocked()
    taker.rollback()

    assert sender.result().status == "kept"
    (have, _) = scene.flush(worker, waits=[wait(run, "W", 1)])
    assert have.payload == b"7"


def test_a_cancel_that_meets_a_restart_cancels_the_next_run(scene: Scene) -> None:
    run = scene.claimed_run(scene.worker())
    taker = held_restart(scene, run)

    cancel = scene.session().later(executions.cancel(str(run), "stop"))
    assert cancel.blocked()
    taker.commit()

    assert cancel.result().status == "cancelled"
    assert states(scene, run) == ["cancelled", "cancelled"]


def test_a_continuation_does_not_wait_for_an_open_delivery_whose_event_is_the_next_runs(scene: Scene) -> None:
    worker, new = scene.worker(), uuid4()
    run, other = scene.claimed_run(worker), scene.claimed_run(worker)
    sender = scene.transaction()
    sender.do(send(run))

    items = flush(worker, steps=[step(other, "a", 1)], continues=go_on(run, new))
    assert verdicts(scene.do(items)) == ["busy"]
    sender.commit()
    assert verdicts(scene.flush(worker, continues=go_on(run, new))) == ["continued"]

    assert scene.mailbox(run) == {b"7": None}
    scene.claim(worker)
    (have, _) = scene.flush(worker, waits=[wait(new, "W", 1)])
    assert have.payload == b"7"


def test_a_continuation_does_not_wait_for_an_execution_that_a_user_holds(scene: Scene) -> None:
    worker = scene.worker()
    run, other = scene.claimed_run(worker), scene.claimed_run(worker)
    user = scene.transaction()
    user.sql("SELECT 1 FROM zart_executions WHERE execution_id = %s FOR UPDATE", str(run))

    items = flush(worker, steps=[step(other, "a", 1)], continues=[*go_on(run), *go_on(other)])
    rows = scene.do(items)
    assert {(row.task, row.verdict) for row in rows[:-1]} == {(run, "busy"), (other, "continued")}
    user.rollback()

    assert verdicts(scene.flush(worker, continues=go_on(run))) == ["continued"]


def test_a_start_that_restarts_inside_a_users_transaction_holds_up_no_worker(scene: Scene) -> None:
    worker = scene.worker()
    run, other = scene.claimed_run(worker), scene.claimed_run(worker)
    user = scene.transaction()
    options = {"input_hash": b"h", "input": b"{}", "restart": True, "in_callers": True}
    assert user.do(executions.start(str(run), uuid4(), "wf", **options)).status == "owned"  # type: ignore[arg-type]

    items = flush(worker, steps=[step(run, "a", 1)], parks=[park(run, "W")], continues=go_on(other))
    assert verdicts(scene.do(items)) == ["parked", "continued"]


# -- against each other


def test_of_two_restarts_at_once_the_second_replaces_the_run_of_the_first(scene: Scene) -> None:
    run = scene.claimed_run(scene.worker())
    first = held_restart(scene, run)

    second = scene.session().later(restart(run))
    assert second.blocked()
    first.commit()

    assert second.result().status == "done"
    assert states(scene, run) == ["cancelled", "cancelled", "live"]
    assert scene.sql("SELECT count(*) FROM zart_tasks") == [(1,)]


def test_one_request_sent_twice_at_once_is_carried_out_once(scene: Scene) -> None:
    run = scene.claimed_run(scene.worker())
    first = scene.transaction()
    done = first.do(restart(run, "k"))

    second = scene.session().later(restart(run, "k"))
    assert second.blocked()
    first.commit()

    assert (second.result().status, second.result().run_id) == ("replayed", done.run_id)
    assert states(scene, run) == ["cancelled", "live"]


def failed_run(scene: Scene, worker: UUID) -> UUID:
    run = scene.claimed_run(worker)
    error = '{"type": "t", "message": "m", "kind": "error"}'
    failed = step(run, ":a#0", 1, payload=error) | {"o": "e"}
    scene.flush(worker, steps=[failed], ends=[end(run, state="failed", payload=error)])
    return run


def test_of_two_retries_at_once_the_second_finds_the_run_open(scene: Scene) -> None:
    run = failed_run(scene, scene.worker())
    first = scene.transaction()
    assert first.do(retry(run)).status == "done"

    second: Pending[Changed] = scene.session().later(retry(run))
    assert second.blocked()
    first.commit()

    assert (second.result().status, second.result().state) == ("illegal", "scheduled")
    assert scene.sql("SELECT count(*) FROM zart_tasks") == [(1,)]


def test_a_retry_that_meets_a_restart_finds_a_run_that_has_not_failed(scene: Scene) -> None:
    run = failed_run(scene, scene.worker())
    taker = held_restart(scene, run)

    second = scene.session().later(retry(run))
    assert second.blocked()
    taker.commit()

    assert second.result().status == "illegal"
    assert states(scene, run) == ["failed", "live"]


def test_a_retry_that_meets_the_end_of_its_run_sees_it_before_or_after(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    owner = end_in_flight(scene, worker, run)

    assert scene.do(retry(run)).status == "illegal"  # waits for nothing: it only opens what has failed
    owner.commit()

    rows: list[FlushRow] = scene.flush(worker, ends=[end(run, state="failed")], resend=True)
    assert verdicts(rows) == ["ended"]
