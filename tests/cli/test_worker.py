"""The worker as a process: ready file, signals, modules that fail, a database that comes late."""

import signal
from pathlib import Path

import psycopg
import pytest

from tests.cli.processes import closed_port, environment, finished, running

FLOWS = """
from zart_decorators import durable

@durable
async def double(n: int) -> int:
    return 2 * n
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "flows.py").write_text(FLOWS)
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_ready_file_is_there_while_the_worker_is_ready_and_a_signal_ends_it_well(
    home: Path, database_url: str, number: int
) -> None:
    env, ready = environment(ZART_DATABASE_URL=database_url), home / "ready"
    with running(
        "worker", "flows", "--ready-file", "ready", "--poll-interval", "100ms", cwd=home, env=env
    ) as worker:
        worker.until(ready.exists, "the ready file")
        assert ready.read_text() == f"{worker.process.pid}\n"
        result = finished("runs", "start", "double", "-d", "21", "--wait", cwd=home, env=env)
        assert (result.returncode, result.stdout) == (0, "42\n")
        assert worker.stop(number) == 0
        assert not ready.exists()
        assert "ready for double" in worker.log
        assert "Traceback" not in worker.log


def test_options_come_from_the_environment_too_and_a_file_can_be_named(home: Path, database_url: str) -> None:
    env = environment(
        ZART_DATABASE_URL=database_url,
        ZART_WORKER_NAME="w-from-env",
        ZART_WORKER_QUEUE="a b",
        ZART_LOG_FORMAT="json",
    )
    with running("worker", "./flows.py", cwd=home, env=env) as worker:
        worker.until_said('"event": "ready for double; queues: a, b"')
        with psycopg.connect(database_url) as connection:
            names = connection.execute("SELECT name FROM zart_worker_info").fetchall()
        assert names == [("w-from-env",)]
        assert worker.stop() == 0


def test_it_waits_for_the_database_and_says_so_and_can_be_stopped_meanwhile(home: Path) -> None:
    with closed_port() as port:
        env = environment(ZART_DATABASE_URL=f"postgresql://me:hunter2hunter2@127.0.0.1:{port}/orders")
        with running("worker", "flows", cwd=home, env=env) as worker:
            worker.until_said(f"waiting for the database at 127.0.0.1:{port}/orders")
            assert worker.stop() == 0
            assert "hunter2" not in worker.log


def test_a_schema_that_is_missing_ends_it_with_the_command_that_mends_it(
    home: Path, empty_database_url: str
) -> None:
    result = finished("worker", "flows", cwd=home, env=environment(ZART_DATABASE_URL=empty_database_url))
    assert result.returncode == 3
    assert "run `zart migrate`" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_module_that_fails_shows_the_users_traceback(home: Path, database_url: str) -> None:
    (home / "broken.py").write_text("import flows\n\ndef start():\n    raise ValueError('mine')\n\nstart()\n")
    result = finished("worker", "broken", cwd=home, env=environment(ZART_DATABASE_URL=database_url))
    assert result.returncode == 1
    assert 'broken.py", line 4, in start' in result.stderr
    assert "ValueError: mine" in result.stderr
    assert "zart_cli" not in result.stderr
    assert "importlib" not in result.stderr


def test_a_module_that_is_not_there_is_one_line(home: Path, database_url: str) -> None:
    result = finished("worker", "flwos", cwd=home, env=environment(ZART_DATABASE_URL=database_url))
    assert result.returncode == 2
    assert f"current directory, {home}, is searched first" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_module_without_a_workflow_is_told(home: Path, database_url: str) -> None:
    (home / "empty.py").touch()
    result = finished("worker", "empty", cwd=home, env=environment(ZART_DATABASE_URL=database_url))
    assert result.returncode == 2
    assert "'empty' has no workflow" in result.stderr
