"""Results over HTTP, waited for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from tests.support.histories import block
from tests.support.problems import problem

from zart_api.deps import Services
from zart_scheduler import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("registered")]

RESULT = "/v1/executions/e/result"


class Asked:
    """A request for the result that waits in the server: nothing comes back before its end."""

    def __init__(self) -> None:
        self.waits, self.gone = asyncio.Event(), asyncio.Event()
        self.status, self.body, self._received = 0, b"", 0
        self._serving: asyncio.Task[None]

    @staticmethod
    async def of(app: FastAPI) -> Asked:
        asked = Asked()
        scope = {
            "type": "http",
            "method": "GET",
            "path": RESULT,
            "raw_path": RESULT.encode(),
            "query_string": b"wait=50s",
            "headers": [],
        }
        asked._serving = asyncio.create_task(app(scope, asked._receive, asked._send))
        await asyncio.wait_for(asked.waits.wait(), 20)
        assert not asked._serving.done()
        return asked

    async def answer(self) -> Any:
        await asyncio.wait_for(self._serving, 20)
        return json.loads(self.body)

    async def _receive(self) -> dict[str, Any]:
        self._received += 1
        if self._received == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        self.waits.set()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")


@pytest.fixture(autouse=True)
async def started(http: httpx2.AsyncClient, registered: None) -> None:
    body = {"workflow": "fulfil", "input": {"order_id": "A", "amount": 5000}, "execution_id": "e"}
    assert (await http.post("/v1/executions", json=body)).status_code == 201


async def test_not_yet_is_202_with_the_state_and_when_to_ask_again(http: httpx2.AsyncClient) -> None:
    for query in ("", "?wait=0s", "?wait=50ms", "?wait=PT0.05S"):
        answer = await http.get(RESULT + query)
        assert (answer.status_code, answer.json()) == (202, {"state": "scheduled"})
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_wait_that_is_no_duration_is_422(http: httpx2.AsyncClient) -> None:
    for wait in ("abc", "25", "-1s", "200y", ""):
        assert "wait" in problem(await http.get(RESULT, params={"wait": wait}), 422)["detail"]


async def test_a_waiting_request_is_answered_as_soon_as_the_run_ends(
    app: FastAPI, http: httpx2.AsyncClient
) -> None:
    asked = await Asked.of(app)
    await http.post("/v1/executions/e/cancel", json={"reason": "enough"})
    assert (await asked.answer())["state"] == "cancelled"


async def test_a_failed_run_is_answered_with_its_failure(http: httpx2.AsyncClient, worker: Worker) -> None:
    answer = await http.get(f"{RESULT}?wait=25s")
    assert answer.status_code == 200
    body = answer.json()
    assert body["state"] == "failed"
    assert body["failure"]["kind"] == "error"
    assert (body["failure"]["type"], body["failure"]["message"]) == ("CardDeclined", "no funds for A")
    assert "CardDeclined" in body["failure"]["traceback"]
    shown = (await http.get("/v1/executions/e")).json()
    assert shown["failure"] == body["failure"]


async def test_a_blocked_run_is_a_conflict_that_says_why(http: httpx2.AsyncClient, database_url: str) -> None:
    block(database_url, "e", "the code changed")
    detail = problem(await http.get(f"{RESULT}?wait=25s"), 409, "ZART-E006")["detail"]
    assert "the code changed" in detail
    assert "`zart runs unblock e`" in detail


async def test_waiting_requests_are_answered_when_the_server_stops(app: FastAPI) -> None:
    asked = await Asked.of(app)
    services: Services = app.state.zart
    services.draining.set()
    assert await asked.answer() == {"state": "scheduled"}
    assert asked.status == 202


async def test_a_client_that_goes_away_ends_its_wait(app: FastAPI) -> None:
    asked = await Asked.of(app)
    asked.gone.set()
    await asked.answer()
