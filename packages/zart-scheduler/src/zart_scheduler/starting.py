"""Prepare a start: encode the arguments, with what workers have registered where the code is not at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zart_core.spi import Started, StartRequest, existed, invocation_of, start_request
from zart_scheduler.access import Access
from zart_scheduler.actors import this_process
from zart_scheduler.arguments import not_found, stored_arguments
from zart_scheduler.checking import stored_input, unchecked_input
from zart_scheduler.handle import Handle
from zart_scheduler.store import executions, workflows
from zart_scheduler.store.statement import Statement


async def prepare_start(
    access: Access, target: object, args: tuple[Any, ...], options: Mapping[str, Any]
) -> StartRequest:
    """Return the start of `target` with `args`; by name, with what workers have registered of it."""
    invocation = invocation_of(target, args)
    stored, found = await stored_arguments(access, invocation)
    return start_request(invocation.workflow, stored, _plain(options), found)


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
        return start_request(name, stored_input(found, value), _plain(options), found)
    if not allow_unknown:
        raise await not_found(access, name)
    return start_request(name, unchecked_input(value), _plain(options))


def statement_of(request: StartRequest, *, in_callers: bool) -> Statement[Started]:
    """Return the statement that starts what `request` asks for."""
    return executions.start(
        request.execution_id,
        request.run_id,
        request.workflow,
        input_hash=request.input_hash,
        input=request.input,
        version=request.version,
        queue=request.queue,
        priority=request.priority,
        tags=request.tags,
        delay=request.delay,
        at=request.at,
        restart=request.restart,
        in_callers=in_callers,
        actor=this_process(),
    )


async def send_start(access: Access, request: StartRequest, conn: object) -> Handle[Any]:
    """Send a start, by itself or as a part of the caller's transaction on `conn`."""
    return handle_of(
        access, request, await access.change(statement_of(request, in_callers=conn is not None), conn)
    )


def handle_of(access: Access, request: StartRequest, answer: Started) -> Handle[Any]:
    """Return the handle of what was started.

    Raises:
        ExecutionConflict: Something else has the id.
    """
    return Handle(access, request.execution_id, request.definition, existing=existed(request, answer))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are about the start itself."""
    return {name: value for name, value in options.items() if name != "conn"}
