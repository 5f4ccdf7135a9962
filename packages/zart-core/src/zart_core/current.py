"""Where the running code stands: in a body, in a step, or outside any run."""

from __future__ import annotations

from asyncio import events, tasks
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from zart_core.errors import NestedStep, NotInRun, WrongTask

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """What code may know of its execution. The last three are None outside a step.

    `idempotency_key` is stable over all attempts and replays of one step in one run: send it to whoever must not do
    a thing twice. Times are the database's; `deadline` is None without a workflow timeout.
    """

    execution_id: str
    run_id: str
    run_index: int
    workflow: str
    version: str
    queue: str
    tags: Mapping[str, str]
    started_at: datetime
    deadline: datetime | None
    step_name: str | None = None
    attempt: int | None = None
    idempotency_key: str | None = None


body_var: ContextVar[ActiveRun | None] = ContextVar("zart_body", default=None)
step_var: ContextVar[ExecutionContext | None] = ContextVar("zart_step", default=None)


def body_for(operation: str) -> ActiveRun | None:
    """Return the run whose body calls `operation`, or None outside any run.

    Raises:
        NestedStep: A step calls it.
        WrongTask: A thread, a callback or a foreign loop calls it.
    """
    step = step_var.get()
    if step is not None:
        raise NestedStep(operation, step.step_name or "")
    body = body_var.get()
    if body is None:
        return None
    loop = body.loop
    if events._get_running_loop() is not loop or tasks.current_task(loop) is None:  # noqa: SLF001 - None in threads, no exception
        raise WrongTask(
            f"{operation} was called from a thread, a callback or another event loop: durable calls belong to the "
            f"body's own tasks, so that replay makes them in the same order"
        )
    return body


def require_body(operation: str) -> ActiveRun:
    """Return the run whose body calls `operation`.

    Raises:
        NotInRun: No body calls it.
    """
    body = body_for(operation)
    if body is None:
        raise NotInRun(f"{operation} works only inside a workflow's body; start the workflow with a client")
    return body


def context() -> ExecutionContext:
    """Return what is known of the execution that runs this code. Works in bodies and in steps.

    Raises:
        NotInRun: Neither a body nor a step runs it.
    """
    step = step_var.get()
    if step is not None:
        return step
    body = body_var.get()
    if body is None:
        raise NotInRun("context() works only inside a workflow's body or a step")
    return body.context


def is_replaying() -> bool:
    """Return whether the body still runs over what was recorded before. False in steps.

    For logging and metrics only: a body that decides by it is not deterministic.
    """
    if step_var.get() is not None:
        return False
    body = body_var.get()
    if body is None:
        raise NotInRun("is_replaying() works only inside a workflow's body or a step")
    return body.is_replaying
