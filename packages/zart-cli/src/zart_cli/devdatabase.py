"""The database of `zart dev`: the embedded server if none was chosen, stopped again if nobody else uses it."""

from __future__ import annotations

import logging
import os

import psycopg

from zart_cli import settings, target
from zart_core.errors import ZartError
from zart_scheduler import embedded

_log = logging.getLogger("zart.dev")
_OWNED = "ZART_DEV_STARTED_SERVER"
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND datname IS NOT NULL
"""


class DevDatabase:
    """Where `zart dev` keeps its runs.

    Attributes:
        url: As it was chosen, or `embedded:`.
        conninfo: What libpq connects to.
    """

    def __init__(self) -> None:
        self.url = target.configured_url() or target.EMBEDDED
        if target.is_embedded(self.url) and embedded.status(self.url).state in {"stopped", "absent"}:
            # In the environment, because a reload replaces this process and its memory.
            os.environ[_OWNED] = self.url
            _log.info("starting the embedded PostgreSQL")
        self.conninfo = target.libpq_url(self.url)

    @property
    def needs_naming(self) -> bool:
        """Whether other commands must be told of it: it was not chosen where they look."""
        return settings.current().database_url is not None or target.configured_url() is None

    def leave(self) -> None:
        """Stop the server if this command started it and no one else is connected."""
        if os.environ.get(_OWNED) != self.url:
            return
        try:
            with psycopg.connect(self.conninfo, autocommit=True) as connection:
                row = connection.execute(_OTHERS).fetchone()
            if row and row[0]:
                _log.info("the embedded PostgreSQL goes on, others use it; zart db stop  stops it")
            elif embedded.stop(self.url):
                _log.info("the embedded PostgreSQL is stopped")
        except (psycopg.Error, ZartError) as error:
            _log.warning("the embedded PostgreSQL could not be stopped: %s", error)
