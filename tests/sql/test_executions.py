"""Starting, sending and cancelling, alone and inside a caller's own transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.sql.scene import Scene, block, end, park, wait

from zart_core.spi import Started
from zart_scheduler.store import executions
from zart_scheduler.store.statement import Statement, run_sync


def start(execution_id: str, *, workflow: str = "wf", input_hash: bytes = b"h") -> Statement[Started]:
    return executions.start(execution_id, uuid4(), workflow, input_hash=input_hash, input=b"{}")


def test_the_same_start_finds_the_first_and_another_is_a_conflict(scene: Scene) -> None:
    first = scene.do(start("order-1"))

    assert first.status == "created"
    assert scene.do(start("order-1")) == ("existing", first.run_id, "wf")
    assert scene.do(start("order-1", input_hash=b"other")) == ("conflict", first.run_id, "wf")
    assert scene.do(start("order-1", workflow="other")) == ("conflict", first.run_id, "wf")
    assert scene.sql("SELECT count(*) FROM zart_tasks") == [(1,)]


def test_a_second_start_waits_for_the_first_and_finds_it(scene: Scene) -> None:
    caller = scene.transaction()
    first = caller.do(start("order-1"))

    second = scene.session().later(start("order-1"))
    assert second.blocked()
    caller.commit()

    assert second.result() == ("existing", first.run_id, "wf")


def test_a_second_start_takes_over_when_the_first_rolls_back(scene: Scene) -> None:
    caller = scene.transaction()
    caller.do(start("order-1"))

    second = scene.session().later(start("order-1"))
    assert second.blocked()
    caller.rollback()

    assert second.result().status == "created"
    assert scene.sql("SELECT count(*) FROM zart_execution_runs") == [(1,)]


def test_a_conflict_leaves_the_callers_transaction_usable(scene: Scene) -> None:
    scene.sql("CREATE TEMPORARY TABLE orders (n int)")
    scene.do(start("order-1"))
    scene.sql("BEGIN")
    scene.sql("INSERT INTO orders VALUES (1)")

    assert scene.do(start("order-1", input_hash=b"other")).status == "conflict"
    assert scene.do(start("order-2")).status == "created"
    scene.sql("INSERT INTO orders VALUES (2)")
    scene.sql("COMMIT")

    assert scene.sql("SELECT count(*) FROM orders") == [(2,)]
    scene.sql("DROP TABLE orders")


def test_a_start_in_a_callers_transaction_exists_only_if_it_commits(scene: Scene) -> None:
    caller = scene.transaction()
    caller.do(start("order-1"))
    caller.rollback()
    caller.do(start("order-2"))
    caller.commit()

    assert scene.sql("SELECT execution_id FROM zart_executions") == [("order-2",)]


def test_a_delivery_in_a_callers_transaction_that_rolls_back_never_was(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 1)], parks=[park(run, "W")])
    caller = scene.transaction()
    caller.sql("SELECT 1")
    assert caller.do(executions.deliver(str(run), "x", payload=b"1", key="k")).status == "consumed"
    caller.rollback()

    assert scene.task(run) == "w"
    assert scene.deliver(run, payload=b"2", key="k").status == "consumed"
    assert scene.mailbox(run) == {b"2": "W"}


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_an_id_of_no_or_too_many_characters_is_refused(scene: Scene, name: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        scene.do(start(name))


def test_an_id_of_255_wide_characters_is_taken(scene: Scene) -> None:
    assert scene.do(start("🐎" * 255)).status == "created"


@pytest.mark.parametrize(
    ("options", "state"),
    [
        ({}, "r"),
        ({"delay": 60}, "w"),
        ({"delay": 0}, "r"),
        ({"delay": -5}, "r"),
        ({"at": datetime.now(UTC) + timedelta(hours=1)}, "w"),
        ({"at": datetime.now(UTC) - timedelta(hours=1)}, "r"),
    ],
)
def test_a_start_time_that_is_past_means_now(scene: Scene, options: dict[str, object], state: str) -> None:
    run = scene.start(**options)

    assert scene.task(run, "state::text, due_at IS NOT NULL") == (state, state == "w")


def test_a_start_keeps_what_it_was_given(scene: Scene) -> None:
    run = scene.start(
        version="3", queue="slow", priority=7, tags={"a": "b"}, input=b'{"x":1}', input_hash=b"\x00\x01"
    )

    assert scene.sql(
        "SELECT r.version, r.queue, r.priority, r.input, r.run_index, x.tags, x.input_hash, x.current_run_id "
        "FROM zart_execution_runs r JOIN zart_executions x USING (execution_id)"
    ) == [("3", "slow", 7, b'{"x":1}', 0, {"a": "b"}, b"\x00\x01", run)]
    assert scene.task(run, "version, queue, priority") == ("3", "slow", 7)


def test_an_unknown_execution_is_told_as_such(scene: Scene) -> None:
    assert scene.do(executions.deliver("nobody", "x", payload=b"1")).status == "unknown"
    assert scene.do(executions.cancel("nobody")) == ("unknown", None)


def test_a_cancel_of_a_running_run_is_a_request_that_keeps_its_first_reason(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)

    assert scene.do(executions.cancel(str(run), "one")) == ("requested", "running")
    first = scene.task(run, "cancel_requested_at, cancel_reason")
    assert scene.do(executions.cancel(str(run), "two")) == ("requested", "running")

    assert scene.task(run, "cancel_requested_at, cancel_reason") == first
    assert first[1] == "one"


@pytest.mark.parametrize("how", ["ready", "parked", "blocked"])
def test_a_cancel_of_a_run_without_an_owner_ends_it_at_once(scene: Scene, how: str) -> None:
    worker = scene.worker()
    run = scene.start()
    if how != "ready":
        scene.claim(worker)
        scene.flush(worker, waits=[wait(run, "W", 1)])
    if how == "parked":
        scene.flush(worker, parks=[park(run, "W")])
    if how == "blocked":
        scene.flush(worker, blocks=[block(run)])

    assert scene.do(executions.cancel(str(run), "no longer wanted")) == ("cancelled", "cancelled")

    assert scene.sql("SELECT state, outcome FROM zart_execution_runs") == [
        ("cancelled", b'"no longer wanted"')
    ]
    assert scene.sql("SELECT 1 FROM zart_tasks UNION ALL SELECT 1 FROM zart_waits") == []
    assert scene.do(executions.cancel(str(run))) == ("noop", "cancelled")


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_a_cancel_of_an_ended_run_is_refused(scene: Scene, state: str) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, ends=[end(run, state=state)])

    assert scene.do(executions.cancel(str(run))) == ("terminal", state)


def test_an_event_for_a_blocked_run_is_accepted(scene: Scene) -> None:
    worker = scene.worker()
    run = scene.claimed_run(worker)
    scene.flush(worker, waits=[wait(run, "W", 1)])
    scene.flush(worker, blocks=[block(run)])

    assert scene.deliver(run).status == "consumed"
    assert scene.task(run) == "b"


def test_a_hint_reaches_its_channels_listeners(scene: Scene) -> None:
    listener = scene.session()
    listener.sql(f"LISTEN {executions.READY_CHANNEL}")

    scene.do(executions.hint(executions.READY_CHANNEL))

    (found,) = listener.connection.notifies(timeout=20, stop_after=1)
    assert found.channel == executions.READY_CHANNEL


def test_a_store_statement_runs_on_a_connection_with_another_row_factory(scene: Scene) -> None:
    with psycopg.connect(scene.url, row_factory=dict_row, autocommit=True) as connection:
        assert run_sync(connection, start("order-1")).status == "created"
