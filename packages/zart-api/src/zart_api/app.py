"""The ASGI app, standalone or mounted in another one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from zart_api import openapi, problems
from zart_api.auth import Authenticate, Guard
from zart_api.connection import Connection
from zart_api.deps import Services, admitted
from zart_api.edge import Edge
from zart_api.routes import documents, events, executions, health, life, results, state, workflows
from zart_scheduler import Client


def create_app(
    *,
    database_url: str | None = None,
    client: Client | None = None,
    prefix: str = "",
    authenticate: Authenticate | None = None,
) -> FastAPI:
    """Return the API as an ASGI app.

    Served by itself, its lifespan opens the client and closes it. Mounted in another app, which runs no lifespan for
    it, the client opens with the first request; pass your own open `client` to decide when it closes.

    The app does not know who can reach it: without keys and without `authenticate` everyone who does may use it.
    `serve` refuses to listen beyond loopback then.

    Args:
        database_url: Where to connect, as `Client` takes it. Not used with `client`.
        client: An open client, which its owner closes.
        prefix: What all paths begin with, such as `/zart`.
        authenticate: Called with each request under /v1 (may be async); True lets it pass, anything else is
            answered 401. Takes the place of the keys in ZART_API_KEYS.

    Raises:
        ConfigurationError: ZART_API_KEYS holds something that cannot be a key.
    """
    return build_app(Services(Connection(client, database_url), Guard.from_environment(authenticate), prefix))


def build_app(services: Services) -> FastAPI:
    """Return the app that works with `services`."""
    app = FastAPI(
        title="Zart",
        version=openapi.VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.zart = services
    app.add_middleware(Edge)
    problems.install(app)
    guarded = APIRouter(
        prefix="/v1", dependencies=[Depends(admitted)], generate_unique_id_function=_operation_id
    )
    for noun in (executions, life, results, events, state, workflows):
        guarded.include_router(noun.router)
    guarded.include_router(events.broadcasts)
    app.include_router(guarded, prefix=services.prefix)
    for noun in (health, documents):
        app.include_router(noun.router, prefix=services.prefix, generate_unique_id_function=_operation_id)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.zart
    await services.connection.warm()
    try:
        yield
    finally:
        services.draining.set()
        await services.connection.close()


def _operation_id(route: APIRoute) -> str:
    return route.name
