"""Bodies: what is read, what is refused, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from fastapi import FastAPI
from tests.support.problems import problem

from zart_api import bodies, create_app
from zart_scheduler import Client

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("registered")]

HERE = "/v1/executions/e/events/shipped"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def started(http: httpx2.AsyncClient, registered: None) -> None:
    body = {"workflow": "fulfil", "input": {"order_id": "A", "amount": 1}, "execution_id": "e"}
    assert (await http.post("/v1/executions", json=body)).status_code == 201


async def payloads(http: httpx2.AsyncClient) -> list[object]:
    events = (await http.get("/v1/executions/e/events?include=payloads")).json()["items"]
    return [event["payload"] for event in events]


@pytest.mark.usefixtures("started")
async def test_the_body_of_an_event_is_its_payload(http: httpx2.AsyncClient) -> None:
    sent = [
        '{"a": [1, 2.5, "\\u0000 ä"]}',
        "7",
        '"text"',
        "false",
        "null",
        "[]",
        "123456789012345678901234567890",
    ]
    for body in sent:
        assert (await http.post(HERE, content=body, headers=JSON)).status_code == 202
    big = 123456789012345678901234567890
    assert await payloads(http) == [{"a": [1, 2.5, "\0 ä"]}, 7, "text", False, None, [], big]


@pytest.mark.usefixtures("started")
async def test_an_empty_body_is_null_whatever_it_says_to_be(http: httpx2.AsyncClient) -> None:
    for headers in ({}, JSON, {"Content-Type": "text/plain"}):
        assert (await http.post(HERE, headers=headers)).status_code == 202
    assert await payloads(http) == [None, None, None]


@pytest.mark.usefixtures("started")
async def test_json_by_any_of_its_names_is_taken(http: httpx2.AsyncClient) -> None:
    for kind in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/cloudevents+json", None):
        assert (
            await http.post(HERE, content=b"1", headers={"Content-Type": kind} if kind else {})
        ).status_code == 202


@pytest.mark.usefixtures("started")
async def test_anything_but_json_is_415_and_told_what_to_send(http: httpx2.AsyncClient) -> None:
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "json",
        "text/json+x",
    ):
        for path in (HERE, "/v1/executions", "/v1/executions/e/cancel"):
            answer = await http.post(path, content=b'{"a":1}', headers={"Content-Type": kind})
            assert "Content-Type: application/json" in problem(answer, 415, "ZART-H415")["detail"]
    assert await payloads(http) == []


@pytest.mark.usefixtures("started")
async def test_what_is_not_json_is_400_and_recorded_nowhere(http: httpx2.AsyncClient) -> None:
    for body in (
        b"{",
        b"{'a': 1}",
        b"NaN",
        b"[Infinity]",
        b"1 2",
        b'"\xff"',
        b'"\\ud800"',
        b"[" * 5000,
        b" ",
        b"nul",
    ):
        for path in (HERE, "/v1/executions", "/v1/executions/e/cancel"):
            answer = await http.post(path, content=body, headers=JSON)
            assert "not valid JSON" in problem(answer, 400, "ZART-H400")["detail"]
    assert await payloads(http) == []


@pytest.mark.usefixtures("started")
async def test_a_body_beyond_the_limit_is_413_whether_or_not_it_tells_its_length(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "LIMIT", 1000)

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b" " * 100

    problem(await http.post(HERE, content=b" " * 1001, headers=JSON), 413, "ZART-H413")
    problem(await http.post(HERE, content=unannounced(), headers=JSON), 413, "ZART-H413")
    assert (await http.post(HERE, content=b"1" + b" " * 999, headers=JSON)).status_code == 202


@pytest.mark.usefixtures("started")
async def test_a_payload_beyond_zarts_limit_is_413(http: httpx2.AsyncClient) -> None:
    largest = b'"' + b"x" * (16 * 2**20 - 2) + b'"'
    assert (await http.post(HERE, content=largest, headers=JSON)).status_code == 202
    problem(await http.post(HERE, content=b" " + largest[:-1] + b'y"', headers=JSON), 413, "ZART-P003")
    assert len(await payloads(http)) == 1


async def test_the_body_must_be_an_object_where_one_is_asked_for(http: httpx2.AsyncClient) -> None:
    for body in (b"", b"null", b"[]", b"1"):
        refused = problem(await http.post("/v1/executions", content=body, headers=JSON), 422)
        assert "must be a JSON object" in refused["detail"]


async def test_without_a_key_nothing_of_the_body_is_looked_at(
    client: Client, asking: Callable[[FastAPI], httpx2.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_API_KEYS", "zk_0123456789abcdef")
    read: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"{"

    async with asking(create_app(client=client)) as http:
        problem(
            await http.post("/v1/executions", content=body(), headers={"Content-Type": "text/plain"}), 401
        )
    assert read == []
