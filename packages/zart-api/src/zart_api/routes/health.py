"""Probes: whether the process lives, and whether it can serve."""

from __future__ import annotations

from fastapi import APIRouter, Response

from zart_api import schemas
from zart_api.deps import ServicesDep
from zart_api.problems import RefusedError
from zart_api.replies import problem_responses, reply

router = APIRouter(tags=["health"])


@router.get("/livez", response_model=schemas.HealthOut, responses=problem_responses(500))
async def get_liveness() -> Response:
    """Answer as long as the process can answer; asks nothing of the database."""
    return reply(schemas.HealthOut())


@router.get("/readyz", response_model=schemas.HealthOut, responses=problem_responses(500, 503))
async def get_readiness(parts: ServicesDep) -> Response:
    """Answer 503 with the reason while the server stops, the database is down or its schema is behind."""
    if parts.draining.is_set():
        raise RefusedError(503, "the server is stopping")
    await parts.connection.check()
    return reply(schemas.HealthOut())
