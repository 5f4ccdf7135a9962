"""What routes ask for: the client, ids from the path, lengths of time from the query."""

from __future__ import annotations

from asyncio import Event
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPBearer
from pydantic import AfterValidator

from zart_api import bodies
from zart_api.auth import Guard
from zart_api.connection import Connection
from zart_api.paths import decoded_segment
from zart_scheduler import Client


@dataclass(frozen=True, slots=True)
class Services:
    """What one app works with. `draining` is set when it begins to stop."""

    connection: Connection
    guard: Guard
    prefix: str = ""
    draining: Event = field(default_factory=Event)


def services(request: Request) -> Services:
    """Return what the request's app works with."""
    found: Services = request.app.state.zart
    return found


ServicesDep: TypeAlias = Annotated[Services, Depends(services)]


async def admitted(
    request: Request,
    parts: ServicesDep,
    _documented: Annotated[
        Any, Security(HTTPBearer(auto_error=False, description="A key of ZART_API_KEYS."))
    ],
) -> None:
    """Let only those in who may use the API; before the body is read."""
    await parts.guard.admit(request)


async def open_client(parts: ServicesDep) -> Client:
    """Return the app's client, opening it if need be."""
    return await parts.connection.client()


def payloads_wanted(
    include: Annotated[
        list[Literal["payloads"]] | None,
        Query(description="`payloads` adds inputs, results and events' payloads."),
    ] = None,
) -> bool:
    """Return whether payloads are to be in the answer."""
    return bool(include)


ClientDep: TypeAlias = Annotated[Client, Depends(open_client)]
JsonBody: TypeAlias = Annotated[Any, Depends(bodies.read_json)]
WithPayloads: TypeAlias = Annotated[bool, Depends(payloads_wanted)]
ExecutionId: TypeAlias = Annotated[
    str, Path(description="Id of the execution, percent-encoded."), AfterValidator(decoded_segment)
]
EventName: TypeAlias = Annotated[
    str, Path(description="Name of the event, percent-encoded."), AfterValidator(decoded_segment)
]
