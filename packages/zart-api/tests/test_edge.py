"""The outermost layer: what leaves it, whatever happens inside."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from zart_api.edge import Edge

pytestmark = pytest.mark.anyio

Inside = Callable[[Any, Any, Any], Awaitable[None]]


async def asked(inside: Inside, sent: list[Any], *, kind: str = "http", path: str = "/v1/x") -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
    await Edge(inside)(scope, receive, send)


async def test_an_error_becomes_a_problem_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def inside(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("the secret cause")

    sent: list[Any] = []
    await asked(inside, sent)
    start, body = sent
    shown = json.loads(body["body"])
    assert start["status"] == shown["status"] == 500
    assert "secret" not in body["body"].decode()
    assert shown["correlation_id"] in caplog.text
    assert "the secret cause" in caplog.text


async def test_an_error_in_the_middle_of_an_answer_goes_to_the_server_which_cuts_it() -> None:
    async def inside(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise LookupError("in the middle")

    sent: list[Any] = []
    with pytest.raises(LookupError):
        await asked(inside, sent)
    assert len(sent) == 1


async def test_a_client_that_hangs_up_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def inside(scope: Any, receive: Any, send: Any) -> None:
        raise ClientDisconnect

    sent: list[Any] = []
    with caplog.at_level(logging.INFO, logger="zart_api.requests"):
        await asked(inside, sent)
    assert sent == []
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert " 499 " in caplog.text


async def test_probes_are_logged_only_for_those_who_debug(caplog: pytest.LogCaptureFixture) -> None:
    async def inside(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    with caplog.at_level(logging.DEBUG, logger="zart_api.requests"):
        for path in ("/livez", "/zart/readyz", "/v1/executions"):
            await asked(inside, [], path=path)
    assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG", "INFO"]


async def test_what_is_not_http_passes_untouched() -> None:
    seen: list[Any] = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])

    await asked(inside, [], kind="websocket", path="/a%2Fb")
    assert seen == ["/a%2Fb"]
