"""Every named query fits the schema, and a wrong name breaks the import, not production."""

from __future__ import annotations

import re
from importlib.resources import files
from uuid import uuid4

import pytest
from psycopg import AsyncConnection
from tests.sql.scene import Scene

from zart_scheduler.sql import queries
from zart_scheduler.store import executions, tasks
from zart_scheduler.store.statement import run

FILES = sorted(
    path.name.removesuffix(".sql")
    for path in files("zart_scheduler.sql").iterdir()
    if path.name.endswith(".sql")
)
QUERIES = [(aggregate, name) for aggregate in FILES for name in queries(aggregate)]
PARAMETER = re.compile(r"%\(\w+\)[sb]")


@pytest.mark.parametrize(("aggregate", "name"), QUERIES)
def test_every_query_prepares(scene: Scene, aggregate: str, name: str) -> None:
    numbers: dict[str, str] = {}
    text = PARAMETER.sub(
        lambda found: numbers.setdefault(found.group()[:-1], f"${len(numbers) + 1}"), queries(aggregate)[name]
    )

    scene.sql(f"PREPARE q AS {text}".replace("%%", "%"))
    scene.sql("DEALLOCATE q")


def test_a_query_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        queries("tasks")["clam_tasks"]


def test_a_query_travels_without_its_comments() -> None:
    assert "--" not in "".join(queries("tasks").values())


@pytest.mark.anyio
async def test_statements_run_on_async_connections_too(scene: Scene) -> None:
    async with await AsyncConnection.connect(
        scene.url, autocommit=True, prepare_threshold=None
    ) as connection:
        assert await run(connection, tasks.fire_due(uuid4(), 10)) == 0
        assert await run(connection, executions.cancel("nobody")) == ("unknown", None)
        assert await run(connection, executions.hint(executions.DONE_CHANNEL)) is None  # type: ignore[func-returns-value]  # that is the point
