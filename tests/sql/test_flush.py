"""The checkpoint: what it records, what it answers, and that it recognises itself when it is sent again."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from tests.sql.scene import (
    Scene,
    attempt,
    block,
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

from zart_scheduler.store import executions, steps


def row(scene: Scene, columns: str, ident: str) -> Any:
    (found,) = scene.sql(f"SELECT {columns} FROM zart_steps WHERE ident = %s", ident)
    return found if len(found) > 1 else found[0]


def test_a_plain_record_is_stored_as_it_was_sent(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    payload = json.dumps({"nul": "a\u0000b", "lone": "\\ud800", "text": "žluťoučký 🐎", "big": 10**40})

    rows = scene.flush(worker, steps=[step(run, ":charge#0", 1, payload=payload, h="00ff", a=3, d=2.0)])

    assert [answer.verdict for answer in rows] == ["ok"]
    assert row(scene, "kind::text, outcome::text, turn, seq, attempt, args_hash, worker_id", ":charge#0") == (
        "s",
        "o",
        turn(1, 1),
        1,
        3,
        b"\x00\xff",
        worker,
    )
    assert bytes(row(scene, "payload", ":charge#0")).decode() == payload
    assert row(scene, "extract(epoch FROM completed_at - started_at)::float8", ":charge#0") == pytest.approx(
        2, abs=0.5
    )


def test_one_checkpoint_carries_many_runs_and_one_lost_run_does_not_spoil_it(scene: Scene) -> None:
    worker = scene.worker()
    runs = [scene.start() for _ in range(30)]
    scene.claim(worker)
    stranger = uuid4()

    rows = scene.flush(worker, steps=[step(run, ":s#0", 1) for run in [*runs, stranger]])

    assert [(answer.verdict, answer.task, answer.ident) for answer in rows[:-1]] == [
        ("lost", stranger, ":s#0")
    ]
    assert scene.sql("SELECT count(*) FROM zart_steps") == [(30,)]


def test_a_record_of_another_epoch_is_lost(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)

    assert verdicts(scene.flush(worker, steps=[step(run, "a", 1, epoch=2)])) == ["lost a"]


def test_a_record_with_another_turn_loses_to_the_stored_one(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[step(run, "a", 1, payload="1")])

    (stored, _) = scene.flush(worker, steps=[step(run, "a", 2, payload="2")])

    assert (stored.verdict, stored.turn, stored.kind, stored.outcome, stored.payload) == (
        "stored",
        turn(1, 1),
        "s",
        "o",
        b"1",
    )


def test_the_first_of_two_records_of_one_call_in_a_checkpoint_wins(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)

    (stored, _) = scene.flush(worker, steps=[step(run, "a", 1), step(run, "a", 2)])

    assert (stored.verdict, stored.turn) == ("stored", turn(1, 1))


def test_a_sleep_gets_its_wake_time_from_the_databases_clock_or_as_it_was_given(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    until = nap(run, "until", 0) | {"w": None, "u": "2031-02-03T04:05:06.5+01:00"}

    scene.flush(worker, steps=[nap(run, "for", 60), until])

    assert row(scene, "extract(epoch FROM wake_at - clock_timestamp())::float8, turn", "for") == (
        pytest.approx(60, abs=5),
        None,
    )
    assert row(scene, "wake_at = '2031-02-03T03:05:06.5Z', turn", "until") == (True, None)


@pytest.mark.parametrize("then", ["stays", "parks", "releases", "ends"])
def test_a_checkpoint_sent_again_is_recognised_whatever_it_did_to_the_run(scene: Scene, then: str) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.deliver(run, "y")
    groups: dict[str, list[dict[str, Any]]] = {
        "steps": [step(run, "a", 1), nap(run, "z", 60)],
        "attempts": [attempt(run, "s", 1, deadline_in=60), attempt(run, "s", 1, error='"boom"', retry_in=9)],
        "cancels": [drop(run, "z2", 2, kind="z")],
        "waits": [wait(run, "W", 3, timeout=60), wait(run, "Y", 4, name="y")],
        "collects": [collect(run, 5)],
    }
    groups |= {
        "stays": {},
        "parks": {"parks": [park(run, "W", "z")]},
        "releases": {"releases": [end(run)]},
        "ends": {"ends": [end(run)]},
    }[then]

    first = scene.do(flush(worker, groups))
    before = (
        scene.sql("SELECT * FROM zart_steps ORDER BY ident"),
        scene.sql("SELECT * FROM zart_step_attempts"),
    )
    again = scene.do(flush(worker, groups, resend=True))

    assert not {"lost", "stored", "busy"} & {answer.verdict for answer in [*first, *again]}
    assert [answer._replace(secs=None) for answer in first] == [
        answer._replace(secs=None) for answer in again
    ]
    assert before == (
        scene.sql("SELECT * FROM zart_steps ORDER BY ident"),
        scene.sql("SELECT * FROM zart_step_attempts"),
    )


def test_a_block_sent_again_is_recognised(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    blocks = [block(run, {"two": "sides"})]

    assert verdicts(scene.flush(worker, blocks=blocks)) == ["blocked"]
    assert verdicts(scene.flush(worker, resend=True, blocks=blocks)) == ["blocked"]

    assert scene.run_state(run) == "blocked"
    assert scene.task(run) == "b"
    assert scene.sql("SELECT divergence FROM zart_execution_runs") == [({"two": "sides"},)]


def test_an_end_of_another_owner_is_not_taken_for_ones_own(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)
    scene.flush(first, releases=[end(run)])
    scene.claim(second)
    scene.flush(second, ends=[end(run, epoch=2)])

    assert verdicts(scene.flush(first, resend=True, ends=[end(run)])) == ["lost"]
    assert verdicts(scene.flush(first, resend=True, ends=[end(run, epoch=2)])) == ["lost"]


def test_an_item_of_a_lost_run_is_lost_each(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.start()

    rows = scene.flush(
        worker,
        steps=[step(run, "a", 1)],
        attempts=[attempt(run, "s", 1, error='"boom"')],
        cancels=[drop(run, "c", 2)],
        waits=[wait(run, "W", 3)],
        collects=[collect(run, 4)],
        parks=[park(run, "W")],
        releases=[end(run)],
        blocks=[block(run)],
        ends=[end(run)],
    )

    assert verdicts(rows) == ["lost a", "lost s", "lost c", "lost W", *["lost"] * 5]
    assert scene.journal(run) == {}
    assert scene.task(run) == "r"


def test_a_failed_attempt_is_merged_into_the_row_of_the_deadline_which_never_moves(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)
    scene.flush(first, attempts=[attempt(run, "s", 1, deadline_in=60)])
    (deadline,) = scene.sql("SELECT deadline_at FROM zart_step_attempts")
    scene.bury(first)
    (task,) = scene.claim(second)

    scene.flush(
        second,
        attempts=[attempt(run, "s", 1, epoch=task.epoch, error='"boom"', retry_in=5, deadline_in=999)],
    )
    scene.flush(second, attempts=[attempt(run, "s", 2, epoch=task.epoch, error='"bang"', retry_in=10)])

    assert scene.sql("SELECT deadline_at FROM zart_step_attempts WHERE attempt = 1") == [deadline]
    one, two = scene.do(steps.load_attempts([run]))
    assert (one.attempt, one.error, two.attempt, two.error, two.deadline_in) == (
        1,
        b'"boom"',
        2,
        b'"bang"',
        None,
    )
    assert one.due_in == pytest.approx(5, abs=2)
    assert one.deadline_in == pytest.approx(60, abs=2)
    assert two.due_in == pytest.approx(10, abs=2)
    assert scene.sql("SELECT worker_id FROM zart_step_attempts WHERE attempt = 1") == [(second,)]


def test_a_resent_failure_does_not_move_its_retry(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    failure = [attempt(run, "s", 1, error='"boom"', retry_in=5)]
    scene.flush(worker, attempts=failure)
    before = scene.sql("SELECT * FROM zart_step_attempts")

    assert verdicts(scene.flush(worker, resend=True, attempts=failure)) == []

    assert scene.sql("SELECT * FROM zart_step_attempts") == before


@pytest.mark.parametrize(
    ("groups", "due"),
    [
        ({"steps": "nap", "waits": "late"}, 50),
        ({"steps": "nap", "waits": "soon"}, 20),
        ({"steps": "nap", "attempts": "retry"}, 10),
        ({"steps": "nap", "attempts": "deadline"}, 5),
        ({"waits": "open"}, None),
    ],
)
def test_a_parked_run_is_due_with_its_earliest_timer(
    scene: Scene, groups: dict[str, str], due: float | None
) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    known = {
        "nap": [nap(run, "z", 50)],
        "late": [wait(run, "W", 1, timeout=90)],
        "soon": [wait(run, "W", 1, timeout=20)],
        "open": [wait(run, "W", 1)],
        # The first attempt's time is past and used up; the second's counts.
        "retry": [attempt(run, "s", 1, error="1", retry_in=-9), attempt(run, "s", 2, error="1", retry_in=10)],
        "deadline": [attempt(run, "s", 1, deadline_in=5), attempt(run, "s", 1, error="1", retry_in=10)],
    }

    rows = scene.flush(
        worker, {group: known[name] for group, name in groups.items()}, parks=[park(run, "z", "W", "s")]
    )

    assert verdicts(rows) == ["parked"]
    assert rows[0].secs == (None if due is None else pytest.approx(due, abs=2))
    assert scene.task(run, "due_at IS NULL, worker_id") == (due is None, None)


def test_the_attempts_of_a_recorded_step_do_not_wake_its_run(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(
        worker,
        attempts=[attempt(run, "s", 1, error="1", retry_in=-5, deadline_in=1)],
        steps=[step(run, "s", 1)],
    )

    (parked, _) = scene.flush(worker, waits=[wait(run, "W", 2)], parks=[park(run, "W")])

    assert (parked.verdict, parked.secs) == ("parked", None)


def test_a_cancelled_call_does_not_keep_a_run_from_parking(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "V", 1)], cancels=[drop(run, "W", 2)])

    assert verdicts(scene.flush(worker, parks=[park(run, "V", "W")])) == ["parked"]


def test_a_cancelled_sleep_neither_wakes_nor_comes(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[nap(run, "z", 0)])
    scene.flush(worker, cancels=[drop(run, "z", 1, kind="z")])

    rows = scene.flush(worker, waits=[wait(run, "W", 2)], collects=[collect(run, 3)], parks=[park(run, "W")])

    assert [(answer.verdict, answer.secs) for answer in rows[:-1]] == [("collected", None), ("parked", None)]
    assert scene.journal(run) == {"z": ("c", turn(1, 1))}


def test_a_park_sets_the_crash_count_back(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.sql("UPDATE zart_tasks SET crash_count = 3")

    scene.flush(worker, waits=[wait(run, "W", 1)], parks=[park(run, "W")])

    assert scene.task(run, "crash_count") == 0


def test_a_run_that_is_asked_to_cancel_does_not_park(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 1)])
    assert scene.do(executions.cancel(str(run))).status == "requested"

    assert verdicts(scene.flush(worker, parks=[park(run, "W")])) == ["unparked"]


@pytest.mark.parametrize("group", ["releases", "blocks"])
def test_a_run_that_is_asked_to_cancel_ends_when_its_owner_leaves_it(scene: Scene, group: str) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.do(executions.cancel(str(run), 'a "reason"'))

    scene.flush(worker, {group: [end(run)]})

    assert scene.run_state(run) == "cancelled"
    assert scene.sql("SELECT outcome FROM zart_execution_runs") == [(rb'"a \"reason\""',)]
    assert scene.task(run) is None


def test_a_release_makes_the_run_ready_at_once_for_any_worker(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first)

    assert verdicts(scene.flush(first, releases=[end(run)])) == ["released"]

    assert [(task.run_id, task.epoch, task.crash_count) for task in scene.claim(second)] == [(run, 2, 0)]


@pytest.mark.parametrize(
    ("state", "payload"), [("completed", '{"a":1}'), ("failed", '{"kind":"error"}'), ("cancelled", None)]
)
def test_an_end_is_written_once_with_its_outcome(scene: Scene, state: str, payload: str | None) -> None:
    worker = scene.worker()
    runs = [scene.start() for _ in range(3)]
    scene.claim(worker)

    rows = scene.flush(worker, ends=[end(run, state=state, payload=payload) for run in runs])

    assert verdicts(rows) == ["ended"] * 3
    outcome = payload.encode() if payload is not None else None
    assert scene.sql(
        "SELECT DISTINCT state, outcome, final_epoch, worker_id, finished_at IS NOT NULL FROM zart_execution_runs"
    ) == [(state, outcome, 1, worker, True)]
    assert scene.sql("SELECT 1 FROM zart_tasks UNION ALL SELECT 1 FROM zart_waits") == []


def test_an_empty_checkpoint_is_a_question_whether_the_worker_may_write(scene: Scene) -> None:
    worker = scene.worker()

    assert verdicts(scene.do(steps.flush(worker, None, None))) == []
    assert verdicts(scene.do(steps.flush(uuid4(), None, None))) == ["fenced"]


def test_json_text_travels_as_bytes_too(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    plain = json.dumps([step(run, "a", 1)], default=str).encode()
    rest = json.dumps({"ends": [end(run)]}, default=str).encode()

    assert verdicts(scene.do(steps.flush(worker, plain, rest))) == ["ended"]
    assert scene.journal(run) == {"a": ("o", turn(1, 1))}
