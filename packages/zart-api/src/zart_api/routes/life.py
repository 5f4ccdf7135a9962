"""Run executions again: from scratch, in part, as another execution, or from the step that failed."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from fastapi import APIRouter, Header, Request, Response

from zart_api import bodies, schemas
from zart_api.deps import ClientDep, ExecutionId, JsonBody, ServicesDep
from zart_api.paths import encoded_segment
from zart_api.replies import Responses, documented, reply, with_headers
from zart_scheduler import Handle

router = APIRouter(prefix="/executions/{execution_id}", tags=["executions"])

Key: TypeAlias = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Carried out once per execution; with another body it is answered 422.",
        max_length=255,
    ),
]

_PROBLEMS: Final[Responses] = documented(400, 404, 409, 413, 415, 422)


def _responses(description: str, model: type[schemas.RunOut] = schemas.RunOut, **headers: str) -> Responses:
    headers["Idempotency_Replayed"] = "`true` if its key was known."
    return {**_PROBLEMS, 202: with_headers(description, model, **headers)}


def _body(name: str, *, required: bool = False) -> dict[str, Any]:
    return bodies.request_body({"$ref": f"#/components/schemas/{name}"}, required=required)


@router.post(
    "/restart",
    status_code=202,
    response_model=schemas.RunOut,
    responses=_responses("The execution's current run."),
    openapi_extra=_body("RestartIn"),
)
async def restart_execution(
    execution_id: ExecutionId, body: JsonBody, client: ClientDep, idempotency_key: Key = None
) -> Response:
    """Begin again from scratch with a new run; a run that is under way ends as cancelled."""
    wanted = bodies.shaped(schemas.RestartIn, {} if body is None else body)
    handle = client.handle(execution_id)
    await handle.restart(reason=wanted.reason, idempotency_key=idempotency_key)
    return await _run(handle)


@router.post(
    "/rerun",
    status_code=202,
    response_model=schemas.RerunOut,
    responses=_responses("The execution's current run.", schemas.RerunOut),
    openapi_extra=_body("RerunIn"),
)
async def rerun_execution(
    execution_id: ExecutionId, body: JsonBody, client: ClientDep, idempotency_key: Key = None
) -> Response:
    """Run some steps again, in a new run that keeps what the others have recorded."""
    wanted = bodies.shaped(schemas.RerunIn, {} if body is None else body)
    handle = await client.handle(execution_id).rerun(
        steps=wanted.steps,
        keep=wanted.keep,
        reason=wanted.reason,
        idempotency_key=idempotency_key,
        warn=False,
    )
    found = schemas.RerunOut.model_validate((await handle.runs())[-1])
    found.doubtful = list(handle.doubtful)
    return reply(found, 202, headers=_replayed(handle))


@router.post(
    "/fork",
    status_code=202,
    response_model=schemas.RunOut,
    responses=_responses("The new execution's run.", Location="Where the new execution can be read."),
    openapi_extra=_body("ForkIn", required=True),
)
async def fork_execution(
    request: Request,
    execution_id: ExecutionId,
    body: JsonBody,
    client: ClientDep,
    parts: ServicesDep,
    idempotency_key: Key = None,
) -> Response:
    """Start another execution that has done what this one did before a step."""
    wanted = bodies.shaped(schemas.ForkIn, body)
    handle = await client.handle(execution_id).fork(
        from_step=wanted.from_step,
        execution_id=wanted.execution_id,
        input=wanted.input,
        reason=wanted.reason,
        idempotency_key=idempotency_key,
    )
    root = f"{request.scope.get('root_path', '')}{parts.prefix}"
    return await _run(handle, Location=f"{root}/v1/executions/{encoded_segment(handle.execution_id)}")


@router.post(
    "/retry-step",
    status_code=202,
    response_model=schemas.RunOut,
    responses=_responses("The execution's current run."),
    openapi_extra=_body("RetryStepIn"),
)
async def retry_step(
    execution_id: ExecutionId, body: JsonBody, client: ClientDep, idempotency_key: Key = None
) -> Response:
    """Open a failed run again for one more try of the step that failed it."""
    wanted = bodies.shaped(schemas.RetryStepIn, {} if body is None else body)
    handle = client.handle(execution_id)
    await handle.retry_step(wanted.name, reason=wanted.reason, idempotency_key=idempotency_key)
    return await _run(handle)


async def _run(handle: Handle[Any], **headers: str) -> Response:
    """Answer with the execution's current run."""
    current = schemas.RunOut.model_validate((await handle.runs())[-1])
    return reply(current, 202, headers=headers | _replayed(handle))


def _replayed(handle: Handle[Any]) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if handle.replayed else {}
