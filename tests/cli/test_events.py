"""Sending events from the command line."""

from tests.cli.conftest import Zart, data
from tests.cli.test_runs import waiting_order

SHIPPED = '{"tracking_number": "T1"}'


def test_an_event_that_is_waited_for_carries_the_run_on(zart: Zart) -> None:
    name = waiting_order(zart, "awaited")
    sent = zart("events", "send", name, "shipped", "-d", SHIPPED)
    assert sent.exit_code == 0
    assert "goes on with it" in sent.stdout
    result = data(zart("runs", "wait", name, "--timeout", "20s"))
    assert result == {"txn": f"txn-{name}", "tracking": "T1"}


def test_an_event_nobody_waits_for_is_kept_and_says_so(zart: Zart) -> None:
    name = waiting_order(zart, "other-name")
    assert "nobody waits for it yet" in zart("events", "send", name, "unrelated").stdout
    (event,) = data(zart("events", "list", name, "-o", "json"))
    assert (event["name"], event["state"], event["payload"]) == ("unrelated", "pending", None)
    assert zart("runs", "events", name).stdout == zart("events", "list", name).stdout


def test_an_idempotency_key_counts_once_and_another_payload_is_a_conflict(zart: Zart) -> None:
    words = (
        "events",
        "send",
        waiting_order(zart, "keyed"),
        "note",
        "--idempotency-key",
        "k1",
        "-o",
        "json",
        "-d",
    )
    first = data(zart(*words, "1"))
    assert data(zart(*words, "1")) == {**first, "duplicate": True}
    assert zart(*words, "2").exit_code == 5


def test_an_event_for_an_unknown_execution_is_not_found(zart: Zart) -> None:
    result = zart("events", "send", "nobody", "shipped")
    assert result.exit_code == 4
    assert "no execution 'nobody'" in result.stderr


def test_an_event_for_a_finished_execution_is_a_conflict(zart: Zart) -> None:
    zart("runs", "start", "add", "--id", "over", "-d", '{"a": 1}', "--wait")
    result = zart("events", "send", "over", "shipped")
    assert result.exit_code == 5
    assert "zart runs show over" in result.stderr


def test_a_payload_that_is_not_json_sends_nothing(zart: Zart) -> None:
    assert zart("events", "send", "nobody", "shipped", "-d", "{bad").exit_code == 2
