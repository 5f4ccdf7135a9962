"""The app as a whole: keys, problems, probes, mounting."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import FastAPI, Request
from tests.support.database import with_database
from tests.support.problems import problem

from zart_api import create_app
from zart_core import ConfigurationError
from zart_scheduler import Client
from zart_scheduler.database import SCHEMA_REVISION

pytestmark = pytest.mark.anyio

KEY = "zk_0123456789abcdef"
BEARER = {"Authorization": f"Bearer {KEY}"}
Asking = Callable[[FastAPI], httpx2.AsyncClient]


async def test_with_keys_everything_under_v1_needs_one_and_nothing_else_does(
    client: Client, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_API_KEYS", KEY)
    async with asking(create_app(client=client)) as http:
        for method, path in (
            ("GET", "/v1/executions"),
            ("POST", "/v1/executions"),
            ("GET", "/v1/executions/e"),
            ("GET", "/v1/executions/e/result"),
            ("POST", "/v1/executions/e/events/n"),
            ("POST", "/v1/executions/e/cancel"),
            ("POST", "/v1/executions/e/unblock"),
            ("GET", "/v1/workflows"),
            ("GET", f"/v1/workflows?key={KEY}&access_token={KEY}"),
        ):
            answer = await http.request(method, path)
            problem(answer, 401, "ZART-H401")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        problem(await http.get("/v1/workflows", headers={"Authorization": "Bearer wrong"}), 401)
        assert (await http.get("/v1/workflows", headers=BEARER)).status_code == 200
        for path in ("/livez", "/readyz", "/openapi.json", "/docs"):
            assert (await http.get(path)).status_code == 200


def test_a_key_with_a_newline_is_an_error_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_API_KEYS", f"{KEY}\n")
    with pytest.raises(ConfigurationError, match="ZART_API_KEYS"):
        create_app()


async def test_the_hosts_own_check_decides_in_place_of_keys(client: Client, asking: Asking) -> None:
    async def check(request: Request) -> bool:
        return request.headers.get("x-user") == "ada"

    async with asking(create_app(client=client, authenticate=check)) as http:
        problem(await http.get("/v1/workflows"), 401)
        assert (await http.get("/v1/workflows", headers={"X-User": "ada"})).status_code == 200


async def test_what_is_not_there_and_what_is_not_taken_are_problems(http: httpx2.AsyncClient) -> None:
    for path in (
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/executions/",
        "/v1/executions/a/b",
        "/v1/executions//result",
        "/livez/",
    ):
        problem(await http.get(path), 404, "ZART-H404")
    for method, path, allowed in (
        ("DELETE", "/v1/executions", "GET, POST, HEAD"),
        ("PUT", "/v1/executions/a%2Fb", "GET, HEAD"),
        ("GET", "/v1/executions/e/events/n", "POST"),
        ("OPTIONS", "/livez", "GET, HEAD"),
    ):
        answer = await http.request(method, path)
        problem(answer, 405, "ZART-H405")
        assert answer.headers["allow"] == allowed


async def test_a_fault_of_the_server_shows_a_correlation_id_and_no_more(
    client: Client, asking: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    def check(request: Request) -> bool:
        raise RuntimeError("the secret cause")

    async with asking(create_app(client=client, authenticate=check)) as http:
        answer = await http.get("/v1/workflows")
    body = problem(answer, 500, "ZART-H500")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert f"correlation id {body['correlation_id']}" in caplog.text
    assert "the secret cause" in caplog.text


async def test_each_request_is_logged_without_its_query(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="zart_api.requests"):
        await http.get("/v1/executions/a%2Fb?token=secret")
    (record,) = [each for each in caplog.records if each.name == "zart_api.requests"]
    assert record.getMessage().startswith("GET /v1/executions/a%2Fb 404 ")
    assert "secret" not in caplog.text


async def test_answers_cannot_be_sniffed_framed_or_kept_and_no_other_origin_may_read_them(
    http: httpx2.AsyncClient,
) -> None:
    for path in ("/v1/executions", "/v1/executions/none", "/docs", "/livez"):
        headers = (await http.get(path, headers={"Origin": "https://evil.example"})).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


async def test_head_answers_as_get_without_the_body(http: httpx2.AsyncClient) -> None:
    for path in ("/livez", "/v1/executions", "/v1/executions/none"):
        got, head = await http.get(path), await http.head(path)
        assert head.status_code == got.status_code
        assert head.content == b""
        assert head.headers["content-length"] == got.headers["content-length"]


async def test_it_is_ready_when_the_database_has_its_schema(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/livez")).json() == {"status": "ok"}
    assert (await http.get("/readyz")).json() == {"status": "ok"}


async def test_it_lives_but_is_not_ready_while_the_schema_is_behind(
    empty_database_url: str, asking: Asking
) -> None:
    app = create_app(database_url=empty_database_url)
    async with app.router.lifespan_context(app), asking(app) as http:
        assert (await http.get("/livez")).status_code == 200
        answer = await http.get("/readyz")
        assert "zart migrate" in problem(answer, 503, "ZART-C005")["detail"]
        assert answer.headers["retry-after"]
        problem(await http.get("/v1/executions"), 503, "ZART-C005")


async def test_nothing_is_served_from_an_outdated_schema_and_all_once_it_is_migrated(
    database_url: str, asking: Asking
) -> None:
    def stamp(revision: str) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("UPDATE zart_schema_version SET version_num = %s", (revision,))

    stamp("0000")
    app = create_app(database_url=database_url)
    async with app.router.lifespan_context(app), asking(app) as http:
        for path in ("/readyz", "/v1/executions"):
            assert "zart migrate" in problem(await http.get(path), 503, "ZART-C005")["detail"]
        stamp(SCHEMA_REVISION)
        assert (await http.get("/v1/executions")).status_code == 200


async def test_it_lives_but_is_not_ready_while_it_stops(http: httpx2.AsyncClient, app: FastAPI) -> None:
    app.state.zart.draining.set()
    assert (await http.get("/livez")).status_code == 200
    assert "stopping" in problem(await http.get("/readyz"), 503)["detail"]


async def test_it_waits_for_a_database_that_is_not_there_yet(
    server_url: str, database_url: str, asking: Asking
) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    later = with_database(server_url, f"{name}_later")
    app = create_app(database_url=later)
    async with app.router.lifespan_context(app), asking(app) as http:
        assert (await http.get("/livez")).status_code == 200
        answer = await http.get("/readyz")
        problem(answer, 503, "ZART-X002")
        assert f"{name}_later" not in answer.text, "anyone may ask: where the database is stays in the log"
        problem(await http.get("/v1/executions"), 503, "ZART-X002")
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" RENAME TO "{name}_later"'.encode())
        try:
            assert (await http.get("/readyz")).status_code == 200
            assert (await http.get("/v1/executions")).status_code == 200
        finally:
            await app.state.zart.connection.close()
            with psycopg.connect(server_url, autocommit=True) as connection:
                connection.execute(f'ALTER DATABASE "{name}_later" RENAME TO "{name}"'.encode())


async def test_without_any_database_url_it_does_not_start() -> None:
    app = create_app()
    with pytest.raises(ConfigurationError, match="ZART_DATABASE_URL"):
        async with app.router.lifespan_context(app):
            pass


async def test_mounted_it_opens_with_the_first_request_and_knows_where_it_is(
    database_url: str, asking: Asking, registered: None
) -> None:
    own = create_app(database_url=database_url)
    host = FastAPI()
    host.mount("/durable", own)
    async with asking(host) as http:
        body = {"workflow": "fulfil", "input": {"order_id": "A", "amount": 1}, "execution_id": "a/b"}
        started = await http.post("/durable/v1/executions", json=body)
        assert (started.status_code, started.headers["location"]) == (201, "/durable/v1/executions/a%2Fb")
        assert (await http.get("/durable/v1/executions/a%2Fb/result")).status_code == 202
        missing = problem(await http.get("/durable/v1/executions/no%2Fone"), 404)
        assert missing["instance"] == "/durable/v1/executions/no%2Fone"
        assert (await http.get("/durable/openapi.json")).json()["servers"] == [{"url": "/durable"}]
        assert (await http.get("/durable/readyz")).status_code == 200
    await own.state.zart.connection.close()


async def test_a_prefix_stands_before_every_path(client: Client, asking: Asking, registered: None) -> None:
    async with asking(create_app(client=client, prefix="/zart")) as http:
        body = {"workflow": "fulfil", "input": {"order_id": "A", "amount": 1}, "execution_id": "e"}
        started = await http.post("/zart/v1/executions", json=body)
        assert started.headers["location"] == "/zart/v1/executions/e"
        assert (await http.get("/zart/v1/executions/e")).status_code == 200
        for path in ("/zart/livez", "/zart/readyz", "/zart/docs", "/zart/openapi.json"):
            assert (await http.get(path)).status_code == 200
        problem(await http.get("/v1/executions"), 404)
        document: dict[str, Any] = (await http.get("/zart/openapi.json")).json()
        assert all(path.startswith("/zart/") for path in document["paths"])


async def test_a_client_that_was_given_stays_open(client: Client, asking: Asking) -> None:
    app = create_app(client=client)
    async with app.router.lifespan_context(app), asking(app) as http:
        assert (await http.get("/v1/workflows")).status_code == 200
    assert await client.workflows() == []
