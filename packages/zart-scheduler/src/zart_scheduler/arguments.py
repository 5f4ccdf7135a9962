"""The arguments of a workflow as they are stored, with what workers have registered where its code is not at hand."""

from __future__ import annotations

from typing import Any

from zart_core import Invocation, Workflow, WorkflowNotFound
from zart_core.spi import encode_plain, named_arguments
from zart_scheduler.access import Access
from zart_scheduler.store import workflows
from zart_scheduler.store.workflows import RegisteredWorkflow


async def stored_arguments(
    access: Access, invocation: Invocation[Any]
) -> tuple[bytes, RegisteredWorkflow | None]:
    """Return the arguments as a canonical JSON object by parameter name; by name, also what is registered of it.

    Raises:
        PayloadInvalid: An argument does not have the declared shape.
        TypeError: The workflow does not take these arguments.
        WorkflowNotFound: By name with positional arguments, which no worker has registered the names of.
    """
    workflow = invocation.workflow
    if isinstance(workflow, Workflow):
        return workflow.parameters.encode(invocation.args, invocation.kwargs), None
    found = await access.read(workflows.get(workflow))
    if found is None and invocation.args:
        raise await not_found(access, workflow)
    names = found.parameters if found is not None else ()
    named = named_arguments(workflow, names, invocation.args, invocation.kwargs)
    return encode_plain(named, f"input of workflow {workflow!r}", given_only=True), found


async def not_found(access: Access, name: str) -> WorkflowNotFound:
    """Return the error that no worker has registered `name`, with those that are registered."""
    return WorkflowNotFound(name, {found.workflow for found in await access.read(workflows.list_all())})
