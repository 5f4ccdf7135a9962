"""Starting, seeing and ending executions from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Zart, data
from tests.support.histories import block

ORDER = '{"order_id": "1", "amount": 12.5}'


def waiting_order(zart: Zart, name: str) -> str:
    """Start an order and wait until it waits for its shipment."""
    order = json.dumps({"order_id": name, "amount": 1})
    assert zart("runs", "start", "order", "--id", name, "-d", order).exit_code == 0
    until(zart, name, "waiting")
    return name


def until(zart: Zart, name: str, state: str) -> dict[str, Any]:
    for _ in range(200):
        details: dict[str, Any] = data(zart("runs", "show", name, "-o", "json"))
        if details["state"] == state:
            return details
    raise AssertionError(f"{name} is {details['state']}, not {state}")


def test_start_prints_the_id_and_nothing_else(zart: Zart) -> None:
    result = zart("runs", "start", "add", "-d", '{"a": 1}', "--id", "just-an-id")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "just-an-id\n", "")


def test_start_with_json_prints_the_record(zart: Zart) -> None:
    record = data(
        zart("-o", "json", "runs", "start", "add", "-d", '{"a": 1}', "--tag", "k=v", "--queue", "slow")
    )
    assert record["workflow"] == "add"
    assert record["tags"] == {"k": "v"}
    assert record["queue"] == "slow"
    assert record["run_index"] == 0


def test_starting_the_same_id_again_returns_it_and_another_input_is_a_conflict(zart: Zart) -> None:
    words = ("runs", "start", "add", "--id", "twice", "-d")
    assert zart(*words, '{"a": 1}').exit_code == 0
    again = zart(*words, '{"a": 1}')
    assert (again.exit_code, again.stdout) == (0, "twice\n")
    assert "exists already" in again.stderr
    other = zart(*words, '{"a": 2}')
    assert other.exit_code == 5
    assert "zart runs show twice" in other.stderr


def test_start_wait_prints_the_result(zart: Zart) -> None:
    result = zart("runs", "start", "add", "--id", "sum", "-d", '{"a": 40}', "--wait", "--timeout", "20s")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "42\n", "started sum\n")


def test_input_comes_from_a_file_or_from_stdin(zart: Zart, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"a": 1, "b": 1}')
    assert zart("runs", "start", "add", "-d", f"@{tmp_path}/in.json", "--wait").stdout == "2\n"
    assert zart("runs", "start", "add", "-d", "-", "--wait", input='{"a": 2, "b": 1}').stdout == "3\n"


def test_an_unknown_workflow_is_told_with_the_registered_ones_and_nothing_starts(zart: Zart) -> None:
    result = zart("runs", "start", "oder", "--id", "misspelt", "-d", ORDER)
    assert result.exit_code == 4
    assert "known: add, batch, nap, order" in result.stderr
    assert zart("runs", "show", "misspelt").exit_code == 4


def test_allow_unknown_starts_it_and_show_says_that_no_worker_has_it(zart: Zart) -> None:
    assert (
        zart("runs", "start", "later", "--id", "unknown", "--allow-unknown", "-d", '{"x": 1}').exit_code == 0
    )
    text = zart("runs", "show", "unknown").stdout
    assert "waits for  a worker that has later" in text
    assert "zart worker MODULE" in text


@pytest.mark.parametrize(
    ("input", "path"),
    [
        ('{"order_id": "1"}', "order.amount"),
        ('{"order_id": 1, "amount": 1}', "order.order_id"),
        ("[]", "order"),
    ],
)
def test_input_of_the_wrong_shape_names_the_field_and_starts_nothing(
    zart: Zart, input: str, path: str
) -> None:
    result = zart("runs", "start", "order", "--id", "misshapen", "-d", input)
    assert result.exit_code == 2
    assert f"zart: {path}: " in result.stderr
    assert zart("runs", "show", "misshapen").exit_code == 4


@pytest.mark.parametrize("name", ["", "x" * 256, "a~b", "a\nb"])
def test_an_impossible_id_is_a_usage_error(zart: Zart, name: str) -> None:
    assert zart("runs", "start", "add", "--id", name, "-d", '{"a": 1}').exit_code == 2


def test_show_says_what_a_run_waits_for_and_what_happened(zart: Zart) -> None:
    text = zart("runs", "show", waiting_order(zart, "shown")).stdout
    assert text.startswith("shown  order (version 1)  waiting\n")
    assert "waits for  event shipped, times out in 59m" in text or "times out in 1h" in text
    assert "attempt 1: ConnectionError: gateway is busy" in text
    assert "next: zart events send shown shipped" in text


def test_wait_exits_by_the_outcome(zart: Zart) -> None:
    zart("runs", "start", "order", "--id", "declined", "-d", '{"order_id": "d", "amount": 5000}')
    failed = zart("runs", "wait", "declined", "--timeout", "20s")
    assert (failed.exit_code, failed.stdout) == (10, "")
    assert "CardDeclined: limit exceeded" in failed.stderr
    assert "zart runs show declined" in failed.stderr
    zart("runs", "start", "nap", "--id", "cancelled")
    zart("runs", "cancel", "cancelled")
    assert zart("runs", "wait", "cancelled", "--timeout", "20s").exit_code == 11
    zart("runs", "start", "nap", "--id", "patient")
    timed_out = zart("runs", "wait", "patient", "--timeout", "10ms")
    assert timed_out.exit_code == 124
    assert "it goes on" in timed_out.stderr
    assert zart("runs", "wait", "nobody").exit_code == 4


def test_result_does_not_wait(zart: Zart) -> None:
    zart("runs", "start", "nap", "--id", "unfinished")
    result = zart("runs", "result", "unfinished")
    assert result.exit_code == 124
    assert "has not ended yet" in result.stderr
    zart("runs", "start", "add", "--id", "finished", "-d", '{"a": 1}', "--wait")
    assert zart("runs", "result", "finished").stdout == "3\n"


def test_a_failed_run_shows_the_users_lines_only(zart: Zart) -> None:
    zart("runs", "start", "order", "--id", "broken", "-d", '{"order_id": "b", "amount": 5000}')
    zart("runs", "wait", "broken", "--timeout", "20s")
    text = zart("runs", "show", "broken").stdout
    assert "in step pay:" in text
    assert 'raise CardDeclined("limit exceeded")' in text
    assert "txn = await pay(order.order_id, order.amount)" in text
    assert "zart_core" not in text


def test_steps_and_events_are_lists(zart: Zart) -> None:
    waiting_order(zart, "listed")
    (pay, wait) = data(zart("runs", "steps", "listed", "-o", "json"))
    assert (pay["name"], pay["kind"], pay["attempt"], pay["state"]) == ("pay", "step", 2, "completed")
    assert (wait["name"], wait["kind"], wait["state"]) == ("shipped", "event", "waiting")
    assert zart("runs", "steps", "listed", "-o", "id").stdout == "pay\nshipped\n"
    assert data(zart("runs", "events", "listed", "-o", "json")) == []


def test_list_filters_and_pages(zart: Zart) -> None:
    for number in range(3):
        zart("runs", "start", "add", "--id", f"page-{number}", "-d", '{"a": 1}', "--tag", "page=yes")
    found = zart("runs", "list", "--tag", "page=yes", "-o", "id", "--limit", "2")
    assert found.stdout == "page-2\npage-1\n"
    cursor = found.stderr.split("--cursor ")[1].strip()
    assert zart("runs", "list", "--tag", "page=yes", "-o", "id", "--cursor", cursor).stdout == "page-0\n"
    assert zart("runs", "list", "--search", "page-1", "-o", "id").stdout == "page-1\n"
    assert zart("runs", "list", "--search", "page-", "--until", "1h", "-o", "json").stdout == "[]\n"
    assert zart("runs", "list", "--execution", "page-1", "-o", "id").stdout == "page-1\n"
    both = zart("runs", "list", "--execution", "page-1", "--state", "failed")
    assert (both.exit_code, "goes alone" in both.stderr) == (2, True)
    assert "'bogus' is not one of 'scheduled'" in zart("runs", "list", "--state", "bogus").stderr
    assert zart("runs", "list", "--cursor", "nonsense").exit_code == 2


def test_an_empty_list_says_so_on_stderr(zart: Zart) -> None:
    result = zart("runs", "list", "--workflow", "nobody-has-it")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no runs match" in result.stderr


def test_the_same_record_in_every_format(zart: Zart) -> None:
    zart("runs", "start", "add", "--id", "format", "-d", '{"a": 1}', "--wait")
    words = ("runs", "list", "--execution", "format")
    assert data(zart(*words, "-o", "json")) == [json.loads(zart(*words, "-o", "jsonl").stdout)]
    assert "execution_id: format\n" in zart(*words, "-o", "yaml").stdout
    assert zart(*words).stdout.splitlines()[0].startswith("EXECUTION  WORKFLOW  STATE")
    assert "T" in zart(*words, "--time", "iso").stdout.splitlines()[1].split()[3]


def test_cancel_is_safe_to_repeat_and_refuses_what_has_ended(zart: Zart) -> None:
    zart("runs", "start", "nap", "--id", "tired")
    until(zart, "tired", "sleeping")
    for _ in range(2):
        result = zart("runs", "cancel", "tired", "--reason", "enough")
        assert (result.exit_code, result.stdout) == (0, "tired is cancelled\n")
    assert "enough" in zart("runs", "show", "tired").stdout
    zart("runs", "start", "add", "--id", "done", "-d", '{"a": 1}', "--wait")
    refused = zart("runs", "cancel", "done", "-o", "json")
    assert refused.exit_code == 5
    assert json.loads(refused.stderr)["instance"] == "/v1/executions/done"


def test_a_tree_shows_children_in_every_format_and_is_cancelled_as_a_whole(zart: Zart) -> None:
    zart("runs", "start", "batch", "--id", "tree", "-d", "[1, 2]")
    until(zart, "tree", "waiting")
    until(zart, "tree~/:nap#0", "sleeping")
    ids = ["tree", "tree~/:add#0", "tree~/:add#1", "tree~/:nap#0"]
    lines = zart("runs", "tree", "tree").stdout.splitlines()
    assert [line.split()[-4 if "completed" in line else -3 :][:3] for line in lines] == [
        ["tree", "batch", "waiting"],
        ["tree~/:add#0", "add", "completed"],
        ["tree~/:add#1", "add", "completed"],
        ["tree~/:nap#0", "nap", "sleeping"],
    ]
    assert zart("runs", "tree", "tree", "-o", "id").stdout.split() == ids
    found = data(zart("runs", "tree", "tree", "-o", "json"))
    assert [found["run"]["execution_id"], *(c["run"]["execution_id"] for c in found["children"])] == ids
    text = zart("runs", "show", "tree").stdout
    assert "waits for  child nap" in text
    assert "children   3" in text
    assert "next: zart runs tree tree" in text
    assert "parent     tree\n" in zart("runs", "show", "tree~/:nap#0").stdout
    assert zart("runs", "cancel", "tree").stdout == "tree is cancelled\n"
    assert data(zart("runs", "show", "tree~/:nap#0", "-o", "json"))["state"] == "cancelled"
    assert zart("runs", "tree", "no such tree").exit_code == 4


def test_a_blocked_run_leaves_with_12_and_goes_on_when_it_is_unblocked(zart: Zart, served: str) -> None:
    waiting_order(zart, "stuck")
    block(served, "stuck", "the code changed")
    for words in (("wait",), ("result",)):
        blocked = zart("runs", *words, "stuck")
        assert blocked.exit_code == 12
        assert "is blocked: the code changed" in blocked.stderr
        assert "`zart runs unblock stuck`" in blocked.stderr
    shown = zart("runs", "show", "stuck").stdout
    assert "ZART-D005: the code changed" in shown
    assert "repair: zart runs unblock stuck" in shown

    assert zart("runs", "unblock", "stuck", "--accept", "pay").exit_code == 2
    unknown = zart("runs", "unblock", "stuck", "--reset", "nothing")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "it has: pay" in unknown.stderr
    repaired = zart("runs", "unblock", "stuck", "--reset", "pay", "--reason", "charged by hand")
    assert (repaired.exit_code, repaired.stdout) == (0, "stuck tries again\n"), repaired.stderr
    zart("events", "send", "stuck", "shipped", "-d", '{"tracking_number": "T"}')
    assert data(zart("runs", "wait", "stuck"))["tracking"] == "T"
    assert zart("runs", "unblock", "stuck").exit_code == 5
    assert zart("runs", "unblock", "nobody").exit_code == 4


def test_watch_draws_until_the_end(zart: Zart) -> None:
    zart("runs", "start", "add", "--id", "watched", "-d", '{"a": 1}', "--wait")
    result = zart("runs", "watch", "watched")
    assert result.exit_code == 0
    assert "watched  add (version 1)  completed" in result.stdout


def test_a_list_is_not_watched_in_a_pipe(zart: Zart) -> None:
    assert zart("runs", "list", "--watch").exit_code == 2


def test_registered_workflows_are_listed_with_their_parameters(zart: Zart) -> None:
    text = zart("workflows", "list").stdout
    assert "add       1        a, b?" in text
    schemas = {
        found["workflow"]: found["input_schema"] for found in data(zart("workflows", "list", "-o", "json"))
    }
    assert schemas["order"]["required"] == ["order_id", "amount"]
