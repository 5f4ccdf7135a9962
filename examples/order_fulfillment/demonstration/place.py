"""Where the demonstration happens: a directory of its own, and a database, its own or the one it was given."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.order_fulfillment.demonstration.failure import DemoFailed
from examples.order_fulfillment.demonstration.screen import Screen
from zart_core import ZartError
from zart_scheduler import embedded


@dataclass(frozen=True, slots=True)
class Place:
    """`directory` holds the ledger and the logs."""

    directory: Path
    database_url: str

    @property
    def logs(self) -> Path:
        """Where the processes write what they have to say."""
        return self.directory / "logs"

    @property
    def ledger(self) -> Path:
        """The gateway's ledger."""
        return self.directory / "ledger.jsonl"


@contextmanager
def place(screen: Screen) -> Iterator[Place]:
    """Make the directory and find or start the database; stop and remove them in the end.

    Should the demonstration fail, the logs stay.

    Raises:
        DemoFailed: The database cannot be started.
    """
    directory = Path(tempfile.mkdtemp(prefix="zart-demo-"))
    logs = directory / "logs"
    state = directory / "postgresql"
    try:
        logs.mkdir()
        if os.geteuid() == 0:
            directory.chmod(0o755)  # PostgreSQL refuses root, and its user has to pass
        given = os.environ.get("ZART_DATABASE_URL")
        if not given:
            with screen.act("a PostgreSQL of its own starts"):
                given = _start(state)
        yield Place(directory, given)
    except DemoFailed:
        _remove_database(state)
        raise
    except BaseException:
        _remove_database(state)
        shutil.rmtree(directory, ignore_errors=True)
        raise
    else:
        _remove_database(state)
        shutil.rmtree(directory)


def _start(state: Path) -> str:
    try:
        return embedded.start(state).conninfo
    except ZartError as error:
        raise DemoFailed(f"PostgreSQL cannot be started: {error}") from error


def _remove_database(state: Path) -> None:
    if state.exists():
        embedded.stop(state)
        shutil.rmtree(state)
