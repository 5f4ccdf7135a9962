"""The scene of every test here: a database with the schema, empty, and the sessions on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.sql.scene import Scene
from tests.support.database import _database


@pytest.fixture(scope="session")
def shared_database_url(server_url: str, template: str) -> Iterator[str]:
    """One database for all tests of a process: emptying it is ten times cheaper than making another."""
    with _database(server_url, template) as url:
        yield url


@pytest.fixture
def scene(shared_database_url: str) -> Iterator[Scene]:
    found = Scene(shared_database_url)
    try:
        found.empty()
        yield found
    finally:
        found.close()


@pytest.fixture
def own_scene(database_url: str) -> Iterator[Scene]:
    """A scene whose schema may be changed."""
    found = Scene(database_url)
    try:
        yield found
    finally:
        found.close()
