"""Where the API may listen."""

from __future__ import annotations

import socket

import pytest

from zart_api import listening
from zart_api.auth import Guard, KeyRing
from zart_core.errors import ConfigurationError

OPEN = Guard(KeyRing.parse(""))
KEYED = Guard(KeyRing.parse("zk_0123456789abcdef"))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZART_API_HOST", "ZART_API_PORT"):
        monkeypatch.delenv(name, raising=False)


def at(host: str) -> list[listening.Address]:
    return listening.addresses(host, 0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_loopback_it_refuses_without_keys_and_says_the_remedies(host: str) -> None:
    with pytest.raises(ConfigurationError, match="without keys") as refused:
        listening.guarded(OPEN, at(host), insecure=False)
    for remedy in (host, "ZART_API_KEYS", "127.0.0.1", "--insecure"):
        assert remedy in str(refused.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_loopback_it_takes_keys_or_a_check_or_insecure(host: str) -> None:
    checked = Guard(KeyRing.parse(""), authenticate=lambda _: True)
    assert listening.guarded(KEYED, at(host), insecure=False) is KEYED
    assert listening.guarded(checked, at(host), insecure=False) is checked
    assert listening.guarded(OPEN, at(host), insecure=True) is OPEN


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_at_loopback_without_keys_it_answers_to_local_names_only(host: str) -> None:
    hosts = listening.guarded(OPEN, at(host), insecure=False).hosts
    assert hosts is not None
    assert {"localhost", "127.0.0.1", "::1"} <= hosts
    assert listening.guarded(KEYED, at(host), insecure=False).hosts is None


def test_one_address_beyond_loopback_is_enough_to_refuse() -> None:
    with pytest.raises(ConfigurationError):
        listening.guarded(OPEN, [*at("127.0.0.1"), *at("192.0.2.1")], insecure=False)


def test_host_and_port_come_from_the_environment_if_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listening.addresses(None, None)[0][1][:2] == ("127.0.0.1", 8080)
    monkeypatch.setenv("ZART_API_HOST", "127.0.0.2")
    monkeypatch.setenv("ZART_API_PORT", "9")
    assert listening.addresses(None, None)[0][1][:2] == ("127.0.0.2", 9)
    assert listening.addresses("127.0.0.3", 7)[0][1][:2] == ("127.0.0.3", 7)


@pytest.mark.parametrize("port", ["http", "-1", "65536", "8080 "])
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("ZART_API_PORT", port)
    with pytest.raises(ConfigurationError, match="ZART_API_PORT is"):
        listening.addresses(None, None)


def test_a_host_that_has_no_address_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen at no\.such\.host\.invalid"):
        listening.addresses("no.such.host.invalid", 0)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(
                ConfigurationError, match=f"cannot listen at 127.0.0.1, port {port}: Address already in use"
            ),
            listening.bound(listening.addresses("127.0.0.1", port)),
        ):
            pass


def test_a_free_port_is_the_same_for_all_addresses_and_in_the_url() -> None:
    with listening.bound([*at("127.0.0.1"), *at("127.0.0.2")]) as sockets:
        ports = {each.getsockname()[1] for each in sockets}
        assert listening.url_of(sockets[0]) == f"http://127.0.0.1:{ports.pop()}"
        assert not ports


def test_the_url_of_all_addresses_names_this_machine() -> None:
    with listening.bound(at("0.0.0.0")) as (listener,):
        assert listening.url_of(listener).startswith("http://127.0.0.1:")
