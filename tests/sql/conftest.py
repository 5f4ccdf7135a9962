"""The scene of every test here: one fresh database and the sessions on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sql.scene import Scene


@pytest.fixture
def scene(database_url: str) -> Iterator[Scene]:
    found = Scene(database_url)
    try:
        yield found
    finally:
        found.close()
