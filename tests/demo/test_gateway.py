"""The payment gateway honours idempotency keys, and its ledger survives it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from examples.order_fulfillment import payments, settings
from examples.order_fulfillment.ledger import read_ledger
from examples.order_fulfillment.payments import Answer, GatewayUnavailable

_ROOT = Path(__file__).parents[2]
_CARDS = [
    {"order_id": "declined", "amount": 1.0, "card": {"declined": "stolen"}},
    {"order_id": "flaky", "amount": 1.0, "card": {"unavailable": 2}},
]
_PATIENCE = 30.0


class Gateway:
    """A gateway in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.ledger, self._port_file = directory / "ledger.jsonl", directory / "port"
        self._cards = directory / "cards.jsonl"
        self._cards.write_text("\n".join(json.dumps(card) for card in _CARDS))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        self._port_file.unlink(missing_ok=True)
        options = ("--ledger", self.ledger, "--cards", self._cards, "--port-file", self._port_file)
        command: list[str | Path] = [sys.executable, "-m", "examples.order_fulfillment.gateway", *options]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _PATIENCE
        while not self._port_file.exists():
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return f"http://127.0.0.1:{self._port_file.read_text().strip()}"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def told(self) -> list[tuple[str, int, str]]:
        return [(entry.order_id, entry.attempt, entry.outcome.value) for entry in read_ledger(self.ledger)]


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path)
    monkeypatch.setattr(settings, "GATEWAY_URL", gateway.start())
    yield gateway
    gateway.kill()


def test_a_repeated_key_gets_the_same_answer_and_no_second_charge(gateway: Gateway) -> None:
    first = payments.charge("a", 5.0, key="k")
    assert first.transaction_id
    assert payments.charge("a", 5.0, key="k") == first
    assert payments.charge("b", 5.0, key="other").transaction_id != first.transaction_id
    assert gateway.told() == [("a", 1, "charged"), ("a", 2, "repeated"), ("b", 1, "charged")]


def test_of_calls_with_one_key_at_once_one_charges(gateway: Gateway) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: payments.charge("a", 5.0, key="k"), range(8)))
    assert len(set(answers)) == 1
    assert sorted(outcome for _, _, outcome in gateway.told()) == ["charged", *["repeated"] * 7]


def test_a_declined_card_is_never_charged(gateway: Gateway) -> None:
    for _ in range(2):
        assert payments.charge("declined", 1.0, key="k") == Answer(declined="stolen")
    assert gateway.told() == [("declined", 1, "declined"), ("declined", 2, "repeated")]


def test_a_failing_call_decides_nothing(gateway: Gateway) -> None:
    for _ in range(2):
        with pytest.raises(GatewayUnavailable, match="503"):
            payments.charge("flaky", 1.0, key="k")
    assert payments.charge("flaky", 1.0, key="k").transaction_id
    assert [outcome for _, _, outcome in gateway.told()] == ["unavailable", "unavailable", "charged"]


@pytest.mark.parametrize(("key", "amount", "status"), [("", 5.0, 400), ("k", 6.0, 422)])
def test_a_call_without_a_key_or_with_anothers_charges_nothing(
    gateway: Gateway, key: str, amount: float, status: int
) -> None:
    payments.charge("a", 5.0, key="k")
    with pytest.raises(GatewayUnavailable, match=str(status)):
        payments.charge("a", amount, key=key)
    assert [outcome for _, _, outcome in gateway.told()].count("charged") == 1


def test_keys_are_known_after_the_gateway_was_killed_while_it_wrote(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = payments.charge("a", 5.0, key="k")
    gateway.kill()
    with gateway.ledger.open("a") as ledger:
        ledger.write('{"time": "20')
    monkeypatch.setattr(settings, "GATEWAY_URL", gateway.start())
    assert payments.charge("a", 5.0, key="k") == first
    assert gateway.told() == [("a", 1, "charged"), ("a", 2, "repeated")]


def test_without_an_answer_the_payment_is_unavailable(gateway: Gateway) -> None:
    gateway.kill()
    with pytest.raises(GatewayUnavailable, match="no answer from the gateway"):
        payments.charge("a", 5.0, key="k")
