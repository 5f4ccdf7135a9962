"""Bring the schema up, check it, print it, and grant it to the role that programs run as.

Everything happens in one transaction under an advisory lock, and what there is to do is decided after the lock is had:
any number of processes may migrate at once.
"""

from __future__ import annotations

import psycopg
from psycopg import errors

from zart_core.errors import ConfigurationError, SchemaOutOfDate
from zart_scheduler.database import SCHEMA_REVISION, conninfo, quoted_name, resolve_url, store_errors
from zart_scheduler.sql import queries

_SQL = queries("schema")
_GET_VERSION = _SQL["get_version"]
_LIST_GRANTABLE = _SQL["list_grantable"]


def migrate(database_url: str | None = None, *, to: str = "head") -> None:
    """Bring the schema to a revision, creating the schema named by `ZART_SCHEMA` if it is missing.

    Args:
        database_url: As `database.resolve_url`.
        to: "head", a revision, or "base", which removes everything, the data with it.

    Raises:
        ConfigurationError: The server is older than PostgreSQL 14, the database is not UTF-8, `to` is unknown, or the
            schema is of a later release than this one.
        StoreUnavailable: The database cannot be reached.
    """
    # Not at the top: SQLAlchemy and Alembic double the start of every process, and only this needs them.
    from zart_scheduler import upgrade  # noqa: PLC0415 - as above

    upgrade.change_schema(resolve_url(database_url), to)


def check_schema(database_url: str | None = None) -> None:
    """Return if the database has the schema this release needs, or a later one.

    Raises:
        SchemaOutOfDate: It has none, or an older one.
        StoreUnavailable: The database cannot be reached.
    """
    url = conninfo(resolve_url(database_url))
    with store_errors(), psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        try:
            row = connection.execute(_GET_VERSION.encode()).fetchone()
        except errors.UndefinedTable:
            row = None
    found = row[0] if row else None
    if found is None or found < SCHEMA_REVISION:
        raise SchemaOutOfDate(found, SCHEMA_REVISION)


def print_sql() -> str:
    """Return the SQL that brings an empty database to this release's schema, for review or for psql."""
    from zart_scheduler import upgrade  # noqa: PLC0415 - as in `migrate`

    return upgrade.script()


def grant_app_role(role: str, database_url: str | None = None) -> None:
    """Let `role` run workers, clients, CLI and API, without the right to change the schema. Safe to repeat.

    Raises:
        SchemaOutOfDate: There is nothing to grant yet.
        ConfigurationError: There is no such role.
    """
    url = conninfo(resolve_url(database_url))
    with store_errors(), psycopg.connect(url, prepare_threshold=None) as connection:
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
            raise ConfigurationError(f"there is no role {role!r}: create it first")
        found = connection.execute(_LIST_GRANTABLE.encode()).fetchall()
        if not found:
            raise SchemaOutOfDate(None, SCHEMA_REVISION)
        for kind, name in found:
            connection.execute(f"{_GRANTS[kind]} {name} TO {quoted_name(role)}".encode())


_GRANTS = {
    "schema": "GRANT USAGE ON SCHEMA",
    "table": "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE",
    "view": "GRANT SELECT ON TABLE",
    "sequence": "GRANT USAGE ON SEQUENCE",
    "function": "GRANT EXECUTE ON FUNCTION",
}
