"""What runs publish."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator

from zart_api import schemas
from zart_api.deps import ClientDep, ExecutionId
from zart_api.paths import decoded_segment
from zart_api.problems import RefusedError
from zart_api.replies import documented, reply

router = APIRouter(prefix="/executions/{execution_id}/state", tags=["executions"])


@router.get("/{key}", response_model=schemas.PublishedOut, responses=documented(404, 422))
async def get_state(
    execution_id: ExecutionId,
    key: Annotated[
        str, Path(description="What it was published as, percent-encoded."), AfterValidator(decoded_segment)
    ],
    client: ClientDep,
) -> Response:
    """Show the latest value that the current run has published by a name."""
    found = await client.handle(execution_id).published(key)
    if found is None:
        raise RefusedError(404, f"execution {execution_id!r} has not published {key!r} in its current run")
    return reply(schemas.PublishedOut.model_validate(found))
