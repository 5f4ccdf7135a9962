from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("docker-compose")

_ROOT = Path(__file__).parents[2]


def _config(empty: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Read the file without anybody's own .env."""
    empty.touch()
    return subprocess.run(
        ["docker-compose", "--file", _ROOT / "compose.yaml", "--env-file", empty, "config"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_compose_file_is_valid_and_starts_in_order(tmp_path: Path) -> None:
    done = _config(tmp_path / "env", POSTGRES_PASSWORD="pass word", ZART_API_KEYS="key")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("condition: service_completed_successfully") == 2
    assert done.stdout.count("condition: service_healthy") == 1
    assert done.stdout.count("healthcheck:") == 3


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "ZART_API_KEYS"])
def test_the_compose_file_has_no_secret_to_fall_back_to(missing: str, tmp_path: Path) -> None:
    given = {"POSTGRES_PASSWORD": "p", "ZART_API_KEYS": "k"}
    del given[missing]
    done = _config(tmp_path / "env", **given)
    assert done.returncode != 0
    assert f"set {missing} in .env" in done.stderr + done.stdout


def test_the_example_of_an_env_file_holds_no_secret() -> None:
    lines = [line for line in (_ROOT / ".env.example").read_text().splitlines() if line and line[0] != "#"]
    assert lines == ["POSTGRES_PASSWORD=", "ZART_API_KEYS="]
