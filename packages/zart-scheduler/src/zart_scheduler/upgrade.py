"""What takes SQLAlchemy and Alembic: going from one revision of the schema to another, in one transaction."""

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

from zart_core.errors import ConfigurationError
from zart_scheduler.database import conninfo, quoted_name, store_errors
from zart_scheduler.sql import queries

_SQL = queries("schema")
_HAS_VERSION_TABLE = _SQL["has_version_table"]
_GET_VERSION = _SQL["get_version"]

_LOCK = 0x7A617274_6D696772  # "zartmigr"
_OLDEST_SERVER = 140000


def change_schema(url: str, to: str) -> None:
    """Bring the schema to a revision, as `migrate.migrate` says."""
    with _transaction(url) as connection:
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


def script() -> str:
    """Return the SQL of all migrations."""
    output = io.StringIO()
    command.upgrade(_config(output), "head", sql=True)
    return output.getvalue()


@contextmanager
def _transaction(url: str) -> Iterator[sqlalchemy.Connection]:
    target = conninfo(url)
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: _connect(target),
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


def _connect(target: str) -> psycopg.Connection:
    """Connect, and refuse a server that will not do before anything else is asked of it.

    SQLAlchemy's own first questions fail without a helpful text where a database has no encoding.
    """
    connection = psycopg.connect(target, prepare_threshold=None)
    try:
        _require_server(connection.info)
    except ConfigurationError:
        connection.close()
        raise
    return connection


def _require_server(server: psycopg.ConnectionInfo) -> None:
    if server.server_version < _OLDEST_SERVER:
        raise ConfigurationError(
            f"Zart needs PostgreSQL 14 or newer, this server is {server.server_version // 10000}"
        )
    encoding = server.parameter_status("server_encoding")
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
