"""`continue_as_new`: end the run and begin the execution's next one, with an empty journal."""

from __future__ import annotations

from typing import Any, NoReturn

from zart_core.current import require_body
from zart_core.errors import UsageError, WrongTask
from zart_core.handlers import SCOPE


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this run and begin the next with these arguments of the workflow, in one transaction.

    The next run has an empty journal, the same version, queue, priority and tags, and a timeout of its own. Events
    that this one has not consumed are the next one's. It never returns; nothing the body does afterwards counts.

    Raises:
        WrongTask: A branch of the body calls it (a task, `gather`), or a handler: only the body itself may.
        UsageError: Something that the body has begun is still open.
        NestedStep: A step calls it.
        NotInRun: No body calls it.
        TypeError: The workflow does not take these arguments.
        PayloadInvalid: An argument does not have the declared shape.
    """
    run = require_body("continue_as_new()")
    if run.current_scope().path.startswith(SCOPE):
        raise WrongTask(
            "continue_as_new() was called in a handler: the run has ended, and has nothing to go on with"
        )
    if run.current_scope().path:
        raise WrongTask(
            "continue_as_new() was called in a branch of the body (a task, gather, a task group): call it in the body "
            "itself, when its branches have ended"
        )
    if open_work := run.open_work or ["saga()"] * bool(run.sagas):
        raise UsageError(
            f"continue_as_new() was called while this is still open: {', '.join(open_work)}; await it, or cancel it "
            f"and await that, before the run ends"
        )
    run.continue_with(run.workflow.parameters.encode(args, kwargs, run.host.max_payload))


__all__ = ["continue_as_new"]
