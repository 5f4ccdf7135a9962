"""The workflows that workers have registered in this database: what "registered" means to clients, CLI and API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Json

from zart_scheduler.sql import queries
from zart_scheduler.store.statement import Row, Statement, nothing

_SQL = queries("workflows")
_UPSERT = _SQL["upsert_workflow"]
_LIST = _SQL["list_workflows"]
_GET = _SQL["get_workflow"]


class RegisteredWorkflow(NamedTuple):
    """A workflow version, as the last worker that knew it has said.

    `parameters` are in order, `required` those without a default; `queue` and `priority` are where its starts go that
    say nothing else.
    """

    workflow: str
    version: str
    parameters: tuple[str, ...]
    required: tuple[str, ...]
    input_schema: Mapping[str, Any] | None
    result_schema: Mapping[str, Any] | None
    current: bool
    queue: str
    priority: int
    last_seen_at: datetime


def upsert(
    workflow: str,
    version: str,
    *,
    parameters: Sequence[str],
    required: Sequence[str],
    input_schema: Mapping[str, Any] | None,
    result_schema: Mapping[str, Any] | None,
    current: bool,
    queue: str = "default",
    priority: int = 0,
    on_failure: bool = False,
    on_cancel: bool = False,
    max_crashes: int = 5,
) -> Statement[None]:
    """Register a workflow version, or say that it was seen again."""
    params = {
        "workflow": workflow,
        "version": version,
        "parameters": list(parameters),
        "required": list(required),
        "input_schema": None if input_schema is None else Json(input_schema),
        "result_schema": None if result_schema is None else Json(result_schema),
        "current": current,
        "queue": queue,
        "priority": priority,
        "on_failure": on_failure,
        "on_cancel": on_cancel,
        "max_crashes": max_crashes,
    }
    return Statement(_UPSERT, params, nothing)


def list_all() -> Statement[list[RegisteredWorkflow]]:
    """Return every registered version, by name, the last seen first."""
    return Statement(_LIST, {}, lambda rows: [_registered(row) for row in rows])


def get(workflow: str, version: str | None = None) -> Statement[RegisteredWorkflow | None]:
    """Return one version, or without one the current version that was seen last; None if there is none."""
    params = {"workflow": workflow, "version": version}
    return Statement(_GET, params, lambda rows: _registered(rows[0]) if rows else None)


def _registered(row: Row) -> RegisteredWorkflow:
    name, version, parameters, required, input_schema, result_schema, *rest = row
    schemas = _schema(input_schema), _schema(result_schema)
    return RegisteredWorkflow(name, version, tuple(parameters), tuple(required), *schemas, *rest)


def _schema(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else json.loads(text)
