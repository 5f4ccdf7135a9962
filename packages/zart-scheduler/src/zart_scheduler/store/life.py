"""What people do to executions that are there: run them again, in whole or in part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from zart_scheduler.sql import queries
from zart_scheduler.store.statement import Statement

_SQL = queries("life")
_RESTART = _SQL["restart_execution"]
_RERUN = _SQL["rerun_execution"]
_FORK = _SQL["fork_execution"]
_RETRY_STEP = _SQL["retry_step"]


class Request(NamedTuple):
    """One request of a person. `key` is its own: sent again it is carried out once. `asked` is all that it asks for."""

    key: str
    actor: str
    asked: Mapping[str, Any]


class Changed(NamedTuple):
    """What became of a request; only what belongs to it is there.

    `workflow` is the execution's, `state` its run's. `names` are kept steps that came after one that runs again; with
    `no_step` those that could have been named.
    """

    status: Literal[
        "unknown",
        "done",
        "replayed",
        "mismatch",
        "conflict",
        "exists",
        "illegal",
        "handled",
        "children",
        "no_step",
    ]
    run_id: UUID | None
    execution_id: str | None
    workflow: str | None
    state: str | None
    names: Sequence[str] | None


def restart(
    execution_id: str,
    run_id: UUID,
    request: Request,
    *,
    workflow: str | None = None,
    version: str = "",
    input: bytes | None = None,
) -> Statement[Changed]:
    """Make a new run from scratch; without `input` with that of the run before."""
    return _statement(
        _RESTART, execution_id, request, run_id=run_id, workflow=workflow, version=version, input=input
    )


def rerun(
    execution_id: str, run_id: UUID, request: Request, *, steps: list[str] | None, keep: list[str] | None
) -> Statement[Changed]:
    """Make a new run that keeps records; `steps` and `keep` are PostgreSQL's regular expressions of names."""
    return _statement(_RERUN, execution_id, request, run_id=run_id, steps=steps, keep=keep)


def fork(
    execution_id: str,
    from_run: str,
    request: Request,
    *,
    new_id: str,
    run_id: UUID,
    step: str,
    input: bytes,
    input_hash: bytes,
) -> Statement[Changed]:
    """Make an execution `new_id` of the records of `from_run` up to the first of `step`."""
    return _statement(
        _FORK,
        execution_id,
        request,
        from_run=from_run,
        new_id=new_id,
        run_id=run_id,
        step=step,
        input=input,
        input_hash=input_hash,
    )


def retry_step(execution_id: str, request: Request, step: str | None) -> Statement[Changed]:
    """Open a failed run again for one more try of its failed step."""
    return _statement(_RETRY_STEP, execution_id, request, step=step)


def _statement(sql: str, execution_id: str, request: Request, **more: Any) -> Statement[Changed]:
    params = {
        "execution_id": execution_id,
        "request": request.key,
        "actor": request.actor,
        "asked": Jsonb(dict(request.asked)),
        **more,
    }
    return Statement(sql, params, lambda rows: Changed(*rows[0]))
