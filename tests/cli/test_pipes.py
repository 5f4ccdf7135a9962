"""Pipes that close, Ctrl-C, databases out of reach: exit codes, and nothing secret in any message."""

import json
import signal
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import run_zart
from tests.cli.processes import COMMAND, closed_port, environment, finished, running
from zart_core import Registry
from zart_scheduler import SyncClient


@pytest.fixture
def some_runs(database_url: str) -> str:
    async def nap(ctx: object, text: str) -> None: ...

    workflow = Registry().workflow("nap", nap)
    with SyncClient(database_url) as client:
        for number in range(300):
            client.start(workflow, "x" * 200, execution_id=f"{number:03}-{'y' * 200}")
    return database_url


def test_a_reader_that_leaves_early_is_no_error(some_runs: str, tmp_path: Path) -> None:
    script = f"{' '.join(COMMAND)} runs list --limit 300 -o id | head -n 1; echo ${{PIPESTATUS[0]}}"
    env = environment(ZART_DATABASE_URL=some_runs)
    result = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    first, code = result.stdout.split()
    assert first.startswith("299-")
    assert code == "0"


def test_a_full_disk_is_told_in_one_line(some_runs: str, tmp_path: Path) -> None:
    script = f"{' '.join(COMMAND)} runs list -o json > /dev/full"
    env = environment(ZART_DATABASE_URL=some_runs)
    result = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


def test_streams_that_are_closed_lead_nowhere(some_runs: str, tmp_path: Path) -> None:
    env, zart = environment(ZART_DATABASE_URL=some_runs), " ".join(COMMAND)
    script = f"{zart} runs list >&-; echo $?; {zart} runs start x -d - --allow-unknown <&- 2>&-; echo $?"
    result = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (result.stdout.split(), "unexpected" in result.stderr) == (["0", "2"], False)


def test_ctrl_c_while_waiting_exits_with_130(some_runs: str, tmp_path: Path) -> None:
    env = environment(ZART_DATABASE_URL=some_runs)
    with running("runs", "wait", f"000-{'y' * 200}", cwd=tmp_path, env=env) as wait:
        wait.until(lambda: listens(some_runs), "it listens for the result")
        assert wait.stop(signal.SIGINT) == 130
        assert wait.log == "zart: interrupted\n"


def test_ctrl_c_while_watching_exits_with_130(some_runs: str, tmp_path: Path) -> None:
    env = environment(ZART_DATABASE_URL=some_runs)
    with running("runs", "watch", f"000-{'y' * 200}", cwd=tmp_path, env=env) as watch:
        watch.until_said("a worker that has nap")
        assert watch.stop(signal.SIGINT) == 130
        assert "Traceback" not in watch.log


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "list"],
        ["runs", "show", "x"],
        ["events", "send", "x", "y"],
        ["migrate"],
        ["migrate", "--check"],
    ],
)
def test_an_unreachable_database_is_one_line_without_the_password(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed_port() as port:
        monkeypatch.setenv("ZART_DATABASE_URL", f"postgresql://me:hunter2hunter2@127.0.0.1:{port}/orders")
        result = run_zart(*words)
        assert result.exit_code == 6, result.stderr
        assert result.stdout == ""
        assert str(port) in result.stderr
        assert "hunter2" not in result.stderr
        assert result.stderr.count("\n") <= 2
        problem = json.loads(run_zart(*words, "-o", "json").stderr)
        assert (problem["exit_code"], problem["status"], problem["code"]) == (6, 503, "ZART-X002")
        assert "hunter2" not in json.dumps(problem)


def test_the_connect_timeout_bounds_the_wait_for_a_silent_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/orders"
        result = run_zart("--connect-timeout", "1s", "--database-url", url, "runs", "list")
    assert result.exit_code == 6
    assert "timeout" in result.stderr


def test_the_database_can_come_from_pyproject(some_runs: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.zart]\ndatabase-url = "{some_runs}"\n')
    result = finished("runs", "list", "--limit", "1", "-o", "id", cwd=tmp_path, env=environment())
    assert result.stdout.startswith("299-")


def listens(url: str) -> bool:
    """Return whether somebody listens for results in this database."""
    question = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    with psycopg.connect(url) as connection:
        return connection.execute(question).fetchone() is not None
