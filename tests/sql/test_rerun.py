"""Runs and executions that begin with the records of another: rerun and fork."""

from __future__ import annotations

import pytest
from tests.sql.interleavings.test_broadcasts import accept, meet, uses, waiting_run
from tests.sql.lives import (
    ERROR,
    NOBODY,
    ended_run,
    failed,
    fork,
    handled_run,
    rerun,
    restart,
    runs_of,
)
from tests.sql.scene import Scene, end, step, turn, verdicts, wait

from zart_scheduler.globs import patterns

STEPS = [
    step(NOBODY, ":a#0", 1),
    step(NOBODY, ":b#0", 2),
    failed(NOBODY, ":c#0", 3),
    step(NOBODY, ".0:d#0", 4),
]


@pytest.mark.parametrize(
    ("steps", "keep", "kept", "doubtful"),
    [
        (None, None, [":a#0", ":b#0"], []),
        (["^a$"], None, [".0:d#0", ":b#0"], ["b", "d"]),
        (["^d$"], None, [":a#0", ":b#0"], []),
        (None, ["^[ac]$"], [":a#0"], []),
        (["^.*$"], ["^b$"], [":b#0"], ["b"]),
    ],
)
def test_a_rerun_keeps_what_is_to_be_kept_and_never_what_failed(
    scene: Scene, steps: list[str] | None, keep: list[str] | None, kept: list[str], doubtful: list[str]
) -> None:
    run = ended_run(scene, scene.worker(), STEPS)

    answer = scene.do(rerun(run, steps, keep))

    assert (answer.status, list(answer.names or ())) == ("done", doubtful)
    assert list(scene.journal(answer.run_id or NOBODY)) == kept
    assert runs_of(scene, run) == [(0, "failed"), (1, "live")]


def test_copies_are_numbered_anew_in_order_and_otherwise_equal(scene: Scene) -> None:
    first, second = scene.worker(), scene.worker()
    run = scene.claimed_run(first, input=b'{"n":1}')
    scene.flush(first, steps=[step(run, ":z#0", 1), step(run, ":m#0", 2, h="00ff", a=3)])
    scene.flush(
        first, attempts=[{"t": run, "e": 1, "i": ":m#0", "a": 1, "k": "s", "d": 1, "x": ERROR, "w": 0}]
    )
    scene.bury(first)
    assert [task.epoch for task in scene.claim(second)] == [3]
    scene.flush(second, steps=[step(run, ":a#0", 1, epoch=3)], ends=[end(run, epoch=3)])

    new = scene.do(rerun(run)).run_id or NOBODY

    assert scene.journal(new) == {":z#0": ("o", 0), ":m#0": ("o", 1), ":a#0": ("o", 2)}
    same = """SELECT count(*) FROM {0} o JOIN {0} n USING (ident) WHERE o.run_id = %s AND n.run_id = %s
              AND to_jsonb(o) - 'run_id' - 'turn' = to_jsonb(n) - 'run_id' - 'turn'"""
    assert scene.sql(same.format("zart_steps"), run, new) == [(3,)]
    assert scene.sql(same.format("zart_step_attempts"), run, new) == [(1,)]
    assert scene.sql("SELECT input FROM zart_execution_runs WHERE run_id = %s", new) == [(b'{"n":1}',)]
    assert [task.epoch for task in scene.claim(second)] == [1]
    assert verdicts(scene.flush(second, steps=[step(new, ":new#0", 1)])) == []
    assert scene.journal(new)[":new#0"] == ("o", turn(1, 1))


def test_a_rerun_keeps_no_record_without_a_turn_and_takes_the_fence_of_a_live_run(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[step(run, ":a#0", 1)], waits=[wait(run, ":x#0", 2)])
    scene.deliver(run)  # it has come, and no body has seen it

    new = scene.do(rerun(run)).run_id or NOBODY

    assert list(scene.journal(new)) == [":a#0"]
    assert scene.mailbox(run) == {b"7": None}
    assert verdicts(scene.flush(worker, steps=[step(run, ":b#0", 3)])) == ["lost :b#0"]
    scene.claim(worker)
    (have, _) = scene.flush(worker, waits=[wait(new, ":x#0", 1)])
    assert (have.verdict, have.payload) == ("have", b"7")


