"""The views: the public state of a run in the order of the words' definitions, and payloads that people can read."""

from __future__ import annotations

from uuid import uuid4

from tests.sql.scene import Scene, block, end, nap, park, step, wait

from zart_scheduler.store import executions, tasks


def test_the_state_of_a_run_follows_its_life(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.start(delay=600)
    seen = [scene.run_state(run)]
    scene.sql("UPDATE zart_tasks SET due_at = clock_timestamp()")
    scene.do(tasks.fire_due(uuid4(), 10))
    seen.append(scene.run_state(run))
    scene.claim(worker)
    seen.append(scene.run_state(run))
    scene.flush(worker, steps=[nap(run, "z", 600)], parks=[park(run, "z")])
    seen.append(scene.run_state(run))
    scene.sql("UPDATE zart_tasks SET due_at = clock_timestamp()")
    scene.do(tasks.fire_due(uuid4(), 10))
    scene.claim(worker)
    scene.flush(worker, waits=[wait(run, "W", 1, epoch=2)], parks=[park(run, "W", epoch=2)])
    seen.append(scene.run_state(run))
    scene.deliver(run)
    seen.append(scene.run_state(run))
    scene.claim(worker)
    scene.flush(worker, blocks=[block(run, epoch=3)])
    seen.append(scene.run_state(run))
    scene.do(executions.cancel(str(run)))
    seen.append(scene.run_state(run))

    assert seen == [
        "scheduled",
        "scheduled",
        "running",
        "sleeping",
        "waiting",
        "scheduled",
        "blocked",
        "cancelled",
    ]


def test_a_waiting_run_tells_until_when(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 1, timeout=60)], parks=[park(run, "W")])

    assert scene.sql(
        "SELECT s.waiting_until = w.deadline FROM zart_run_states s JOIN zart_waits w USING (run_id)"
    ) == [(True,)]


def test_payloads_are_shown_as_text_cut_between_characters(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(
        worker,
        steps=[
            step(run, "short", 1, payload='"žluťoučký"'),
            step(run, "long", 2, payload='"' + "🐎" * 5000 + '"'),
            step(run, "huge", 3, payload='"' + "x" * 200_000 + '"'),
            step(run, "none", 4) | {"p": None},
        ],
    )

    shown = dict(scene.sql("SELECT ident, payload FROM zart_v_steps"))

    assert shown["short"] == '"žluťoučký"'
    assert shown["long"] == '"' + "🐎" * 1999
    assert shown["huge"] == "<200002 bytes>"
    assert shown["none"] is None


def test_the_readable_views_name_what_the_tables_abbreviate(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[step(run, "a", 3)], ends=[end(run)])

    assert scene.sql("SELECT kind, outcome, turn_epoch, turn_number FROM zart_v_steps") == [
        ("step", "ok", 1, 3)
    ]
    assert scene.sql("SELECT state, input, outcome, version FROM zart_v_runs") == [
        ("completed", "{}", '"r"', "1")
    ]
