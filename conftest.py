"""What every test of the repository may use: the database fixtures, the mark `needs`, anyio on asyncio."""

import pytest

pytest_plugins = [
    "tests.support.cluster",
    "tests.support.database",
    "tests.support.logs",
    "tests.support.programs",
]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio, which is what Zart runs on."""
    return "asyncio"
