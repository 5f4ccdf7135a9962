"""A run ends by its next one: continue_as_new."""

from __future__ import annotations

from uuid import UUID, uuid4

from tests.sql.lives import (
    NOBODY,
    as_child,
    current,
    outcome,
    restart,
    runs_of,
)
from tests.sql.scene import Items, Scene, end, step, verdicts, wait

from zart_scheduler.store import executions
from zart_scheduler.store.tasks import Handler


def go_on(run: UUID, new: UUID, *, epoch: int = 1) -> Items:
    return [{"t": run, "e": epoch, "r": new, "p": '{"n":2}'}]


def test_a_continuation_ends_the_run_and_begins_the_next_with_an_empty_journal(scene: Scene) -> None:
    worker, new = scene.worker(), uuid4()
    run = scene.claimed_run(worker, priority=4)
    scene.flush(worker, steps=[step(run, ":a#0", 1)])

    assert verdicts(scene.flush(worker, continues=go_on(run, new))) == ["continued"]
    assert verdicts(scene.flush(worker, continues=go_on(run, uuid4()), resend=True)) == ["continued"]

    assert runs_of(scene, run) == [(0, "completed"), (1, "live")]
    assert current(scene, run) == new
    assert scene.task(run) is None
    assert scene.journal(new) == {}
    assert scene.task(new, "state::text, version, priority, epoch") == ("r", "1", 4, 0)
    assert scene.sql("SELECT input FROM zart_execution_runs WHERE run_id = %s", new) == [(b'{"n":2}',)]


def test_the_mailbox_goes_on_with_the_next_run(scene: Scene) -> None:
    worker, new = scene.worker(), uuid4()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "unseen", 1)])
    scene.deliver(run, payload=b"1")
    scene.deliver(run, payload=b"2")

    scene.flush(worker, continues=go_on(run, new))

    scene.deliver(run, payload=b"3")
    assert scene.mailbox(run) == {b"1": None, b"2": None, b"3": None}
    scene.claim(worker)
    rows = scene.flush(worker, waits=[wait(new, f"W{number}", number) for number in (1, 2, 3)])
    assert [row.payload for row in rows[:-1]] == [b"1", b"2", b"3"]


def test_a_run_that_is_asked_to_cancel_does_not_go_on_as_another(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.do(executions.cancel(str(run), "stop"))

    assert verdicts(scene.flush(worker, continues=go_on(run, uuid4()))) == ["released"]

    assert runs_of(scene, run) == [(0, "cancelled")]
    assert outcome(scene, run) == "stop"


def test_the_next_run_has_a_timeout_of_its_own(scene: Scene) -> None:
    worker, new = scene.worker(), uuid4()
    handlers = [Handler("wf", "1", current=True, timeout=60.0)]
    run = scene.start()
    scene.claim(worker, handlers=handlers)
    scene.sql("UPDATE zart_tasks SET deadline_at = clock_timestamp() + interval '1 second'")

    scene.flush(worker, continues=go_on(run, new))
    assert scene.task(new, "deadline_at, 1") == (None, 1)
    scene.claim(worker, handlers=handlers)

    (left,) = scene.sql("SELECT extract(epoch FROM deadline_at - clock_timestamp()) FROM zart_tasks")[0]
    assert left > 50


def test_the_parent_hears_of_the_last_run_only(scene: Scene) -> None:
    worker, new = scene.worker(), uuid4()
    parent = scene.claimed_run(worker)
    child = scene.claimed_run(worker)
    as_child(scene, parent, child)

    scene.flush(worker, continues=go_on(child, new))
    restarted = scene.do(restart(child)).run_id or NOBODY
    assert scene.journal(parent) == {}
    scene.claim(worker)
    scene.flush(worker, ends=[end(restarted)])

    assert scene.journal(parent) == {":child#0": ("o", None)}
