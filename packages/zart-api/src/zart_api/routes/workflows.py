"""The workflows that workers have registered."""

from __future__ import annotations

from fastapi import APIRouter, Response

from zart_api import schemas
from zart_api.deps import ClientDep
from zart_api.replies import documented, reply

router = APIRouter(prefix="/workflows", tags=["workflows"])


@router.get("", response_model=schemas.WorkflowPage, responses=documented())
async def list_workflows(client: ClientDep) -> Response:
    """List the workflows that can be started, with the JSON Schema of their input."""
    return reply(schemas.WorkflowPage.model_validate({"items": await client.workflows()}))
