"""Who may use the API."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import Request

from zart_api.auth import Guard, KeyRing
from zart_api.problems import RefusedError
from zart_core.errors import ConfigurationError

pytestmark = pytest.mark.anyio

KEY, OTHER = "zk_0123456789abcdef", "zk_fedcba9876543210"


def request(method: str = "GET", query: str = "", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(
        {
            "type": "http",
            "method": method,
            "path": "/v1/executions",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
        }
    )


async def refusal(guard: Guard, asked: Request) -> tuple[int, Mapping[str, str]]:
    with pytest.raises(RefusedError) as refused:
        await guard.admit(asked)
    return refused.value.status, refused.value.headers


@pytest.mark.parametrize("key", [KEY, OTHER])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_each_key_opens(key: str, scheme: str) -> None:
    await Guard(KeyRing.parse(f"{KEY},{OTHER}")).admit(request(authorization=f"{scheme} {key}"))


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        "Bearer ",
        "Bearer",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY},{OTHER}",
        "Bearer k\xe9y",
    ],
)
async def test_anything_else_is_401_and_told_how(header: str) -> None:
    status, headers = await refusal(Guard(KeyRing.parse(f"{KEY},{OTHER}")), request(authorization=header))
    assert status == 401
    assert headers["WWW-Authenticate"] == 'Bearer realm="zart", error="invalid_token"'


async def test_no_key_is_401_also_when_it_is_in_the_query() -> None:
    guard = Guard(KeyRing.parse(KEY))
    for query in ("", f"key={KEY}", f"access_token={KEY}", f"authorization=Bearer%20{KEY}"):
        status, headers = await refusal(guard, request(query=query))
        assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="zart"')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{KEY}\n", "white space or a control character"),
        (f"{KEY}, {OTHER}", "key 2 of ZART_API_KEYS holds white space"),
        (f"{KEY}\x00", "control character"),
        (f"{KEY}\x7f", "control character"),
        (f"{KEY},", "key 2 of ZART_API_KEYS is empty"),
        (",", "key 1 of ZART_API_KEYS is empty"),
        (" ", "white space"),
        ("zk_schlüssel_schlüssel", "outside ASCII"),
    ],
)
def test_what_cannot_be_a_key_is_an_error_at_the_start_that_does_not_show_it(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as refused:
        KeyRing.parse(text)
    assert KEY not in str(refused.value)


def test_a_short_key_is_taken_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert KeyRing.parse("zk_short").opens("zk_short")
    assert "key 1 of ZART_API_KEYS is shorter than 16 characters" in caplog.text
    assert "zk_short" not in caplog.text


def test_keys_are_kept_as_hashes_only() -> None:
    ring = KeyRing.parse(KEY)
    assert KEY not in repr(ring)
    assert KEY.encode() not in b"".join(ring._hashes)


async def test_an_empty_setting_means_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_API_KEYS", "")
    guard = Guard.from_environment()
    assert guard.is_open
    await guard.admit(request())


@pytest.mark.parametrize("verdict", [False, None, 1, "yes"])
async def test_only_true_from_authenticate_lets_pass(verdict: Any) -> None:
    async def later(_: Request) -> Any:
        return verdict

    for check in (lambda _: verdict, later):
        assert (await refusal(Guard(KeyRing.parse(""), check), request()))[0] == 401


async def test_authenticate_may_be_sync_or_async_and_takes_the_place_of_keys() -> None:
    async def later(_: Request) -> bool:
        return True

    for check in (lambda _: True, later):
        await Guard(KeyRing.parse(KEY), check).admit(request())


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "https://evil.example", "host": "127.0.0.1:8080"},
        {"origin": "null", "host": "127.0.0.1:8080"},
        {"origin": "http://[", "host": "127.0.0.1:8080"},
    ],
)
async def test_pages_of_other_sites_cannot_change_anything(headers: dict[str, str]) -> None:
    guard = Guard(KeyRing.parse(""))
    assert (await refusal(guard, request("POST", **headers)))[0] == 403
    await guard.admit(request("GET", **headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://127.0.0.1:8080", "host": "127.0.0.1:8080"},
    ],
)
async def test_own_pages_and_programs_can(headers: dict[str, str]) -> None:
    await Guard(KeyRing.parse("")).admit(request("POST", **headers))


@pytest.mark.parametrize("host", ["evil.example:8080", "", "[", "127.0.0.1.evil.example"])
async def test_a_name_pointed_at_this_machine_does_not_open_an_api_without_keys(host: str) -> None:
    guard = Guard(KeyRing.parse(""), hosts=frozenset({"localhost", "127.0.0.1", "::1"}))
    assert (await refusal(guard, request(host=host)))[0] == 403
    for local in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
        await guard.admit(request(host=local))
