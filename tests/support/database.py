"""Databases for tests: one server for all workers of a run, one fresh database for each test that asks.

The process that starts the run owns a directory in /tmp; the server in it is made by the first test that wants a
database and stopped when the run ends. What a killed run left behind is swept by the next one.
ZART_TEST_DATABASE_URL names another server to use instead; its user must be allowed to create databases.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from zart_scheduler import embedded
from zart_scheduler.embedded import locks

_ROOT = "ZART_TEST_ROOT"
_PREFIX = "zart-test-"
_YOUNG = 60.0
_SETTINGS = {
    "max_connections": "300",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "all",
}
_owned = ExitStack()


@pytest.fixture(scope="session")
def server_url() -> str:
    """The URL of a database on the run's server to make others from. Nothing may be written to it."""
    if chosen := os.environ.get("ZART_TEST_DATABASE_URL"):
        return chosen
    return embedded.start(_root() / "server", fsync=False, settings=_SETTINGS).conninfo


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """The name of a database that has the schema, made once for all workers."""
    name = _template_name(_root())
    with locks.exclusive(_root() / "template.lock"):
        if not (_root() / "template.made").exists():
            _execute(server_url, sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            _execute(server_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            _migrate(with_database(server_url, name))
            (_root() / "template.made").touch()
    return name


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """A fresh database with the schema."""
    with _database(server_url, template) as url:
        yield url


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """A fresh database with nothing in it."""
    with _database(server_url, "template1") as url:
        yield url


@pytest.fixture
def new_database(server_url: str, template: str) -> Iterator[Callable[[], str]]:
    """Make any number of fresh databases with the schema."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(_database(server_url, template))


def with_database(url: str, name: str) -> str:
    """Return `url` with another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or _ROOT in os.environ:
        return
    _sweep()
    root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
    if os.geteuid() == 0:
        root.chmod(0o755)  # the server's user has to pass
    _owned.enter_context(locks.exclusive(root / "owner.lock"))
    os.environ[_ROOT] = str(root)
    _owned.callback(_dispose, root)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _owned.close()


def _root() -> Path:
    return Path(os.environ[_ROOT])


def _template_name(root: Path) -> str:
    return f"zart_template_{root.name.removeprefix(_PREFIX)}".lower()


def _migrate(url: str) -> None:
    # Imported here, so that tests which need no schema run whatever state the migrations are in.
    from zart_scheduler.migrate import migrate

    migrate(url)


@contextmanager
def _database(server_url: str, template: str) -> Iterator[str]:
    name = sql.Identifier(f"zart_{uuid.uuid4().hex[:16]}")
    _execute(server_url, sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template)))
    try:
        yield with_database(server_url, name.as_string().strip('"'))
    finally:
        _execute(server_url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


def _execute(url: str, statement: sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def _dispose(root: Path) -> None:
    del os.environ[_ROOT]
    if chosen := os.environ.get("ZART_TEST_DATABASE_URL"):
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        _execute(chosen, statement.format(sql.Identifier(_template_name(root))))
    embedded.stop(root / "server")
    shutil.rmtree(root)


def _sweep() -> None:
    """Remove what runs left that were killed."""
    for root in Path("/tmp").glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):
            facts = root.stat()
            # A young one may belong to a run that is about to take its lock.
            old = time.time() - facts.st_mtime > _YOUNG
            if old and facts.st_uid == os.geteuid() and not locks.is_held(root / "owner.lock"):
                embedded.stop(root / "server")
                shutil.rmtree(root, ignore_errors=True)
