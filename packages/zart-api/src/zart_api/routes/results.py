"""The result of an execution, waited for if asked."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from zart_api import schemas
from zart_api.deps import ClientDep, ExecutionId, Services, ServicesDep
from zart_api.replies import documented, reply
from zart_core import ExecutionCancelled, ExecutionFailed, RunState, WaitTimeout
from zart_core.spi import seconds
from zart_scheduler import Handle

MAX_WAIT: Final = 60.0
"""Seconds that one request waits at most; proxies cut longer silences."""

T = TypeVar("T")

router = APIRouter(prefix="/executions", tags=["executions"])


@router.get(
    "/{execution_id}/result",
    response_model=schemas.CompletedOut | schemas.FailedOut,
    responses={
        **documented(404, 409, 422),
        202: {
            "model": schemas.UnfinishedOut,
            "description": "It has not ended; ask again after `Retry-After`.",
        },
    },
)
async def get_result(
    request: Request,
    execution_id: ExecutionId,
    client: ClientDep,
    parts: ServicesDep,
    wait: Annotated[
        str, Query(description="How long to wait for the end, such as `25s`; 60 s at most.")
    ] = "0s",
) -> Response:
    """Answer how the execution ended: its result, or its failure. 409 if it is blocked and waits for a person."""
    patience = min(seconds(wait, what="wait"), MAX_WAIT)
    handle = client.handle(execution_id)
    ended = await _unless_over(_ending(handle, patience), request, parts)
    if ended is not None:
        return reply(ended)
    return reply(schemas.UnfinishedOut(state=await handle.status()), 202, headers={"Retry-After": "1"})


async def _ending(handle: Handle[Any], patience: float) -> BaseModel | None:
    """Return how the execution ended, None if it has not within `patience` seconds."""
    try:
        return schemas.CompletedOut(result=await handle.result(patience))
    except WaitTimeout:
        return None
    except ExecutionFailed as error:
        failure = schemas.FailureOut.model_validate(error.failure)
        return schemas.FailedOut(state=RunState.FAILED, failure=failure)
    except ExecutionCancelled as error:
        failure = schemas.FailureOut(
            kind="cancelled", type="RunCancelled", message=error.reason or "no reason was given"
        )
        return schemas.FailedOut(state=RunState.CANCELLED, failure=failure)


async def _unless_over(work: Coroutine[Any, Any, T], request: Request, parts: Services) -> T | None:
    """Return what `work` returns, or None as soon as the client has gone or the app begins to stop."""
    task = asyncio.create_task(work, name="zart-result")
    signals = [asyncio.create_task(_disconnected(request)), asyncio.create_task(parts.draining.wait())]
    try:
        await asyncio.wait([task, *signals], return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for each in (task, *signals):
            each.cancel()
        await asyncio.wait([task, *signals])


async def _disconnected(request: Request) -> bool:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return True
