"""One command's dealings with the database: connect within the patience given, act, leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from zart_cli import target

if TYPE_CHECKING:
    from zart_scheduler import Client

T = TypeVar("T")


def run(action: Callable[[Client], Awaitable[T]]) -> T:
    """Open a client of the chosen database, await `action` with it and return what that returns.

    Raises:
        ConfigurationError: No database was chosen.
        SchemaOutOfDate: The schema is older than this release needs.
        StoreUnavailable: The database cannot be reached within --connect-timeout.
    """
    return asyncio.run(_with_client(target.libpq_url(target.database_url()), action))


async def _with_client(url: str, action: Callable[[Client], Awaitable[T]]) -> T:
    from zart_scheduler import Client, check_schema

    await asyncio.to_thread(
        check_schema, url
    )  # else what an old schema has too would work, and the rest would not
    async with Client(url) as client:
        return await action(client)
