"""The cost of every statement follows its batch: not the history, not the sleepers, not unknown work at the head.

The plans are made while the tables are tiny, and known to be, and are kept for the session, as in a worker that was
started first; then the tables are filled, without ANALYZE. Rows read are counted by the server within the transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.sql.scene import (
    Scene,
    Session,
    block,
    child,
    claim,
    collect,
    drop,
    end,
    flush,
    nap,
    park,
    step,
    wait,
)
from tests.support.database import _database

from zart_scheduler.store import executions, runs, steps, tasks, workers
from zart_scheduler.store.statement import Statement
from zart_scheduler.store.tasks import Handler

MANY = 50_000
UNKNOWN = Handler("unknown", "1", current=True, timeout=None)

FILL = """
CREATE TEMPORARY TABLE filler AS SELECT gen_random_uuid() AS id, n FROM generate_series(1, {many}) n;
-- finished runs, each with a journal
INSERT INTO zart_executions (execution_id, workflow, input_hash, current_run_id)
  SELECT 'done' || n, 'wf', '', id FROM filler;
INSERT INTO zart_execution_runs (run_id, execution_id, workflow, queue, state, finished_at)
  SELECT id, 'done' || n, 'wf', 'default', 'completed', now() FROM filler;
INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, turn) SELECT id, 's', 1, 's', 'o', 1 FROM filler;
INSERT INTO zart_step_attempts (run_id, ident, attempt, kind, started_at, error)
  SELECT id, 's', 1, 's', now(), '1' FROM filler;
INSERT INTO zart_events (execution_id, name, payload_hash, consumed_run, consumed_ident)
  SELECT 'done' || n, 'x', '', id, 'W' FROM filler;
-- sleepers and waiters
UPDATE filler SET id = gen_random_uuid();
INSERT INTO zart_tasks (task_id, run_id, execution_id, queue, workflow, version, state, due_at, epoch)
  SELECT id, id, 'asleep' || n, 'default', 'wf', '1', 'w', now() + interval '1 day', 1 FROM filler;
INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, wake_at)
  SELECT id, 'z', 1, 'z', 'o', now() + interval '1 day' FROM filler;
INSERT INTO zart_waits (run_id, ident, execution_id, seq, name) SELECT id, 'W', 'asleep' || n, 1, 'x' FROM filler;
-- ready work that nobody here knows, at the head
UPDATE filler SET id = gen_random_uuid();
INSERT INTO zart_tasks (task_id, run_id, execution_id, queue, workflow, version, priority)
  SELECT id, id, 'unknown' || n, 'default', CASE n % 2 WHEN 0 THEN 'unknown' ELSE 'wf' END, '77', 100 FROM filler;
-- other workers' active runs
UPDATE filler SET id = gen_random_uuid();
INSERT INTO zart_tasks (task_id, run_id, execution_id, queue, workflow, version, state, worker_id, deadline_at)
  SELECT id, id, 'active' || n, 'default', 'wf', '1', 'a', '00000000-0000-0000-0000-000000000001',
         now() + interval '1 day'
  FROM filler WHERE n <= {many} / 10;
INSERT INTO zart_workers (worker_id, lease_expires_at)
  VALUES ('00000000-0000-0000-0000-000000000001', now() + interval '1 day');
DROP TABLE filler;
"""


class Crowd:
    """A worker that has known the database since it was empty, and now owns ten runs of many."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.worker = scene.worker()
        self.session = scene.session()
        for _ in range(3):
            self._live_once()
        scene.sql("VACUUM ANALYZE")  # the tables are known to be tiny
        self.session = scene.session()
        for _ in range(8):  # enough for the server to keep a plan for good
            self._live_once()
        scene.sql(FILL.format(many=MANY))
        self.runs = [scene.start() for _ in range(10)]
        scene.claim(self.worker, limit=10)
        # A run with a long history of its own.
        self.long = self.runs[0]
        scene.sql(
            "INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, turn) "
            "SELECT %s, 'old' || n, n, 's', 'o', n FROM generate_series(1, 10000) n",
            self.long,
        )
        scene.sql(
            "INSERT INTO zart_events (execution_id, name, payload_hash, consumed_run, consumed_ident) "
            "SELECT %s, 'x', '', %s, 'old' || n FROM generate_series(1, 10000) n",
            str(self.long),
            self.long,
        )

    def _live_once(self) -> None:
        do, worker = self.session.do, self.worker
        run = self.scene.start()
        do(claim(worker))
        do(flush(worker, steps=[step(run, "a", 1), nap(run, "z", 0)]))
        do(
            flush(
                worker,
                cancels=[drop(run, "c", 2)],
                waits=[wait(run, "W", 3, timeout=600), wait(run, "V", 4, name="y")],
            )
        )
        do(executions.deliver(str(run), "y", payload=b"1"))
        do(tasks.look(worker))
        do(flush(worker, collects=[collect(run, 5)]))
        do(flush(worker, parks=[park(run, "W")]))
        do(executions.deliver(str(run), "x", payload=b"1"))
        self.sweep()
        do(claim(worker))
        do(runs.load_inputs([run]))
        do(steps.load_journals([(run, None)]))
        do(steps.load_attempts([run]))
        do(flush(worker, ends=[end(run, epoch=2)]))

    def sweep(self) -> None:
        for statement in SWEEPS:
            self.session.do(statement)

    def reads_at_most(self, statement: Statement[Any], *, indexed: int, scanned: int = 0) -> None:
        """Assert how many rows `statement` reads through indexes, and by scans of whole tables."""
        by_scan, by_index = rows_read(self.session, statement)
        assert by_scan <= scanned
        assert by_index <= indexed


