"""`zart api` as a process."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.cli.processes import Running, closed_port, environment, finished, running


def url_of(api: Running) -> str:
    api.until_said("serving on")
    return api.log.split("serving on ")[1].split()[0]


def test_it_serves_and_stops_on_a_signal(database_url: str, tmp_path: Path) -> None:
    env = environment(ZART_DATABASE_URL=database_url)
    with running("api", "--port", "0", cwd=tmp_path, env=env) as api:
        with urllib.request.urlopen(f"{url_of(api)}/v1/executions") as answer:
            assert json.load(answer) == {"items": [], "next_cursor": None}
        assert api.stop() == 0
        assert "Traceback" not in api.log


def test_it_answers_before_the_database_is_there(tmp_path: Path) -> None:
    with closed_port() as port:
        env = environment(ZART_DATABASE_URL=f"postgresql://me:hunter2hunter2@127.0.0.1:{port}/orders")
        with running("api", "--port", "0", "--connect-timeout", "1s", cwd=tmp_path, env=env) as api:
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{url_of(api)}/readyz")
            assert refused.value.code == 503
            refused.value.close()
            assert api.stop() == 0
            assert "hunter2" not in api.log


def test_it_refuses_to_listen_beyond_this_machine_without_keys(database_url: str, tmp_path: Path) -> None:
    result = finished(
        "api",
        "--host",
        "0.0.0.0",
        "--port",
        "0",
        cwd=tmp_path,
        env=environment(ZART_DATABASE_URL=database_url),
    )
    assert result.returncode == 2
    assert "ZART_API_KEYS" in result.stderr


def test_a_key_with_a_newline_is_refused(database_url: str, tmp_path: Path) -> None:
    env = environment(ZART_DATABASE_URL=database_url, ZART_API_KEYS="zk_one\nzk_two")
    result = finished("api", "--port", "0", cwd=tmp_path, env=env)
    assert result.returncode == 2
    assert "key 1 of ZART_API_KEYS" in result.stderr
    assert "zk_one" not in result.stderr
