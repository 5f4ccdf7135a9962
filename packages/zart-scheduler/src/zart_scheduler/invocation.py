"""A start by name, for programs that do not have the workflow's code."""

from __future__ import annotations

from typing import Any

from zart_core import Invocation


def call(workflow: str, /, *args: Any, **kwargs: Any) -> Invocation[Any]:
    """Return a workflow, known by its name only, with these arguments: `client.start(call("ship", order_id="7"))`.

    Args:
        workflow: The name under which workers have registered it.
        args: JSON values, pydantic models or dataclasses; they get their names from what workers have registered.
        kwargs: The same, by parameter name; a workflow that no worker has registered yet can be started so.
    """
    return Invocation(workflow, args, kwargs)
