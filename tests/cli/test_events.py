"""Sending events from the command line."""

from pathlib import Path

from tests.cli.conftest import Zart, data
from tests.cli.test_runs import until, waiting_order

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
    assert (
        zart("runs", "events", name, "-o", "json").stdout == zart("events", "list", name, "-o", "json").stdout
    )


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


def test_a_broadcast_carries_on_all_who_wait_for_its_key(zart: Zart) -> None:
    for name, sku in (("w1", "s1"), ("w2", "s1"), ("w3", "s2")):
        zart("runs", "start", "watch", "--id", name, "-d", f'"{sku}"')
        until(zart, name, "waiting")
    told = zart("events", "broadcast", "price", "--key", "s1", "-d", "2.5").stdout
    assert "was accepted; 2 waits had it at once" in told
    assert [data(zart("runs", "wait", name, "--timeout", "20s")) for name in ("w1", "w2")] == [2.5, 2.5]
    assert "1 wait had it" in zart("events", "broadcast", "price", "--key", "s2", "-d", "1").stdout
    assert "no waits had it" in zart("events", "broadcast", "price", "--key", "s2", "-d", "1").stdout
    listed = zart("events", "list", "w1").stdout
    assert "KEY" in listed
    assert "s1" in listed
    (event,) = data(zart("events", "list", "w1", "-o", "json"))
    assert (event["key"], event["payload"], event["consumed_by"]) == ("s1", 2.5, "price")


def test_a_broadcast_may_be_retained_and_have_a_key_of_its_sender(zart: Zart) -> None:
    words = ("events", "broadcast", "price", "--key", "s3", "--retain", "1h", "--idempotency-key", "k", "-d")
    first = data(zart(*words, "4", "-o", "json"))
    assert data(zart(*words, "4", "-o", "json")) == {**first, "duplicate": True}
    assert "was accepted before" in zart(*words, "4").stdout
    assert zart(*words, "5").exit_code == 5
    zart("runs", "start", "watch", "--id", "w4", "-d", '"s3"')
    assert data(zart("runs", "wait", "w4", "--timeout", "20s")) == 4


def test_a_broadcast_without_a_key_or_with_a_payload_that_is_not_utf8_sends_nothing(
    zart: Zart, tmp_path: Path
) -> None:
    assert zart("events", "broadcast", "price").exit_code == 2
    (tmp_path / "bad.json").write_bytes(b'"\xff"')
    assert zart("events", "broadcast", "price", "--key", "k", "-d", f"@{tmp_path}/bad.json").exit_code == 2
