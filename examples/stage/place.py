"""Where an example happens: a directory of its own, and a database, its own or the one it was given."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.stage.failure import DemoFailed
from examples.stage.screen import Screen
from zart_core import ZartError
from zart_scheduler import embedded

_LOG_LINES = 30


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
        """Where effects are written down, outside of Zart."""
        return self.directory / "ledger.jsonl"

    def show_logs(self) -> None:
        """Show the end of what the processes had to say."""
        for log in sorted(self.logs.iterdir()):
            lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            print(f"\n--- {log.name}", *(lines or ["(empty)"]), sep="\n", file=sys.stderr)


@contextmanager
def place(screen: Screen, database_url: str | None) -> Iterator[Place]:
    """Make the directory and start a database if none is given; stop and remove them in the end.

    Should the example fail, the logs stay.

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
        if not database_url:
            with screen.act("a PostgreSQL of its own starts"):
                database_url = _start(state)
        yield Place(directory, database_url)
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
