"""The server's data directory and its programs: make, launch, shut down."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from zart_scheduler.embedded import binaries, failures, locks
from zart_scheduler.embedded.accounts import Account, account_for
from zart_scheduler.embedded.binaries import Binaries
from zart_scheduler.embedded.layout import SUPERUSER, Layout, check_private, make_directory

_LOG_LIMIT = 10 * 1024 * 1024
_TAIL = 8 * 1024
_STOP_SECONDS = 30
_BUILTIN_LOCALES = 17


def durability(*, fsync: bool) -> dict[str, str]:
    """Return the settings that trade durability for speed; none when `fsync` is wanted."""
    return {} if fsync else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def prepare(layout: Layout) -> None:
    """Make the directory; as root it stays root's, open to passers-by, who find its insides private."""
    make_directory(layout.directory, 0o755 if os.geteuid() == 0 else 0o700, parents=True)


def launch(layout: Layout, settings: Mapping[str, str]) -> None:
    """Make the data if there is none, and launch the server. It need not be ready on return.

    The caller holds start.lock and knows that no process of the server lives.
    """
    majors = layout.majors()
    found = binaries.find(majors, layout.directory)
    account = account_for(layout.data(found.major))
    programs = binaries.reachable(found, account, layout)
    make_directory(layout.run, 0o700, account.owner)
    make_directory(layout.socket_directory, 0o700, account.owner)
    check_private(layout.socket_directory, account.uid)
    _rotate_log(layout)
    # The descriptor of server.lock goes to every program here: a later starter waits for them, or knows they are gone.
    with locks.exclusive(layout.server_lock) as lock:
        data = layout.data(programs.major)
        if programs.major not in majors:
            _make_data(layout, programs, account, lock, sync="fsync" not in settings)
        for stale in (data / "postmaster.pid", layout.socket, Path(f"{layout.socket}.lock")):
            stale.unlink(missing_ok=True)
        _start_server(layout, programs, account, lock, settings)


def shut_down(layout: Layout) -> None:
    """Ask the live server of `layout` to stop, at once rather than in order if that takes over 30 s."""
    for major in reversed(layout.majors()):
        data = layout.data(major)
        if not (data / "postmaster.pid").exists():
            continue
        account = account_for(data)
        programs = binaries.reachable(binaries.find([major], layout.directory), account, layout)
        for mode in ("fast", "immediate"):
            command = [programs.program("pg_ctl"), "stop", "-w", "-t", str(_STOP_SECONDS), "-m", mode]
            if account.run(command, env={"PGDATA": str(data)})[0] == 0:
                break


def postmaster_pid(layout: Layout) -> int | None:
    """Return the main process's pid as its file says; only to be shown, never to be signalled."""
    for major in reversed(layout.majors()):
        try:
            return int((layout.data(major) / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            continue
    return None


def log_tail(layout: Layout) -> str:
    """Return the end of the server's log."""
    try:
        with os.fdopen(os.open(layout.log, os.O_RDONLY | os.O_NOFOLLOW), "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL))
            return log.read().decode(errors="replace")
    except OSError:
        return ""


def _make_data(layout: Layout, programs: Binaries, account: Account, lock: int, *, sync: bool) -> None:
    """Run initdb aside and rename: data that has its name is complete, whenever we were killed."""
    scratch = layout.scratch(programs.major, os.getpid())
    make_directory(scratch, 0o700, account.owner)
    # Trust among those who can enter the socket's directory: the server's user and root.
    options = [f"--username={SUPERUSER}", "--auth-local=trust", "--auth-host=reject", "--no-instructions"]
    options += ["--encoding=UTF8", "--locale=C"]
    if programs.major >= _BUILTIN_LOCALES:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if not sync:
        options += ["--no-sync"]
    _execute(layout, account, [programs.program("initdb"), *options], scratch, lock)
    scratch.rename(layout.data(programs.major))
    directory = os.open(layout.directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _start_server(
    layout: Layout, programs: Binaries, account: Account, lock: int, settings: Mapping[str, str]
) -> None:
    chosen = {
        "listen_addresses": "",
        "unix_socket_directories": str(layout.socket_directory),
        "unix_socket_permissions": "0700",
        "port": "5432",
        "max_connections": "200",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "cluster_name": "zart",
        **settings,
    }
    options = " ".join(shlex.quote(f"-c{name}={value}") for name, value in chosen.items())
    # pg_ctl writes a shell command: paths that might need quoting go by the environment and working directory.
    command = [programs.program("pg_ctl"), "start", "-W", "-l", layout.log.name, "-o", options]
    _execute(layout, account, command, layout.data(programs.major), lock)


def _execute(layout: Layout, account: Account, command: Sequence[str], data: Path, lock: int) -> None:
    if account.drop and account.run(["/bin/sh", "-c", 'cd "$0"', layout.run])[0] != 0:
        raise failures.out_of_reach(layout.directory, account.name)
    status, output = account.run(command, env={"PGDATA": str(data)}, cwd=layout.run, keep_open=[lock])
    if status != 0:
        raise failures.did_not_start(layout.log, output, layout.directory)


def _rotate_log(layout: Layout) -> None:
    try:
        if layout.log.lstat().st_size > _LOG_LIMIT:
            layout.log.rename(layout.log.with_suffix(".log.1"))
    except FileNotFoundError:
        pass
