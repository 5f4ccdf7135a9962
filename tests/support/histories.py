"""Write into the database what a worker would have written, for tests of those who only read it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import psycopg

from zart_core import CurrentCall, divergence
from zart_core.spi import record
from zart_scheduler.store import workflows
from zart_scheduler.store.statement import run_sync


def execute(url: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own and return its rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def register(
    url: str,
    workflow: str,
    parameters: tuple[str, ...],
    *,
    required: tuple[str, ...] | None = None,
    schema: dict[str, Any] | None = None,
) -> None:
    """Register a workflow as a worker does when it starts."""
    statement = workflows.upsert(
        workflow,
        "1",
        parameters=parameters,
        required=parameters if required is None else required,
        input_schema=schema,
        result_schema=None,
        current=True,
    )
    with psycopg.connect(url, autocommit=True) as connection:
        run_sync(connection, statement)


def end(url: str, execution_id: str, state: str, outcome: Any = None) -> None:
    """End an execution's current run; an exception as `outcome` is recorded as its failure."""
    payload = record(outcome) if isinstance(outcome, BaseException) else json.dumps(outcome).encode()
    execute(
        url,
        """
        WITH ended AS (
          UPDATE zart_execution_runs r
             SET state = %s, outcome = %s, finished_at = clock_timestamp(), final_epoch = 1
            FROM zart_executions e WHERE e.execution_id = %s AND r.run_id = e.current_run_id
          RETURNING r.run_id)
        DELETE FROM zart_tasks t USING ended WHERE t.task_id = ended.run_id
        """,
        state,
        payload,
        execution_id,
    )


def block(url: str, execution_id: str, reason: str, current: CurrentCall | None = None) -> None:
    """Block an execution's current run, at a call of today's code or at none."""
    details = divergence.without_record(divergence.STUCK, reason, execution_id)
    execute(
        url,
        """
        WITH blocked AS (
          UPDATE zart_execution_runs r SET state = 'blocked', divergence = %s::jsonb
            FROM zart_executions e WHERE e.execution_id = %s AND r.run_id = e.current_run_id
          RETURNING r.run_id)
        UPDATE zart_tasks t SET state = 'b', epoch = 1 FROM blocked WHERE t.task_id = blocked.run_id
        """,
        divergence.dump(replace(details, current=current)).decode(),
        execution_id,
    )


def park(url: str, execution_id: str) -> str:
    """Let an execution's current run be parked, as after its first claim, and return the run's id."""
    ((run_id,),) = execute(
        url,
        """
        UPDATE zart_tasks t SET state = 'w', epoch = 1 FROM zart_executions e
         WHERE e.execution_id = %s AND t.task_id = e.current_run_id RETURNING t.run_id::text
        """,
        execution_id,
    )
    return str(run_id)
