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
    from zart_core.host import ClaimedRun, ClaimedStep
    from zart_core.openattempt import OpenAttempt


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

    @staticmethod
    def of(claimed: ClaimedRun | ClaimedStep) -> ExecutionContext:
        """Return what a body, or a spawned step, may know of its run."""
        return ExecutionContext(
            execution_id=claimed.execution_id,
            run_id=claimed.run_id,
            run_index=claimed.run_index,
            workflow=claimed.workflow,
            version=claimed.version,
            queue=claimed.queue,
            tags=claimed.tags,
            started_at=claimed.started_at,
            deadline=claimed.deadline,
        )


body_var: ContextVar[ActiveRun | None] = ContextVar("zart_body", default=None)
step_var: ContextVar[ExecutionContext | None] = ContextVar("zart_step", default=None)
attempt_var: ContextVar[OpenAttempt | None] = ContextVar("zart_attempt", default=None)


def body_for(operation: str) -> ActiveRun | None:
    """Return the run whose body calls `operation`, or None outside any run.

    Raises:
        NestedStep: A step calls it.
        WrongTask: A thread, a callback or a foreign loop calls it.
    """
    step = step_var.get()
    if step is not None:
        raise NestedStep(operation, step.step_name or "")
    loop = events._get_running_loop()  # noqa: SLF001 - None in threads, no exception
    # The loop tells it: a task may be made in an empty context, and contexts go into threads and callbacks as well.
    body: ActiveRun | None = getattr(loop, "body", None)
    if body is not None and tasks.current_task(loop) is not None:
        return body
    if body is None and body_var.get() is None:
        return None
    raise WrongTask(
        f"{operation} was called from a thread, a callback or another event loop: durable calls belong to the "
        f"body's own tasks, so that replay makes them in the same order"
    )


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
