"""Which database, how to connect to it, and what its errors mean.

Nothing here needs a feature of a session, so that a pooler in transaction mode works in between.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from zart_core.errors import ConfigurationError, SchemaOutOfDate, StoreError, StoreUnavailable

SCHEMA_REVISION = "0001"
"""The schema this release needs. Later ones serve it too: their functions keep the old versions beside the new."""

RETRYABLE_STATES = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATEs after which the whole transaction is simply sent again: serialization, deadlock, lock not available."""

_SECRETS = ("password", "sslpassword")


def resolve_url(explicit: str | None = None) -> str:
    """Return what psycopg can connect to, starting or attaching to the embedded server for `embedded:`.

    Args:
        explicit: The caller's choice; else `ZART_DATABASE_URL`, else `DATABASE_URL`.

    Raises:
        ConfigurationError: None of the three is set.
    """
    url = explicit or os.environ.get("ZART_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if not url:
        raise ConfigurationError(
            "no database given: pass a URL (--database-url or an argument), or set ZART_DATABASE_URL or DATABASE_URL; "
            "'embedded:' starts one for development"
        )
    if url == "embedded" or url.startswith("embedded:"):
        from zart_scheduler import embedded  # noqa: PLC0415 - a worker on a server of its own never needs it

        return embedded.resolve(url)
    return url


def conninfo(url: str) -> str:
    """Return `url` as a psycopg connection string with Zart's defaults: name, connect timeout, `ZART_SCHEMA`.

    What the URL says itself wins. A schema is sent as a startup option, which poolers in transaction mode refuse;
    behind one, leave `ZART_SCHEMA` unset and give the role a search path (`ALTER ROLE ... SET search_path`).

    Raises:
        ConfigurationError: It is not a PostgreSQL URL or connection string.
    """
    try:
        given = conninfo_to_dict(re.sub(r"^(postgres(?:ql)?)\+\w+://", r"\1://", url))
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            f"not a PostgreSQL URL: {redacted(url)}; write postgresql://user:password@host:5432/database, with special "
            f"characters of the password as %XX, or embedded:"
        ) from None  # libpq's own text may quote the password
    params = {"application_name": "zart", "connect_timeout": "5"} | {
        name: str(value) for name, value in given.items() if value is not None
    }
    schema = os.environ.get("ZART_SCHEMA")
    if schema:
        path = quoted_name(schema).replace("\\", "\\\\").replace(" ", "\\ ")
        params["options"] = f"{params.get('options', '')} -csearch_path={path}".strip()
    return make_conninfo(**params)


def quoted_name(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def redacted(url: str) -> str:
    """Return `url` without passwords, for people and logs; total over any text."""
    without = re.sub(
        r"(//[^:/?#@\s]*:).*@", r"\1***@", url, flags=re.DOTALL
    )  # up to the last @: better too much than too little
    for name in _SECRETS:
        without = re.sub(
            rf"({name}\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", r"\1***", without, flags=re.IGNORECASE
        )
    return without


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn psycopg's errors into Zart's, one sentence each and without a password.

    Raises:
        StoreUnavailable: The database cannot be reached, went away, or could not serve the statement now.
        SchemaOutOfDate: One of Zart's tables or functions is missing.
        ConfigurationError: The caller's transaction is not READ COMMITTED.
        StoreError: Anything else the database refused.
    """
    try:
        yield
    except (
        errors.UndefinedTable,
        errors.UndefinedFunction,
        errors.UndefinedColumn,
        errors.UndefinedObject,
    ) as error:
        if "zart_" not in str(error):
            raise StoreError(_sentence(error)) from error
        raise SchemaOutOfDate(None, SCHEMA_REVISION) from error
    except errors.InvalidTransactionState as error:
        raise ConfigurationError(_sentence(error)) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise StoreUnavailable(f"the database cannot be reached: {_sentence(error)}") from error
    except psycopg.Error as error:
        raise StoreError(_sentence(error)) from error


def _sentence(error: psycopg.Error) -> str:
    """Return the first line of `error`, without what could carry a password."""
    text = error.diag.message_primary or str(error) or type(error).__name__
    return redacted(text.strip().splitlines()[0])
