"""`zart dev` and the embedded server, in a state directory of their own."""

import shutil
import signal
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import data, run_zart
from tests.cli.processes import Running, environment, finished, running
from zart_scheduler import embedded

FLOWS = """
from zart_decorators import durable

@durable
async def double(n: int) -> int:
    return FACTOR * n

FACTOR = 2
"""


BLOCKING = """
import time
from pathlib import Path
from zart_decorators import durable, step

@step
async def block() -> None:
    Path("blocked").touch()
    time.sleep(600)

@durable
async def stuck() -> None:
    await block()
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project, with room for the embedded server, whose user must be able to enter it."""
    path = Path(tempfile.mkdtemp(prefix="zart-dev-", dir="/tmp"))
    path.chmod(0o755)
    (path / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(path)
    monkeypatch.setenv("ZART_STATE_DIR", str(path / "state"))
    monkeypatch.delenv("ZART_DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    yield path
    embedded.stop(path / "state")
    shutil.rmtree(path)


def env_of(home: Path) -> dict[str, str]:
    return environment(ZART_STATE_DIR=str(home / "state"), PYTHONDONTWRITEBYTECODE="1")


def doubled(number: int) -> str:
    words = ("runs", "start", "double", "-d", str(number), "--wait", "--timeout", "30s")
    return run_zart("--database-url", "embedded:", *words).stdout


def api_of(dev: Running) -> str:
    return dev.log.split("API")[1].split()[0].removesuffix("/docs")


@pytest.mark.timeout(300)  # half a dozen processes, one after the other
def test_one_command_serves_reloads_and_stops_all(home: Path) -> None:
    with running("dev", "flows", "--port", "0", cwd=home, env=env_of(home)) as dev:
        dev.until_said("Zart is ready")
        assert "zart runs start double -d 1" in dev.log
        assert "export ZART_DATABASE_URL=embedded:" in dev.log
        assert doubled(21) == "42\n"
        dev.until_said("completed in")
        with urllib.request.urlopen(f"{api_of(dev)}/readyz") as answer:
            assert answer.status == 200

        replace(home, FLOWS.replace("FACTOR = 2", "FACTOR = 3"))
        dev.until_said("ready again: double")
        assert doubled(21) == "63\n"

        replace(home, "def (\n")
        dev.until_said("no worker runs: waiting for the code to be mended")
        assert "SyntaxError" in dev.log
        replace(home, FLOWS)
        dev.until_said("ready again: double", times=2)
        assert doubled(21) == "42\n"

        assert dev.stop(signal.SIGINT) == 0
        assert "the embedded PostgreSQL is stopped" in dev.log
    assert run_zart("db", "status").stdout.startswith("state      stopped")


def test_a_second_ctrl_c_leaves_at_once_whatever_a_step_does(home: Path) -> None:
    replace(home, BLOCKING)
    with running("dev", "flows", "--port", "0", cwd=home, env=env_of(home)) as dev:
        dev.until_said("Zart is ready")
        run_zart("--database-url", "embedded:", "runs", "start", "stuck")
        dev.until((home / "blocked").exists, "the step that blocks")
        dev.process.send_signal(signal.SIGINT)
        dev.until_said("Ctrl-C again stops at once")
        assert dev.stop(signal.SIGINT) == 130


def test_code_that_does_not_import_ends_the_first_start(home: Path) -> None:
    (home / "flows.py").write_text("raise ValueError('mine')\n")
    result = finished("dev", "flows", cwd=home, env=env_of(home))
    assert result.returncode == 1
    assert "ValueError: mine" in result.stderr
    assert not (home / "state").exists()


def test_a_taken_port_is_told_and_nothing_is_left_running(home: Path) -> None:
    env = env_of(home)
    with running("dev", "flows", "--port", "0", cwd=home, env=env) as dev:
        dev.until_said("Zart is ready")
        port = api_of(dev).rpartition(":")[2]
        result = finished("dev", "flows", "--port", port, cwd=home, env=env)
        assert result.returncode == 2
        assert f"port {port}" in result.stderr
        assert "Traceback" not in result.stderr
        assert doubled(1) == "2\n"
        assert dev.stop() == 0


def test_db_tells_starts_and_stops_the_embedded_server(home: Path) -> None:
    assert run_zart("db", "status").stdout.startswith("state      absent")
    url = run_zart("db", "url").stdout.strip()
    assert url.startswith("postgresql://")
    status = data(run_zart("db", "status", "-o", "json"))
    assert (status["state"], status["conninfo"], status["directory"]) == ("running", url, str(home / "state"))
    assert run_zart("db", "stop").stderr == "stopped\n"
    assert run_zart("db", "stop").stderr == "it was not running\n"


def test_another_database_is_never_taken_for_the_embedded_server(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_DATABASE_URL", "postgresql://me:hunter2hunter2@db.example/orders")
    for words in (["db", "url"], ["db", "stop"]):
        result = run_zart(*words)
        assert result.exit_code == 2
        assert "db.example/orders was chosen" in result.stderr
        assert "hunter2" not in result.stderr
    status = run_zart("db", "status")
    assert status.exit_code == 0
    assert "leave the embedded server alone" in status.stderr
    assert not (home / "state").exists()


def replace(home: Path, text: str) -> None:
    """Change the workflows at once, as an editor does."""
    aside = home / "flows.py.new"
    aside.write_text(text)
    aside.replace(home / "flows.py")
