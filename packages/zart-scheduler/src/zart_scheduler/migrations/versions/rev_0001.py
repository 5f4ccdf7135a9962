"""The first release: tables, views and functions."""

from __future__ import annotations

import re

from zart_scheduler.migrations.execute import execute, schema
from zart_scheduler.sql import function

revision = "0001"
down_revision: str | None = None

_FUNCTIONS = (
    "fence_v1",
    "flush_v1",
    "flush_attempts_v1",
    "flush_waits_v1",
    "flush_children_v1",
    "flush_collects_v1",
    "flush_leaves_v1",
    "blocks_v1",
    "transaction_v1",
    "flush_spawns_v1",
    "events_v1",
    "broadcast_v1",
    "state_v1",
    "flush_continues_v1",
    "end_v1",
    "children_v1",
    "life_v1",
    "rerun_v1",
    "retry_step_v1",
    "start_v1",
    "claim_v1",
    "workers_v1",
    "sweep_v1",
    "overdue_v1",
)
_VIEWS = ("zart_v_steps", "zart_v_runs", "zart_run_states")
_TABLES = (
    "zart_audit",
    "zart_workflows",
    "zart_waits",
    "zart_event_uses",
    "zart_broadcasts",
    "zart_events",
    "zart_cancellations",
    "zart_state",
    "zart_tasks",
    "zart_step_attempts",
    "zart_steps",
    "zart_execution_runs",
    "zart_executions",
    "zart_worker_info",
    "zart_workers",
)


def upgrade() -> None:
    """Create everything."""
    execute(schema("0001_tables"))
    execute(schema("0001_views"))
    for name in _FUNCTIONS:
        execute(function(name))


def downgrade() -> None:
    """Remove everything, the data with it."""
    execute(";\n".join(f"DROP VIEW {view}" for view in _VIEWS) + ";")
    sources = [schema("0001_views"), *(function(name) for name in _FUNCTIONS)]
    for created in re.findall(r"^CREATE FUNCTION (\w+)", "\n".join(sources), re.MULTILINE):
        execute(f"DROP FUNCTION {created};")
    execute("DROP TYPE zart_answer_v1;")
    execute(";\n".join(f"DROP TABLE {table}" for table in _TABLES) + ";")
    execute("DROP SEQUENCE zart_event_ids;")
