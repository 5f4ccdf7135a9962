"""The API's description: for programs as OpenAPI, for people as a page that needs nothing from elsewhere."""

from __future__ import annotations

from typing import Any

import pydantic_core
from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse

from zart_api import openapi, reference

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def get_openapi(request: Request) -> Response:
    """Return the OpenAPI document, naming where the app is mounted."""
    return Response(pydantic_core.to_json(_document(request)), media_type="application/json")


@router.get("/docs")
async def get_docs(request: Request) -> Response:
    """Return the API's reference as a page."""
    return HTMLResponse(reference.page(_document(request)))


def _document(request: Request) -> dict[str, Any]:
    state = request.app.state
    if not hasattr(state, "openapi"):
        state.openapi = openapi.document(request.app)
    return {**state.openapi, "servers": [{"url": request.scope.get("root_path") or "/"}]}