SWEEPS: list[Statement[Any]] = [
    tasks.fire_due(uuid4(), 100),
    workers.mark_dead(5),
    tasks.requeue_dead(100),
    tasks.end_overdue(100, 5, b"1"),
    tasks.cancel_children(100),
]


def rows_read(session: Session, statement: Statement[Any]) -> tuple[int, int]:
    count = (
        "SELECT coalesce(sum(seq_tup_read), 0)::int, coalesce(sum(idx_tup_fetch), 0)::int "
        "FROM pg_stat_xact_user_tables WHERE relname LIKE 'zart%'"
    )
    session.sql("BEGIN")
    try:
        before = session.sql(count)[0]
        session.do(statement)
        after = session.sql(count)[0]
    finally:
        session.sql("ROLLBACK")
    return after[0] - before[0], after[1] - before[1]


@pytest.fixture(scope="module")
def crowd(server_url: str, template: str) -> Iterator[Crowd]:
    with _database(server_url, template) as url:
        scene = Scene(url)
        try:
            yield Crowd(scene)
        finally:
            scene.close()


def test_a_claim_reads_what_it_takes(crowd: Crowd) -> None:
    for _ in range(20):
        crowd.scene.start()
    try:
        crowd.reads_at_most(claim(crowd.worker, limit=10), indexed=150)
    finally:
        crowd.scene.sql("DELETE FROM zart_tasks WHERE state = 'r' AND workflow = 'wf' AND version = ''")


def test_a_claim_with_nothing_for_it_reads_nothing(crowd: Crowd) -> None:
    crowd.reads_at_most(claim(crowd.worker, limit=100), indexed=5)


def test_a_claim_of_many_versions_and_no_work_reads_nothing(crowd: Crowd) -> None:
    handlers = [Handler(f"wf{n}", "1", current=True, timeout=None) for n in range(200)]

    crowd.reads_at_most(claim(crowd.worker, limit=100, handlers=handlers), indexed=5)


def test_a_claim_uses_the_index_of_ready_tasks(crowd: Crowd) -> None:
    session = crowd.scene.session()
    plans: list[str] = []
    session.connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    session.sql("LOAD 'auto_explain'")
    session.sql(
        "SELECT set_config(name, value, false) FROM (VALUES ('auto_explain.log_min_duration', '0'), "
        "('auto_explain.log_nested_statements', 'on'), ('client_min_messages', 'log')) AS s(name, value)"
    )

    session.do(claim(crowd.worker, limit=100))

    (look,) = [plan for plan in plans if "ORDER BY t.priority DESC, t.seq LIMIT" in plan]
    assert "Index Scan using zart_tasks_ready" in look
    assert "Seq Scan" not in look


def test_a_flush_of_plain_records_reads_their_tasks(crowd: Crowd) -> None:
    records = [step(run, f"n{number}", number) for run in crowd.runs for number in range(5)]

    crowd.reads_at_most(flush(crowd.worker, steps=records), indexed=len(records) + 5)


@pytest.mark.parametrize(
    "group", ["cancels", "waits", "children", "collects", "parks", "releases", "blocks", "ends", "attempts"]
)
def test_an_item_of_a_run_with_a_long_history_reads_a_few_rows(crowd: Crowd, group: str) -> None:
    run = crowd.long
    item = {
        "cancels": drop(run, "W", 1),
        "waits": wait(run, "W", 1),
        "children": child(run, "K", 1),
        "collects": collect(run, 1),
        "parks": park(run, "W", "z"),
        "releases": end(run),
        "blocks": block(run),
        "ends": end(run),
        "attempts": {"t": run, "e": 1, "i": "s", "a": 1, "k": "s", "d": 1, "x": "1", "w": None, "l": None},
    }[group]

    crowd.reads_at_most(flush(crowd.worker, {group: [item]}), indexed=40)


def test_a_look_reads_the_workers_own_tasks(crowd: Crowd) -> None:
    crowd.reads_at_most(tasks.look(crowd.worker), indexed=40)


@pytest.mark.parametrize(
    "sweep", SWEEPS, ids=["fire_due", "mark_dead", "requeue_dead", "end_overdue", "cancel_children"]
)
def test_a_sweep_with_nothing_to_do_reads_next_to_nothing(crowd: Crowd, sweep: Statement[Any]) -> None:
    crowd.reads_at_most(sweep, indexed=40, scanned=10)


def test_a_delivery_reads_a_few_rows(crowd: Crowd) -> None:
    crowd.reads_at_most(executions.deliver(str(crowd.long), "x", payload=b"1"), indexed=10)


def test_a_wait_finds_its_event_behind_a_long_history(crowd: Crowd) -> None:
    crowd.session.do(executions.deliver(str(crowd.long), "news", payload=b"1"))

    crowd.reads_at_most(flush(crowd.worker, waits=[wait(crowd.long, "N", 1, name="news")]), indexed=20)


def test_a_start_and_a_cancel_read_a_few_rows(crowd: Crowd) -> None:
    run = uuid4()
    start = executions.start(str(run), run, "wf", input_hash=b"", input=b"")

    crowd.reads_at_most(start, indexed=5)
    crowd.reads_at_most(executions.cancel(str(crowd.runs[3])), indexed=10)


def test_loading_reads_the_journals_that_are_asked_for(crowd: Crowd) -> None:
    some: list[UUID] = crowd.runs[1:4]

    crowd.reads_at_most(runs.load_inputs(some), indexed=20)
    crowd.reads_at_most(steps.load_journals([(run, None) for run in some]), indexed=20)
    crowd.reads_at_most(steps.load_attempts(some), indexed=20)
