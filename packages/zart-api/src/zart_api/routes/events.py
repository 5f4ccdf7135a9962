"""Events: send one to an execution or to all who wait for a key, list an execution's."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from zart_api import bodies, schemas
from zart_api.deps import ClientDep, EventName, ExecutionId, JsonBody, WithPayloads
from zart_api.replies import documented, reply, with_headers
from zart_core.spi import reach

router = APIRouter(prefix="/executions/{execution_id}/events", tags=["events"])
broadcasts = APIRouter(prefix="/events", tags=["events"])


@router.post(
    "/{name}",
    status_code=202,
    response_model=schemas.EventAcceptedOut,
    responses={
        **documented(400, 404, 409, 413, 415, 422),
        202: with_headers(
            "The event is recorded.",
            schemas.EventAcceptedOut,
            Idempotency_Replayed="`true` if its key was known.",
        ),
    },
    openapi_extra=bodies.request_body(
        {"description": "The payload: any JSON. No body is null."}, required=False
    ),
)
async def send_event(
    execution_id: ExecutionId,
    name: EventName,
    payload: JsonBody,
    client: ClientDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Accepted once per execution; with another payload it is answered 422.",
            max_length=255,
        ),
    ] = None,
) -> Response:
    """Send an event; the body is its payload. Accepted means recorded, also if nothing waits for it yet."""
    receipt = await client.send_event(execution_id, name, payload, idempotency_key=idempotency_key)
    reach("after-accept")
    accepted = schemas.EventAcceptedOut.model_validate(receipt)
    return reply(accepted, 202, headers={"Idempotency-Replayed": "true"} if receipt.duplicate else None)


@router.get("", response_model=schemas.EventPage, responses=documented(404, 422))
async def list_events(execution_id: ExecutionId, client: ClientDep, with_payloads: WithPayloads) -> Response:
    """List the events sent to the execution, in order of acceptance."""
    details = await client.handle(execution_id).describe()
    page = schemas.EventPage.model_validate({"items": details.events})
    return reply(page, without=None if with_payloads else {"items": {"__all__": {"payload"}}})


@broadcasts.post(
    "/{name}",
    status_code=202,
    response_model=schemas.BroadcastAcceptedOut,
    responses={
        **documented(400, 413, 415, 422),
        202: with_headers(
            "The event is recorded.",
            schemas.BroadcastAcceptedOut,
            Idempotency_Replayed="`true` if its idempotency key was known.",
        ),
    },
    openapi_extra=bodies.request_body(
        {"description": "The payload: any JSON. No body is null."}, required=False
    ),
)
async def broadcast_event(
    name: EventName,
    payload: JsonBody,
    client: ClientDep,
    key: Annotated[schemas.Text, Query(description="What the waits name too.", min_length=1, max_length=255)],
    retain: Annotated[
        schemas.Text | None,
        Query(description="For how long later waits take it too, such as `1h`; once per execution."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Accepted once per name and `key`; with another payload it is answered 422.",
            max_length=255,
        ),
    ] = None,
) -> Response:
    """Send an event to all who wait for its name and this key; `matched` counts those who have it already."""
    receipt = await client.broadcast_event(
        name, payload, key=key, retain=retain, idempotency_key=idempotency_key
    )
    reach("after-accept")
    accepted = schemas.BroadcastAcceptedOut.model_validate(receipt)
    return reply(accepted, 202, headers={"Idempotency-Replayed": "true"} if receipt.duplicate else None)
