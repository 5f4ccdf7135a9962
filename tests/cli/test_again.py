"""Running executions again from the command line."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.conftest import Zart, data
from tests.cli.test_runs import until, waiting_order


def runs(zart: Zart, name: str) -> list[tuple[int, str]]:
    items = data(zart("runs", "list", "--execution", name, "-o", "json"))
    return [(item["run_index"], item["state"]) for item in items]


def add(zart: Zart, name: str) -> None:
    assert zart("runs", "start", "add", "--id", name, "-d", '{"a": 1}', "--wait").stdout == "3\n"


def test_restart_says_which_run_it_is_in_now(zart: Zart) -> None:
    waiting_order(zart, "anew")
    result = zart("runs", "restart", "anew", "--reason", "prices were wrong")
    assert result.exit_code == 0
    assert result.stdout in ("anew is scheduled, in run 1\n", "anew is running, in run 1\n")
    until(zart, "anew", "waiting")
    assert runs(zart, "anew") == [(0, "cancelled"), (1, "waiting")]
    record = data(zart("runs", "restart", "anew", "-o", "json"))
    assert (record["execution_id"], record["run_index"]) == ("anew", 2)
    assert zart("runs", "restart", "nobody").exit_code == 4


def test_the_list_shows_the_current_runs_unless_all_are_asked_for(zart: Zart) -> None:
    add(zart, "listed-all")
    zart("runs", "restart", "listed-all")
    zart("runs", "wait", "listed-all")
    words = ("runs", "list", "--search", "listed-all", "-o", "json")
    assert [item["run_index"] for item in data(zart(*words))] == [1]
    assert [item["run_index"] for item in data(zart(*words, "--all"))] == [1, 0]


def test_start_may_restart_or_refuse_what_is_there(zart: Zart) -> None:
    add(zart, "there")
    words = ("runs", "start", "add", "--id", "there", "--on-conflict")
    again = zart(*words, "restart", "-d", '{"a": 40}', "--wait")
    assert (again.exit_code, again.stdout) == (0, "42\n")
    assert "there existed already and begins again, with run 1" in again.stderr
    assert zart(*words, "reject", "-d", '{"a": 40}').exit_code == 5
    assert zart(*words, "explode").exit_code == 2


def test_rerun_tells_what_is_kept_after_a_step_that_runs_again(zart: Zart) -> None:
    waiting_order(zart, "partly")
    zart("events", "send", "partly", "shipped", "-d", '{"tracking_number": "T"}')
    zart("runs", "wait", "partly", "--timeout", "20s")
    result = zart("runs", "rerun", "partly", "--steps", "p?y")
    assert result.exit_code == 0
    assert result.stdout.endswith("in run 1\n")
    assert result.stderr == "kept, though they came after a step that runs again: shipped\n"
    zart("runs", "wait", "partly", "--timeout", "20s")
    unknown = zart("runs", "rerun", "partly", "--keep", "nope*")
    assert unknown.exit_code == 2
    assert "'pay', 'shipped'" in unknown.stderr


def test_fork_prints_the_new_id(zart: Zart) -> None:
    waiting_order(zart, "source")
    words = ("runs", "fork", "source", "--from", "shipped")
    assert zart(*words, "--id", "branch").stdout == "branch\n"
    until(zart, "branch", "waiting")
    other = json.dumps({"order_id": "other", "amount": 2})
    made = zart(*words, "-d", other).stdout.strip()
    details: dict[str, Any] = data(zart("runs", "show", made, "-o", "json"))
    assert details["input"] in ({"order": {"order_id": "other", "amount": 2}}, json.loads(other))
    assert zart(*words, "--id", "branch").exit_code == 5
    assert zart("runs", "fork", "source", "--from", "nope").exit_code == 2
    assert zart("runs", "fork", "source").exit_code == 2


def test_retry_step_opens_a_failed_run_again(zart: Zart) -> None:
    order = json.dumps({"order_id": "poor", "amount": 5000})
    zart("runs", "start", "order", "--id", "poor", "-d", order)
    assert zart("runs", "wait", "poor", "--timeout", "20s").exit_code == 10
    result = zart("runs", "retry-step", "poor", "--reason", "funds came")
    assert result.exit_code == 0
    assert result.stdout.endswith("in run 0\n")
    assert zart("runs", "wait", "poor", "--timeout", "20s").exit_code == 10
    assert zart("runs", "retry-step", "poor", "--step", "nope").exit_code == 2
    add(zart, "fine")
    refused = zart("runs", "retry-step", "fine", "-o", "json")
    assert (refused.exit_code, json.loads(refused.stderr)["code"]) == (5, "ZART-E008")
