from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from zart_scheduler import embedded
from zart_scheduler.embedded import locks
from zart_scheduler.embedded.layout import Layout

_START = "import sys; from zart_scheduler import embedded; print(embedded.start(sys.argv[1]).conninfo)"


def _starter(place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _START, str(place)], stdout=subprocess.PIPE, text=True)


def _until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def _pid(place: Path) -> int:
    pid = embedded.status(place).pid
    assert pid is not None
    return pid


def test_many_processes_starting_at_once_get_one_server(place: Path) -> None:
    starters = [_starter(place) for _ in range(5)]
    urls = {starter.communicate(timeout=60)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0] * 5
    assert urls == {embedded.start(place).conninfo + "\n"}


def test_what_was_committed_survives_kill_9_of_the_server(place: Path) -> None:
    server = embedded.start(place)
    with psycopg.connect(server.conninfo) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
    os.kill(_pid(place), signal.SIGKILL)
    with psycopg.connect(embedded.start(place).conninfo) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def test_a_server_outlives_the_process_that_started_it(place: Path) -> None:
    starter = _starter(place)
    assert starter.stdout is not None
    url = starter.stdout.readline()
    starter.kill()
    starter.communicate()
    assert embedded.status(place).state == "running"
    assert embedded.start(place).conninfo + "\n" == url


def test_a_starter_killed_while_it_makes_the_data_leaves_nothing_in_the_way(place: Path) -> None:
    starter = _starter(place)
    _until(lambda: any((scratch / "base").exists() for scratch in place.glob(".making-*")))
    starter.kill()
    starter.communicate()
    assert Layout(place).majors() == []
    with psycopg.connect(embedded.start(place).conninfo) as connection:
        connection.execute("SELECT 1")
    assert not list(place.glob(".making-*"))


def test_a_starter_killed_right_after_the_launch_leaves_a_usable_server(place: Path) -> None:
    starter = _starter(place)
    _until(lambda: any(place.glob("*/postmaster.pid")))
    starter.kill()
    starter.communicate()
    with psycopg.connect(embedded.start(place).conninfo) as connection:
        assert connection.info.dbname == "zart"


def test_a_stale_pid_file_that_names_a_living_process_is_not_believed(place: Path) -> None:
    server = embedded.start(place)
    (data,) = (path.parent for path in place.glob("*/postmaster.pid"))
    kept = (data / "postmaster.pid").read_text().split("\n")
    server.stop()
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (data / "postmaster.pid").write_text("\n".join([str(bystander.pid), *kept[1:]]))
        Layout(place).socket.touch()
        assert embedded.stop(place) is False
        assert bystander.poll() is None
        assert embedded.status(place).state == "stopped"
        assert embedded.start(place) == server
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.communicate()


def test_a_server_that_is_frozen_counts_as_alive(place: Path) -> None:
    embedded.start(place)
    pid = _pid(place)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert locks.is_held(place / "server.lock")
        assert embedded.status(place).state == "starting"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert embedded.start(place).directory == place


def test_a_missing_database_is_made_again(place: Path) -> None:
    server = embedded.start(place)
    with psycopg.connect(Layout(place).conninfo("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE zart WITH (FORCE)")
    assert embedded.start(place) == server
