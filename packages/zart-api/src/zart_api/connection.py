"""The app's client: the one it was given, or one of its own that opens when first needed."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from zart_core.errors import SchemaOutOfDate, StoreUnavailable
from zart_scheduler import Client, check_schema

_PATIENCE: Final = 6.0
"""Seconds that a readiness check may take: a little more than connecting may."""

_log = logging.getLogger(__name__)


class Connection:
    """Holds the client that the routes use.

    A mounted app gets no lifespan, so the client opens with the first request that needs it; an opening that failed
    is tried again by the next one.

    Args:
        client: A client that its owner opens and closes.
        database_url: Where to connect otherwise, as `Client` takes it.
    """

    def __init__(self, client: Client | None, database_url: str | None) -> None:
        self._given, self._database_url = client, database_url
        self._own: Client | None = None
        self._opening: asyncio.Task[Client] | None = None

    async def client(self) -> Client:
        """Return the open client. Requests that come while it opens wait together, not one after the other.

        Raises:
            ConfigurationError: No database is named anywhere.
            SchemaOutOfDate: The schema is older than this release needs.
            StoreUnavailable: The database cannot be reached.
        """
        ready = self._given or self._own
        if ready is not None:
            return ready
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="zart-api-open")
        return await asyncio.shield(self._opening)

    async def warm(self) -> None:
        """Open the client if the database is there with its schema; if it is not, the first request tries again.

        Raises:
            ConfigurationError: No database is named anywhere.
        """
        try:
            await self.client()
        except (SchemaOutOfDate, StoreUnavailable) as error:
            _log.warning("serving without a database for now: %s", error)

    async def check(self) -> None:
        """Return if requests can be served.

        Raises:
            SchemaOutOfDate: The schema is older than this release needs.
            StoreUnavailable: The database cannot be reached; where it is stands in the log only.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                client = await self.client()
                await asyncio.to_thread(check_schema, client.conninfo)
        except (StoreUnavailable, TimeoutError) as error:
            _log.warning("not ready: %s", str(error) or "the database does not answer")
            raise StoreUnavailable("the database cannot be reached; the server's log says why") from error

    async def close(self) -> None:
        """Close the client, unless it was given."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    async def _open(self) -> Client:
        try:
            client = Client(self._database_url)
            await asyncio.to_thread(check_schema, client.conninfo)
            await client.open()
            self._own = client
            return client
        finally:
            self._opening = None
