"""A machine as pages assume it: commands on PATH, no settings, a PostgreSQL that `embedded:` attaches to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.docs.markdown import ROOT
from tests.docs.preloaded import write_shims
from tests.docs.reader import Reader

from zart_scheduler import embedded
from zart_scheduler.embedded import EmbeddedServer

_PATIENCE = 60.0


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A directory that the database's user can pass, too."""
    path = Path(tempfile.mkdtemp(prefix="zart-docs-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def commands(place: Path) -> Iterator[Path]:
    """A directory with the commands that pages type."""
    directory, socket = place / "bin", place / "commands.sock"
    directory.mkdir()
    write_shims(directory, socket)
    log = (place / "commands.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.docs.preloaded", str(socket)],
        cwd=ROOT,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + _PATIENCE
        while not socket.exists():
            assert server.poll() is None, (place / "commands.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield directory
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        log.close()


@pytest.fixture(scope="session")
def server(place: Path) -> Iterator[EmbeddedServer]:
    """The server that `embedded:` means on all pages."""
    directory = place / "state"
    yield embedded.start(directory, fsync=False)
    embedded.stop(directory)


@pytest.fixture
def reader(
    place: Path, commands: Path, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    """Someone at an empty directory and an empty database."""
    directory = Path(tempfile.mkdtemp(prefix="page-", dir=place))
    environment = {
        "PATH": os.pathsep.join([str(commands), os.environ["PATH"]]),
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "ZART_API_PORT": "0",
        "ZART_STATE_DIR": str(place / "state"),
    }
    reader = Reader(directory, environment, lambda: server.conninfo)
    try:
        yield reader
    finally:
        reader.leave()
        _empty(server)


def _empty(server: EmbeddedServer) -> None:
    """Remove the database; the next one who attaches makes it anew."""
    other = server.conninfo.replace("/zart?", "/postgres?")
    with psycopg.connect(other, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS zart WITH (FORCE)")
