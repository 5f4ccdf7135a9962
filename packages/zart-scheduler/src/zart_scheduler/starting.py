"""Prepare a start: encode the arguments, with what workers have registered where the code is not at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zart_core import Workflow, WorkflowNotFound
from zart_core.spi import encode_plain
from zart_scheduler.access import Access
from zart_scheduler.answers import existed
from zart_scheduler.checking import stored_input, unchecked_input
from zart_scheduler.handle import Handle
from zart_scheduler.requests import StartRequest, invocation_of, named_arguments, start_request
from zart_scheduler.store import workflows
from zart_scheduler.store.executions import Started


async def prepare_start(
    access: Access, target: object, args: tuple[Any, ...], options: Mapping[str, Any]
) -> StartRequest:
    """Return the start of `target` with `args`; by name, with what workers have registered of it."""
    invocation = invocation_of(target, args)
    workflow = invocation.workflow
    if isinstance(workflow, Workflow):
        return start_request(
            workflow, workflow.parameters.encode(invocation.args, invocation.kwargs), options
        )
    found = await access.read(workflows.get(workflow))
    if found is None and invocation.args:
        raise await _not_found(access, workflow)
    names = found.parameters if found is not None else ()
    named = named_arguments(workflow, names, invocation.args, invocation.kwargs)
    stored = encode_plain(named, f"input of workflow {workflow!r}", given_only=True)
    return start_request(workflow, stored, options, found)


async def prepare_input(
    access: Access, name: str, value: Any, options: Mapping[str, Any], *, allow_unknown: bool
) -> StartRequest:
    """Return the start of a workflow by name, with its input checked against what workers have registered.

    Raises:
        WorkflowNotFound: None has registered it, and that is not allowed.
        PayloadInvalid: The input does not fit.
    """
    found = await access.read(workflows.get(name))
    if found is not None:
        return start_request(name, stored_input(found, value), options, found)
    if not allow_unknown:
        raise await _not_found(access, name)
    return start_request(name, unchecked_input(value), options)


async def send_start(access: Access, request: StartRequest, conn: object) -> Handle[Any]:
    """Send a start, by itself or as a part of the caller's transaction on `conn`."""
    return handle_of(access, request, await access.change(request.statement, conn))


def handle_of(access: Access, request: StartRequest, answer: Started) -> Handle[Any]:
    """Return the handle of what was started.

    Raises:
        ExecutionConflict: Something else has the id.
    """
    return Handle(access, request.execution_id, request.definition, existing=existed(request, answer))


async def _not_found(access: Access, name: str) -> WorkflowNotFound:
    return WorkflowNotFound(name, {found.workflow for found in await access.read(workflows.list_all())})
