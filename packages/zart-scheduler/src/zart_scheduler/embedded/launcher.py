"""Start, find and stop the embedded server.

Two rules keep this right under `kill -9`: whether the server is up is answered by a connection, never by a pid file;
whether any process of it lives is answered by the kernel, through a lock that those processes inherit.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import psycopg
from psycopg import sql

from zart_scheduler.embedded import cluster, failures, locks
from zart_scheduler.embedded.layout import DATABASE, SCHEME, Layout, directory_of

_PATIENCE = 60.0
_POLL = 0.02
_CONNECT_TIMEOUT = 3
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running embedded server.

    Attributes:
        conninfo: A URL for libpq, psycopg and every Zart entry point.
        directory: Where its data, socket and log are.
        version: PostgreSQL's version, such as "18.6".
    """

    conninfo: str
    directory: Path
    version: str

    def stop(self) -> bool:
        """Stop the server, for all its users. See `stop`."""
        return stop(self.directory)


@dataclass(frozen=True, slots=True)
class EmbeddedStatus:
    """What is known of the embedded server in one directory.

    Attributes:
        state: `running` (accepts connections), `starting` (processes live, but none accepts: it starts, recovers or
            stops), `stopped`, or `absent` (never started there).
        pid: The server's main process while it runs.
    """

    state: Literal["running", "starting", "stopped", "absent"]
    directory: Path
    conninfo: str | None = None
    version: str | None = None
    pid: int | None = None


def start(
    url_or_dir: str | Path | None = None, *, fsync: bool = True, settings: Mapping[str, str] = _NO_SETTINGS
) -> EmbeddedServer:
    """Attach to the embedded server of a directory, starting it first if it is not up.

    Blocks: about 0.02 s to attach, 0.3 s to start, 1.5 s for the first start ever. Any number of processes and
    threads may call it at once.

    Args:
        url_or_dir: `embedded:`, `embedded:/dir` or a directory. None means ZART_STATE_DIR, else `/var/lib/zart` for
            root, else `zart` in the user's data directory.
        fsync: False is for throw-away data only: a crash of the machine may destroy it.
        settings: More of PostgreSQL's settings; without effect on a server that is already up.

    Raises:
        ConfigurationError: No programs, no permission, a directory of another major version.
        StoreUnavailable: The disk is full, or the server did not come up within 60 s.
    """
    layout = Layout(directory_of(url_or_dir))
    if (server := _attach(layout)) is not None:
        return server
    with failures.explained(layout.directory):
        cluster.prepare(layout)
        with locks.exclusive(layout.start_lock):
            return _start_alone(layout, {**cluster.durability(fsync=fsync), **settings})


def resolve(database_url: str) -> str:
    """Return what libpq can connect to: `embedded:` and `embedded:/dir` are started, other URLs returned as they are.

    Raises:
        ConfigurationError: As `start`.
        StoreUnavailable: As `start`.
    """
    return start(database_url).conninfo if database_url.startswith(SCHEME) else database_url


def status(directory: str | Path | None = None) -> EmbeddedStatus:
    """Tell how the server of `directory` is, without starting it."""
    layout = Layout(directory_of(directory))
    if (server := _attach(layout)) is not None:
        pid = cluster.postmaster_pid(layout)
        return EmbeddedStatus("running", layout.directory, server.conninfo, server.version, pid)
    with failures.explained(layout.directory):
        if layout.server_lock.exists() and locks.is_held(layout.server_lock):
            return EmbeddedStatus("starting", layout.directory)
    return EmbeddedStatus("stopped" if layout.majors() else "absent", layout.directory)


def stop(directory: str | Path | None = None) -> bool:
    """Stop the server of `directory`: running transactions are rolled back, committed ones are safe.

    Returns:
        Whether a server was running.

    Raises:
        StoreUnavailable: It still runs after 60 s.
    """
    layout = Layout(directory_of(directory))
    with failures.explained(layout.directory):
        if not layout.server_lock.exists():
            return False
        return _stop_alone(layout)


def _stop_alone(layout: Layout) -> bool:
    with locks.exclusive(layout.start_lock):
        if not locks.is_held(layout.server_lock):
            return False
        cluster.shut_down(layout)
        if not _wait(lambda: not locks.is_held(layout.server_lock)):
            raise failures.no_answer(_PATIENCE, layout.log)
        return True


def _start_alone(layout: Layout, settings: Mapping[str, str]) -> EmbeddedServer:
    """Start the server; the caller holds start.lock."""
    if not _ready(layout) and not _came_up_meanwhile(layout):
        # server.lock is free, so no process of the server lives: whatever says otherwise is stale.
        for scratch in layout.scratches():
            shutil.rmtree(scratch)
        cluster.launch(layout, settings)
        if not _wait(lambda: _ready(layout) or not locks.is_held(layout.server_lock)):
            raise failures.no_answer(_PATIENCE, layout.log)
        if not _ready(layout):
            raise failures.did_not_start(layout.log, cluster.log_tail(layout), layout.directory)
    _create_database(layout)
    if (server := _attach(layout)) is None:
        raise failures.no_answer(_CONNECT_TIMEOUT, layout.log)
    return server


def _came_up_meanwhile(layout: Layout) -> bool:
    """Wait for processes left by a starter or a server that died: they become ready or end."""
    if not locks.is_held(layout.server_lock):
        return False
    if not _wait(lambda: _ready(layout) or not locks.is_held(layout.server_lock)):
        raise failures.no_answer(_PATIENCE, layout.log)
    return _ready(layout)


def _attach(layout: Layout) -> EmbeddedServer | None:
    if not _exists(layout.socket):
        return None
    try:
        with psycopg.connect(layout.conninfo(), connect_timeout=_CONNECT_TIMEOUT) as connection:
            version = connection.info.parameter_status("server_version") or ""
    except psycopg.OperationalError:
        return None
    return EmbeddedServer(layout.conninfo(), layout.directory, version.partition(" ")[0])


def _ready(layout: Layout) -> bool:
    if not _exists(layout.socket):
        return False
    try:
        psycopg.connect(layout.conninfo("postgres"), connect_timeout=_CONNECT_TIMEOUT).close()
    except psycopg.OperationalError:
        return False
    return True


def _create_database(layout: Layout) -> None:
    with psycopg.connect(layout.conninfo("postgres"), autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
        if known.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True
