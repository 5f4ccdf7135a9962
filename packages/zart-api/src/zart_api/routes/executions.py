"""Executions: start, list, look at, cancel, unblock."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID, uuid5

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AwareDatetime

from zart_api import bodies, schemas
from zart_api.deps import ClientDep, ExecutionId, JsonBody, ServicesDep, WithPayloads
from zart_api.paths import encoded_segment
from zart_api.problems import RefusedError
from zart_api.replies import documented, reply, with_headers
from zart_core import ExecutionConflict, RunState, StoreConflict
from zart_core.spi import MISSING, reach
from zart_scheduler import Client, Handle

MAX_LIMIT: Final = 200

_LOCATION: Final = "Where the execution can be read."
_KEYS: Final = UUID("0b6c5f9e-4d0e-5c86-9d1f-3a8f6f1c2f4e")
"""Of this namespace are the ids of executions that were started with an idempotency key in place of an id."""

router = APIRouter(prefix="/executions", tags=["executions"])

_PAYLOADS: Final[Any] = {
    "input": True,
    "result": True,
    "steps": {"__all__": {"result"}},
    "events": {"__all__": {"payload"}},
}


@router.post(
    "",
    status_code=201,
    response_model=schemas.StartedOut,
    responses={
        **documented(400, 404, 409, 413, 415, 422),
        200: with_headers(
            "The execution existed before.", schemas.StartedOut, Location=_LOCATION, Zart_Existing="`true`."
        ),
        201: with_headers(
            "The execution was made.",
            schemas.StartedOut,
            Location=_LOCATION,
            Idempotency_Replayed="`true` if its key was known.",
        ),
    },
    openapi_extra=bodies.request_body({"$ref": "#/components/schemas/StartIn"}, required=True),
)
async def start_execution(
    request: Request,
    body: JsonBody,
    client: ClientDep,
    parts: ServicesDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Stands for an `execution_id` that is not given; with another workflow or input it is "
            "answered 422.",
            min_length=1,
            max_length=255,
        ),
    ] = None,
) -> Response:
    """Start a workflow. The same `execution_id`, workflow and input start once: repeating is safe."""
    wanted = bodies.shaped(schemas.StartIn, body)
    if idempotency_key is None or wanted.execution_id is not None:
        handle, replayed = await _start(client, wanted), False
    else:
        handle, replayed = await _start_once(client, wanted, idempotency_key)
    reach("after-accept")
    here = f"{request.scope.get('root_path', '')}{parts.prefix}/v1/executions/{encoded_segment(handle.execution_id)}"
    existing = bool(handle.existing) and not replayed
    started = schemas.StartedOut(execution_id=handle.execution_id, existing=existing)
    headers = {"Location": here}
    if existing:
        return reply(started, 200, headers={**headers, "Zart-Existing": "true"})
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return reply(started, 201, headers=headers)


@router.get("", response_model=schemas.RunPage, responses=documented(422))
async def list_executions(
    client: ClientDep,
    *,
    state: Annotated[RunState | None, Query(description="Only runs in this state.")] = None,
    workflow: Annotated[schemas.Text | None, Query(description="Only this workflow.")] = None,
    tag: Annotated[
        list[schemas.Text] | None, Query(description="Only with this tag, `key=value`; may be repeated.")
    ] = None,
    since: Annotated[AwareDatetime | None, Query(description="Created at this time or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Created before this time.")] = None,
    queue: Annotated[schemas.Text | None, Query(description="Only this queue.")] = None,
    search: Annotated[schemas.Text | None, Query(description="Part of the execution's id.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items of one page.")] = 50,
    cursor: Annotated[schemas.Text | None, Query(description="`next_cursor` of the page before.")] = None,
) -> Response:
    """List executions by their current runs, newest first."""
    page = await client.list_runs(
        state=state,
        workflow=workflow,
        tags=_tags(tag),
        since=since,
        until=until,
        queue=queue,
        search=search,
        limit=limit,
        cursor=cursor,
    )
    return reply(schemas.RunPage.model_validate(page))


@router.get("/{execution_id}", response_model=schemas.ExecutionOut, responses=documented(404, 422))
async def get_execution(
    execution_id: ExecutionId, client: ClientDep, with_payloads: WithPayloads
) -> Response:
    """Show an execution: its state, what it waits for, its steps and events."""
    details = await client.handle(execution_id).describe()
    return reply(schemas.ExecutionOut.model_validate(details), without=None if with_payloads else _PAYLOADS)


@router.get("/{execution_id}/runs", response_model=schemas.RunPage, responses=documented(404, 422))
async def list_runs_of_execution(execution_id: ExecutionId, client: ClientDep) -> Response:
    """List the runs of an execution, oldest first."""
    return reply(schemas.RunPage.model_validate({"items": await client.handle(execution_id).runs()}))


@router.get("/{execution_id}/steps", response_model=schemas.StepPage, responses=documented(404, 422))
async def list_steps(execution_id: ExecutionId, client: ClientDep, with_payloads: WithPayloads) -> Response:
    """List the steps of the current run, in order."""
    details = await client.handle(execution_id).describe()
    page = schemas.StepPage.model_validate({"items": details.steps})
    return reply(page, without=None if with_payloads else {"items": {"__all__": {"result"}}})


@router.post(
    "/{execution_id}/cancel",
    status_code=202,
    response_model=schemas.StateOut,
    responses=documented(400, 404, 409, 413, 415, 422),
    openapi_extra=bodies.request_body({"$ref": "#/components/schemas/CancelIn"}, required=False),
)
async def cancel_execution(execution_id: ExecutionId, body: JsonBody, client: ClientDep) -> Response:
    """Ask the current run to stop; it begins no new step. Repeating is safe."""
    wanted = bodies.shaped(schemas.CancelIn, {} if body is None else body)
    state = await client.handle(execution_id).cancel(wanted.reason)
    return reply(schemas.StateOut(execution_id=execution_id, state=state), 202)


@router.post(
    "/{execution_id}/unblock",
    status_code=202,
    response_model=schemas.StateOut,
    responses=documented(400, 404, 409, 413, 415, 422),
    openapi_extra=bodies.request_body({"$ref": "#/components/schemas/UnblockIn"}, required=False),
)
async def unblock_execution(
    request: Request, execution_id: ExecutionId, body: JsonBody, client: ClientDep
) -> Response:
    """Let a blocked execution try again; its `divergence` tells what blocks it. 409 if it is not blocked."""
    wanted = bodies.shaped(schemas.UnblockIn, {} if body is None else body)
    handle, peer = client.handle(execution_id), request.client
    state = await handle.unblock(
        accept=wanted.accept,
        reset=wanted.reset,
        reason=wanted.reason,
        actor=f"http {peer.host}" if peer is not None else "http",
    )
    return reply(schemas.StateOut(execution_id=execution_id, state=state), 202)


async def _start(client: Client, wanted: schemas.StartIn) -> Handle[Any]:
    return await client.start_input(
        wanted.workflow,
        wanted.input if "input" in wanted.model_fields_set else MISSING,
        allow_unknown=wanted.allow_unknown,
        execution_id=wanted.execution_id,
        at=wanted.at,
        delay=wanted.delay,
        queue=wanted.queue,
        priority=wanted.priority,
        tags=wanted.tags,
        on_conflict=wanted.on_conflict,
    )


async def _start_once(client: Client, wanted: schemas.StartIn, key: str) -> tuple[Handle[Any], bool]:
    """Start the execution whose id is made of the key, which so is recorded with it; tell whether it was before."""
    own = {"execution_id": str(uuid5(_KEYS, key)), "on_conflict": "return"}
    try:
        handle = await _start(client, wanted.model_copy(update=own))
    except ExecutionConflict:
        raise StoreConflict(
            "the idempotency key was used before, to start another workflow or with another input"
        ) from None
    return handle, bool(handle.existing)


def _tags(texts: list[str] | None) -> dict[str, str] | None:
    tags = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise RefusedError(422, f"tag: {text!r} is not `key=value`")
        tags[key] = value
    return tags or None
