"""Bring the schema up, check it, print it, and grant it to the role that programs run as.

Everything happens in one transaction under an advisory lock, and what there is to do is decided after the lock is had:
any number of processes may migrate at once.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import errors

from zart_core.errors import ConfigurationError, SchemaOutOfDate
from zart_scheduler.database import SCHEMA_REVISION, conninfo, quoted_name, resolve_url, store_errors
from zart_scheduler.sql import queries

_SQL = queries("schema")
_HAS_VERSION_TABLE = _SQL["has_version_table"]
_GET_VERSION = _SQL["get_version"]
_LIST_GRANTABLE = _SQL["list_grantable"]

_LOCK = 0x7A617274_6D696772  # "zartmigr"
_OLDEST_SERVER = 140000


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
    with _transaction(resolve_url(database_url)) as connection:
        _require_server(connection)
        _create_schema(connection)
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config = _config()
        config.attributes["connection"] = connection
        history = _history(config)
        found = _revision(connection)
        if found is not None and found not in history:
            raise ConfigurationError(
                f"the database is at schema {found}, which this release does not know: install a newer zart-scheduler"
            )
        wanted = history[0] if to == "head" else to
        if wanted != "base" and wanted not in history:
            raise ConfigurationError(
                f"unknown schema revision {to!r} (known: {', '.join(history)}, head, base)"
            )
        goes_down = wanted == "base" or (found is not None and history.index(wanted) > history.index(found))
        (command.downgrade if goes_down else command.upgrade)(config, wanted)


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
    output = io.StringIO()
    command.upgrade(_config(output), "head", sql=True)
    return output.getvalue()


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
    "function": "GRANT EXECUTE ON FUNCTION",
}


@contextmanager
def _transaction(url: str) -> Iterator[sqlalchemy.Connection]:
    target = conninfo(url)
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(target, prepare_threshold=None),
        poolclass=sqlalchemy.NullPool,
        isolation_level="READ COMMITTED",
    )
    with _driver_errors(), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def _driver_errors() -> Iterator[None]:
    with store_errors():
        try:
            yield
        except sqlalchemy.exc.DBAPIError as error:
            raise (error.orig or error) from error


def _require_server(connection: sqlalchemy.Connection) -> None:
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    if version < _OLDEST_SERVER:
        raise ConfigurationError(f"Zart needs PostgreSQL 14 or newer, this server is {version // 10000}")
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise ConfigurationError(
            f"Zart needs a database with encoding UTF8, this one is {encoding}: "
            "create one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


def _create_schema(connection: sqlalchemy.Connection) -> None:
    name = os.environ.get("ZART_SCHEMA")
    if not name:
        return
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    exists = connection.execute(
        sqlalchemy.text("SELECT to_regnamespace(quote_ident(:name))"), {"name": name}
    ).scalar()
    if exists is None:
        connection.exec_driver_sql(f"CREATE SCHEMA {quoted_name(name).replace('%', '%%')}")


def _revision(connection: sqlalchemy.Connection) -> str | None:
    if not connection.exec_driver_sql(_HAS_VERSION_TABLE).scalar():
        return None
    found: str | None = connection.exec_driver_sql(_GET_VERSION).scalar()
    return found


def _config(output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output) if output else Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _history(config: Config) -> list[str]:
    """Return every revision, the newest first."""
    scripts: Any = ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in scripts]