def test_a_consumed_event_belongs_to_the_record_that_consumed_it(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    for payload in (b"1", b"2", b"3"):
        scene.deliver(run, payload=payload)
    scene.flush(worker, waits=[wait(run, ":x#0", 1)])
    scene.flush(worker, steps=[failed(run, ":c#0", 2)], waits=[wait(run, ":x#1", 3)])
    scene.flush(worker, ends=[end(run, state="failed")])

    new = scene.do(rerun(run)).run_id or NOBODY

    assert list(scene.journal(new)) == [":x#0"]
    scene.claim(worker)
    (have, _) = scene.flush(worker, waits=[wait(new, ":x#1", 1)])
    assert (
        have.payload == b"3"
    )  # the first is kept with its record; the second was consumed by a record that is not
    restarted = scene.do(restart(run)).run_id or NOBODY
    scene.claim(worker)
    assert verdicts(scene.flush(worker, waits=[wait(restarted, ":x#0", 1)])) == []


def test_a_kept_wait_that_the_new_run_cancels_gives_its_event_back(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.deliver(run)
    scene.flush(worker, waits=[wait(run, ":x#0", 1)], ends=[end(run)])
    new = scene.do(rerun(run)).run_id or NOBODY
    scene.claim(worker)

    scene.flush(worker, cancels=[{"t": new, "e": 1, "i": ":x#0", "q": 1, "k": "w", "n": turn(1, 1)}])

    assert scene.mailbox(run) == {b"7": None}


def test_a_kept_wait_that_the_new_run_cancels_gives_its_broadcast_back(scene: Scene) -> None:
    worker = scene.worker()
    run = waiting_run(scene, worker, ":x#0")
    accept(scene)
    assert meet(scene) == 0
    scene.claim(worker)
    scene.flush(worker, ends=[end(run, epoch=2)])
    new = scene.do(rerun(run)).run_id or NOBODY
    scene.claim(worker)

    scene.flush(worker, cancels=[{"t": new, "e": 1, "i": ":x#0", "q": 1, "k": "w", "n": turn(1, 1)}])

    assert list(uses(scene, run).values()) == [None]


def test_a_cancelled_record_is_kept_only_before_what_runs_again(scene: Scene) -> None:
    early = step(NOBODY, ":early#0", 1) | {"o": "c", "p": None}
    late = step(NOBODY, ":late#0", 4) | {"o": "c", "p": None}
    steps = [early, step(NOBODY, ":a#0", 2), failed(NOBODY, ":b#0", 3), late, step(NOBODY, ":c#0", 5)]
    run = ended_run(scene, scene.worker(), steps)

    new = scene.do(rerun(run, ["^b$"])).run_id or NOBODY

    assert sorted(scene.journal(new)) == [":a#0", ":c#0", ":early#0"]


def test_a_failed_run_without_a_failed_step_runs_again_from_the_wait_that_timed_out(scene: Scene) -> None:
    timeout = step(NOBODY, ":x#0", 2) | {"k": "w", "o": "t", "p": None}
    steps = [step(NOBODY, ":a#0", 1), timeout, step(NOBODY, ":b#0", 3)]
    worker = scene.worker()
    failed_run, completed = (
        ended_run(scene, worker, steps),
        ended_run(scene, worker, steps, state="completed"),
    )

    again, whole = scene.do(rerun(failed_run)).run_id, scene.do(rerun(completed)).run_id

    assert list(scene.journal(again or NOBODY)) == [":a#0"]
    assert list(scene.journal(whole or NOBODY)) == [":a#0", ":b#0", ":x#0"]


def test_a_glob_that_fits_nothing_is_refused_and_changes_nothing(scene: Scene) -> None:
    run = ended_run(scene, scene.worker(), STEPS)

    for statement in (rerun(run, ["^a$", "^nope$"]), rerun(run, None, ["^nope$"])):
        answer = scene.do(statement)
        assert (answer.status, list(answer.names or ())) == ("no_step", ["a", "b", "c", "d"])
    assert len(runs_of(scene, run)) == 1


def test_names_are_matched_as_they_are_written_not_as_identities_are(scene: Scene) -> None:
    run = ended_run(scene, scene.worker(), [step(NOBODY, ".1.0:a%23b%25:c#=k", 1), step(NOBODY, ":b#0", 2)])

    new = scene.do(rerun(run, ["^a#b%:c$"])).run_id or NOBODY

    assert list(scene.journal(new)) == [":b#0"]


def test_a_glob_means_the_same_to_the_database(scene: Scene) -> None:
    cases = [
        ("p[]x]y", "p]y", True),
        ("p[^a]y", "p^y", True),
        ("p[!a-c]y", "pby", False),
        ("a.b+c(d)|{e}^$\\", "a.b+c(d)|{e}^$\\", True),
        ("a.b", "aXb", False),
        ("***:(?i)A", "a", False),
        ("open[", "open[", True),
    ]
    for glob, name, fits in cases:
        assert scene.sql("SELECT %s ~ %s", name, (patterns("steps", glob) or [])[0]) == [(fits,)], glob


def test_what_a_handler_recorded_is_not_copied(scene: Scene) -> None:
    worker = scene.worker()
    run = handled_run(scene, worker, "failed")
    scene.flush(worker, ends=[end(run, epoch=2, state="failed", payload=ERROR)])

    whole = scene.do(rerun(run, keep=["^a$"])).run_id or NOBODY

    assert scene.journal(whole) == {}
    assert scene.do(rerun(run, keep=["^refund$"])).status == "no_step"


# -- fork


def test_a_fork_has_what_came_before_the_step_and_leaves_the_source_as_it_is(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker, tags={"k": "v"}, queue="default", priority=3)
    scene.flush(
        worker,
        steps=[step(run, ":a#0", 1), failed(run, ":b#0", 2), step(run, ":c#0", 3), step(run, ":c#1", 4)],
    )
    before = scene.sql("SELECT * FROM zart_tasks"), scene.journal(run)

    answer = scene.do(fork(run, "c", "copy"))

    assert (answer.status, answer.execution_id) == ("done", "copy")
    ((new, tags, hashed),) = scene.sql(
        "SELECT current_run_id, tags, input_hash FROM zart_executions WHERE execution_id = 'copy'"
    )
    assert (tags, hashed) == ({"k": "v"}, b"n")
    assert scene.journal(new) == {":a#0": ("o", 0), ":b#0": ("e", 1)}
    assert scene.task(new, "state::text, version, priority, epoch") == ("r", "1", 3, 0)
    assert (scene.sql("SELECT * FROM zart_tasks WHERE task_id = %s", run), scene.journal(run)) == before
    assert scene.do(fork(run, "c", "copy")).status == "exists"
    assert list(scene.do(fork(run, "nope")).names or ()) == ["a", "b", "c"]


def test_a_fork_from_a_call_without_an_outcome_has_everything(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[step(run, ":a#0", 1)], waits=[wait(run, ":x#0", 2)])

    answer = scene.do(fork(run, "x", "copy", key="k"))

    assert answer.status == "done"
    (row,) = scene.sql("SELECT current_run_id FROM zart_executions WHERE execution_id = 'copy'")
    assert list(scene.journal(row[0])) == [":a#0"]
    replayed = scene.do(fork(run, "x", key="k"))
    assert (replayed.status, replayed.execution_id) == ("replayed", "copy")
