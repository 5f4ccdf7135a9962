"""`zart migrate` and what an outdated schema does to every command."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import run_zart
from tests.cli.processes import environment, finished


@pytest.fixture(autouse=True)
def chosen(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_DATABASE_URL", empty_database_url)


def test_check_fails_until_the_schema_is_there() -> None:
    before = run_zart("migrate", "--check")
    assert before.exit_code == 3
    assert "run `zart migrate`" in before.stderr
    assert run_zart("migrate").exit_code == 0
    assert run_zart("migrate").exit_code == 0
    assert run_zart("migrate", "--check").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "list"),
        ("runs", "show", "x"),
        ("runs", "start", "x"),
        ("events", "send", "x", "y"),
        ("workflows", "list"),
    ],
)
def test_every_command_tells_how_to_mend_a_missing_schema(words: tuple[str, ...]) -> None:
    result = run_zart(*words)
    assert result.exit_code == 3
    assert "run `zart migrate`" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("runs", "list"), ("events", "send", "x", "y")])
def test_every_command_tells_how_to_mend_an_outdated_schema(
    words: tuple[str, ...], empty_database_url: str
) -> None:
    run_zart("migrate")
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("UPDATE zart_schema_version SET version_num = '0000'")
    result = run_zart(*words)
    assert result.exit_code == 3
    assert "is at schema 0000" in result.stderr
    assert "run `zart migrate`" in result.stderr


def test_a_missing_schema_is_a_problem_object_with_json_output() -> None:
    assert json.loads(run_zart("runs", "list", "-o", "json").stderr)["code"] == "ZART-C005"


def test_the_printed_sql_makes_the_schema(empty_database_url: str) -> None:
    result = run_zart("migrate", "--print-sql")
    assert result.exit_code == 0
    assert "zart_steps" in result.stdout
    assert run_zart("migrate", "--check").exit_code == 3
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(result.stdout.encode())
    assert run_zart("migrate", "--check").exit_code == 0


def test_removing_everything_needs_a_yes() -> None:
    run_zart("migrate")
    assert run_zart("migrate", "--to", "base").exit_code == 2
    assert run_zart("migrate", "--check").exit_code == 0
    assert run_zart("migrate", "--to", "base", "--yes").exit_code == 0
    assert run_zart("migrate", "--check").exit_code == 3


def test_an_unknown_revision_and_an_unknown_role_are_usage_errors() -> None:
    assert run_zart("migrate", "--to", "9999").exit_code == 2
    result = run_zart("migrate", "--app-role", "nobody-of-that-name")
    assert result.exit_code == 2
    assert "nobody-of-that-name" in result.stderr


def test_many_at_once_are_as_good_as_one(empty_database_url: str, tmp_path: Path) -> None:
    env = environment(ZART_DATABASE_URL=empty_database_url)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: finished("migrate", cwd=tmp_path, env=env), range(4)))
    assert [result.returncode for result in results] == [0] * 4, results[0].stderr
