import json
import re

import pytest
from typer.testing import CliRunner, Result

from zart_cli.app import app

COMMANDS = [
    "dev", "worker", "api", "migrate",
    "runs list", "runs show", "runs steps", "runs events", "runs start",
    "runs wait", "runs result", "runs cancel", "runs watch",
    "events send", "events list", "workflows list", "db status", "db url", "db stop",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in ("ZART_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(str(tmp_path))


def zart(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"zart \d+\.\d+\.\d+\n", zart("--version").stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = zart(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"zart {command}" in result.stdout or "Usage" in result.stdout
    assert "--database-url" in result.stdout


def test_every_command_is_listed_with_a_summary() -> None:
    listed = zart("--help").stdout + "".join(
        zart(noun, "--help").stdout for noun in ("runs", "events", "workflows", "db")
    )
    for command in COMMANDS:
        assert re.search(rf"^│ {command.split()[-1]}\s+\S.*[a-z]", listed, re.MULTILINE), command


@pytest.mark.parametrize(
    "words", [["-o", "json", "runs", "list"], ["runs", "-o", "json", "list"], ["runs", "list", "-o", "json"]]
)
def test_global_options_stand_before_or_after_the_verb(words: list[str]) -> None:
    result = zart(*words)
    assert result.exit_code == 2
    assert json.loads(result.stderr)["code"] == "ZART-C001"


def test_the_later_of_two_options_wins() -> None:
    assert zart("-o", "json", "runs", "list", "-o", "table").stderr.startswith("zart: no database was given")


def test_an_error_is_text_on_stderr_and_nothing_on_stdout() -> None:
    result = zart("runs", "list")
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["runs", "wait", "x", "--timeout", "abc"], "'abc' at column 1: expected a number with a unit"),
        (["runs", "start", "x", "-d", "{bad"], "-d is not JSON"),
        (["runs", "start", "x", "-d", "@missing.json"], "cannot read missing.json"),
        (["runs", "start", "x", "--tag", "a"], "not of the form name=value"),
        (["runs", "start", "x", "--timeout", "5s"], "goes with --wait"),
        (["runs", "list", "--state", "done"], "'done' is not one of"),
        (["runs", "list", "--since", "soon"], "neither a time"),
        (["runs", "list", "--limit", "0"], "greater than or equal to 1"),
        (["runs", "show"], "Missing argument 'ID'"),
        (["runs", "show", "x", "--bogus"], "No such option: --bogus"),
        (["runs", "shwo"], "No such command 'shwo'"),
        (["-o", "xml", "runs", "list"], "'xml' is not one of"),
        (["worker"], "Missing argument 'MODULE...'"),
        (["worker", "flows", "--lease", "0"], "at column 2: expected a unit"),
        (["worker", "flows", "--lease", "10ms"], "lease"),
        (["worker", "my_missing_flows"], "there is no module 'my_missing_flows'"),
        (
            ["migrate", "--to", "base", "--database-url", "postgresql://nobody@127.0.0.1:1/x"],
            "removes every table",
        ),
    ],
)
def test_what_makes_no_sense_is_a_usage_error_in_two_lines(words: list[str], told: str) -> None:
    result = zart(*words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert 1 <= result.stderr.count("\n") <= 2


def test_a_usage_error_with_json_output_is_one_problem_object() -> None:
    for words in (
        ["runs", "show", "-o", "json"],
        ["-o", "json", "runs", "show"],
        ["--output=json", "runs", "nope"],
        ["-ojson", "runs", "show"],
    ):
        problem = json.loads(zart(*words).stderr)
        assert problem["exit_code"] == 2
        assert problem["status"] == 400


def test_no_words_at_all_show_the_help() -> None:
    result = zart()
    assert "runs" in result.output
    assert "Traceback" not in result.output


def test_a_noun_alone_shows_its_help_and_no_error() -> None:
    result = zart("runs")
    assert result.exit_code == 2
    assert "Usage: zart runs" in result.stdout
    assert result.stderr == ""
