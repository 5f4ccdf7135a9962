"""Runs that cannot go on with the code of a worker, and what people do about them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from tests.sql.scene import Scene, block, collect, end, nap, park, step, turn, verdicts, wait

from zart_scheduler.store import executions, repairs, tasks
from zart_scheduler.store.repairs import Unblocked

DETAILS = {
    "code": "ZART-D002",
    "recorded": {"identity": "a", "args": "00"},
    "current": {"identity": "a"},
}


def divergence(scene: Scene) -> Any:
    return scene.sql("SELECT divergence FROM zart_execution_runs")[0][0]


def blocked_run(scene: Scene, worker: UUID, details: dict[str, Any] | None = None) -> UUID:
    """A blocked run with the record `a`."""
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[step(run, "a", 1), step(run, "b", 2)], blocks=[block(run, details or DETAILS)])
    return run


def unblock(scene: Scene, run: UUID, *, accept: str | None = None, reset: str | None = None) -> Unblocked:
    return scene.do(repairs.unblock(str(run), run, accept=accept, reset=reset, actor="me", reason="because"))


def claim_again(scene: Scene, worker: UUID) -> None:
    """Let others have had their time, and claim the run that was handed back."""
    scene.sql("UPDATE zart_tasks SET due_at = clock_timestamp() - interval '1 hour'")
    assert scene.do(tasks.fire_due(worker, 10)) == 1
    assert len(scene.claim(worker)) == 1


# -- tries


def test_the_first_two_tries_hand_the_run_back_and_the_third_blocks_it(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    seen, delays = [], []
    for epoch in (1, 2, 3):
        seen += verdicts(scene.flush(worker, blocks=[block(run, epoch=epoch, now=False)]))
        delays += scene.sql("SELECT due_at - clock_timestamp() > interval '0.6 second' FROM zart_tasks")
        if epoch < 3:
            assert scene.run_state(run) == "scheduled"
            claim_again(scene, worker)
    assert seen == ["released", "released", "blocked"]
    assert delays == [(False,), (True,), (None,)]
    assert scene.run_state(run) == "blocked"
    assert scene.task(run, "state::text, worker_id, epoch") == ("b", None, 3)


def test_a_block_at_once_does_not_wait_for_others(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    assert verdicts(scene.flush(worker, blocks=[block(run, now=True)])) == ["blocked"]


def test_a_run_that_was_handed_back_is_left_to_others_for_a_while(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)
    scene.flush(first, blocks=[block(run, now=False)])
    assert scene.do(tasks.fire_due(second, 10)) == 0
    scene.wait_past("SELECT due_at FROM zart_tasks")
    assert scene.do(tasks.fire_due(first, 10)) == 0
    assert scene.do(tasks.fire_due(second, 10)) == 1
    assert [task.epoch for task in scene.claim(second)] == [2]
    assert scene.task(run, "diverged_by") is None


def test_what_is_handed_back_and_sent_again_is_recognised(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    item = block(run, now=False)
    assert verdicts(scene.flush(worker, blocks=[item])) == ["released"]
    assert verdicts(scene.flush(worker, resend=True, blocks=[item])) == ["released"]
    assert scene.task(run, "divergences") == 1


def test_an_outcome_between_two_tries_sets_the_count_back(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, blocks=[block(run, now=False)])
    claim_again(scene, worker)
    scene.flush(worker, steps=[step(run, "a", 1, epoch=2)], releases=[end(run, epoch=2)])
    scene.claim(worker)
    scene.flush(worker, blocks=[block(run, epoch=3, now=False)])
    assert scene.task(run, "divergences") == 1


def test_an_event_between_two_tries_sets_the_count_back(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 1)], blocks=[block(run, now=False)])
    scene.deliver(run)
    scene.claim(worker)
    scene.flush(worker, blocks=[block(run, epoch=2, now=False)])
    assert scene.task(run, "divergences") == 1


def test_what_the_diverging_claim_itself_records_does_not_set_the_count_back(scene: Scene) -> None:
    """A body that is never twice the same would be tried for ever."""
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[step(run, "a", 1)], blocks=[block(run, now=False)])
    claim_again(scene, worker)
    scene.flush(worker, steps=[step(run, "b", 1, epoch=2)], blocks=[block(run, epoch=2, now=False)])
    assert scene.task(run, "divergences") == 2


def test_a_block_gets_by_whom_and_when_its_record_was_made(scene: Scene) -> None:
    worker = scene.worker()
    blocked_run(scene, worker)
    told = divergence(scene)["recorded"]
    assert (told["identity"], told["args"], told["worker"]) == ("a", "00", "w")
    ((same,),) = scene.sql("SELECT completed_at = %s FROM zart_steps WHERE ident = 'a'", told["completed_at"])
    assert same


# -- orphans


def test_an_end_keeps_the_orphans_that_it_brings(scene: Scene) -> None:
    worker = scene.worker()
    with_some, without = scene.claimed_run(worker), scene.claimed_run(worker)
    scene.flush(worker, ends=[end(with_some) | {"orphans": ["a", "b"]}, end(without)])
    found = dict(scene.sql("SELECT run_id, orphans FROM zart_execution_runs"))
    assert found == {with_some: ["a", "b"], without: []}


# -- unblock


def test_an_accepted_call_is_remembered_once_and_told_to_whoever_claims(scene: Scene) -> None:
    worker = scene.worker()
    run = blocked_run(scene, worker)
    assert unblock(scene, run, accept="a") == ("unblocked", "scheduled")
    assert scene.sql("SELECT accepted, divergence, state FROM zart_execution_runs") == [(["a"], None, "live")]
    assert scene.task(run, "divergences, crash_count") == (0, 0)
    scene.claim(worker)
    scene.flush(worker, blocks=[block(run, DETAILS, epoch=2)])
    unblock(scene, run, accept="a")
    assert scene.sql("SELECT accepted FROM zart_execution_runs") == [(["a"],)]
    assert set(scene.journal(run)) == {"a", "b"}


def test_a_record_of_another_kind_is_forgotten_for_the_accepted_call(scene: Scene) -> None:
    run = blocked_run(scene, scene.worker(), DETAILS | {"code": "ZART-D001"})
    unblock(scene, run, accept="a")
    assert set(scene.journal(run)) == {"b"}


def test_a_reset_removes_one_record_with_its_attempts_and_nothing_else(scene: Scene) -> None:
    run = blocked_run(scene, scene.worker())
    scene.sql(
        """INSERT INTO zart_step_attempts (run_id, ident, attempt, kind, started_at)
           SELECT %s, ident, 1, 's', now() FROM zart_steps""",
        run,
    )
    assert unblock(scene, run, reset="a") == ("unblocked", "scheduled")
    assert set(scene.journal(run)) == {"b"}
    assert scene.sql("SELECT ident FROM zart_step_attempts") == [("b",)]


def test_the_event_of_a_reset_wait_returns_to_its_place_in_the_mailbox(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    for payload in (b"1", b"2"):
        scene.deliver(run, payload=payload)
    scene.flush(worker, waits=[wait(run, "W", 1)], blocks=[block(run)])
    assert scene.mailbox(run) == {b"1": "W", b"2": None}
    unblock(scene, run, reset="W")
    assert scene.mailbox(run) == {b"1": None, b"2": None}
    scene.claim(worker)
    rows = scene.flush(worker, waits=[wait(run, "W", 1, epoch=2)])
    assert rows[0].payload == b"1"


def test_a_repaired_run_goes_on_with_its_epoch_so_that_its_turns_stay_ordered(scene: Scene) -> None:
    worker = scene.worker()
    run = blocked_run(scene, worker)
    unblock(scene, run, reset="a")
    (task,) = scene.claim(worker)
    scene.flush(worker, steps=[step(run, "a", 1, epoch=task.epoch)])
    assert scene.journal(run) == {"a": ("o", turn(2, 1)), "b": ("o", turn(1, 2))}


def test_a_run_that_is_not_blocked_is_refused(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.start()
    assert unblock(scene, run) == ("refused", "scheduled")
    scene.claim(worker)
    assert unblock(scene, run) == ("refused", "running")
    scene.flush(worker, steps=[nap(run, "z", 600)], parks=[park(run, "z")])
    assert unblock(scene, run) == ("refused", "sleeping")
    scene.do(executions.cancel(str(run)))
    assert unblock(scene, run) == ("refused", "cancelled")
    assert scene.sql("SELECT 1 FROM zart_audit") == []


def test_a_repair_of_what_is_no_longer_so_changes_nothing(scene: Scene) -> None:
    run = blocked_run(scene, scene.worker())
    assert unblock(scene, run, accept="b").status == "changed"
    assert unblock(scene, run, reset="c").status == "changed"
    assert scene.do(repairs.unblock("another", run, accept=None, reset=None, actor="me", reason=None)) == (
        "changed",
        None,
    )
    assert scene.run_state(run) == "blocked"
    assert set(scene.journal(run)) == {"a", "b"}
    assert scene.sql("SELECT 1 FROM zart_audit") == []


def test_a_block_without_a_call_has_nothing_to_accept(scene: Scene) -> None:
    run = blocked_run(scene, scene.worker(), {"code": "ZART-D005", "recorded": None, "current": None})
    assert unblock(scene, run, accept="a").status == "changed"
    assert unblock(scene, run).status == "unblocked"


def test_a_repair_is_audited_with_what_it_was_about(scene: Scene) -> None:
    run = blocked_run(scene, scene.worker())
    unblock(scene, run, reset="a")
    ((actor, action, name, detail),) = scene.sql("SELECT actor, action, execution_id, detail FROM zart_audit")
    assert (actor, action, name) == ("me", "unblock", str(run))
    assert (detail["run_id"], detail["reset"], detail["reason"]) == (str(run), "a", "because")
    assert detail["divergence"]["code"] == "ZART-D002"
    assert "accept" not in detail


def test_a_repair_waits_for_whoever_holds_the_run_and_then_looks(scene: Scene) -> None:
    run = blocked_run(scene, scene.worker())
    first = scene.transaction()
    assert first.do(executions.cancel(str(run))).status == "cancelled"
    second = scene.session().later(
        repairs.unblock(str(run), run, accept=None, reset="a", actor="me", reason=None)
    )
    assert second.blocked()
    first.commit()
    assert second.result() == ("refused", "cancelled")
    assert set(scene.journal(run)) == {"a", "b"}


def test_an_unknown_execution_is_not_found(scene: Scene) -> None:
    assert scene.do(repairs.find_block("nobody")) is None
    assert scene.do(repairs.list_identities(uuid4())) == []


def test_a_collect_of_a_run_that_was_handed_back_is_lost(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, blocks=[block(run, now=False)])
    assert verdicts(scene.flush(worker, collects=[collect(run, 5)])) == ["lost"]


def test_a_handler_that_blocks_keeps_how_its_body_ended(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.sql("UPDATE zart_tasks SET phase = 'f'")
    scene.sql("UPDATE zart_execution_runs SET outcome = 'the failure'")
    scene.flush(worker, blocks=[block(run)])
    assert scene.run_state(run) == "blocked"
    unblock(scene, run)
    assert scene.sql("SELECT outcome, divergence FROM zart_execution_runs") == [(b"the failure", None)]
    assert scene.task(run, "phase::text") == "f"
