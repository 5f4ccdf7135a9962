"""Broadcast events and published state over HTTP."""

from __future__ import annotations

import httpx2
import pytest
from tests.support.problems import problem

from zart_scheduler import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("registered")]

HERE = "/v1/events/price"
KEY = {"Idempotency-Key": "price 7"}


async def _watch(http: httpx2.AsyncClient, execution_id: str, sku: str) -> None:
    body = {"workflow": "watch", "input": sku, "execution_id": execution_id}
    assert (await http.post("/v1/executions", json=body)).status_code == 201
    while (await http.get(f"/v1/executions/{execution_id}")).json()["state"] != "waiting":
        assert (await http.get(f"/v1/executions/{execution_id}/result?wait=50ms")).status_code == 202


async def test_a_broadcast_reaches_all_who_wait_for_its_key(http: httpx2.AsyncClient, worker: Worker) -> None:
    for execution_id, sku in (("a", "x/1"), ("b", "x/1"), ("c", "other")):
        await _watch(http, execution_id, sku)

    answer = await http.post(HERE, params={"key": "x/1"}, json=2.5)

    assert answer.status_code == 202
    accepted = answer.json()
    assert accepted == {"event_id": accepted["event_id"], "duplicate": False, "matched": 2}
    for execution_id in ("a", "b"):
        result = (await http.get(f"/v1/executions/{execution_id}/result?wait=25s")).json()
        assert result["result"] == 2.5
    (event,) = (await http.get("/v1/executions/a/events")).json()["items"]
    assert (event["event_id"], event["key"], event["state"]) == (accepted["event_id"], "x/1", "consumed")
    assert "payload" not in event
    (event,) = (await http.get("/v1/executions/a/events?include=payloads")).json()["items"]
    assert event["payload"] == 2.5
    assert (await http.get("/v1/executions/c/events")).json()["items"] == []


async def test_what_is_retained_meets_later_waits_too(http: httpx2.AsyncClient, worker: Worker) -> None:
    await http.post(HERE, params={"key": "y", "retain": "1h"}, json=3)
    body = {"workflow": "watch", "input": "y", "execution_id": "later"}
    assert (await http.post("/v1/executions", json=body)).status_code == 201
    assert (await http.get("/v1/executions/later/result?wait=25s")).json()["result"] == 3


async def test_a_key_of_the_sender_is_accepted_once_for_each_topic(http: httpx2.AsyncClient) -> None:
    first = await http.post(HERE, params={"key": "a"}, json=1, headers=KEY)
    again = await http.post(HERE, params={"key": "a"}, json=1, headers=KEY)
    assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    assert again.json()["event_id"] == first.json()["event_id"]
    assert again.headers["idempotency-replayed"] == "true"
    problem(await http.post(HERE, params={"key": "a"}, json=2, headers=KEY), 422, "ZART-X003")
    assert (await http.post(HERE, params={"key": "b"}, json=2, headers=KEY)).json()["duplicate"] is False


async def test_a_broadcast_that_cannot_be_is_refused(http: httpx2.AsyncClient) -> None:
    problem(await http.post(HERE, json=1), 422)
    problem(await http.post(HERE, params={"key": ""}, json=1), 422)
    problem(await http.post(HERE, params={"key": "k" * 256}, json=1), 422)
    problem(await http.post(HERE, params={"key": "a\0b"}, json=1), 422)
    problem(await http.post(HERE, params={"key": "a", "retain": "soon"}, json=1), 422)
    json = {"Content-Type": "application/json"}
    problem(await http.post(HERE, params={"key": "a"}, content=b'"\xff"', headers=json), 400)
    large = b'"' + b"x" * (17 * 2**20) + b'"'
    problem(await http.post(HERE, params={"key": "a"}, content=large, headers=json), 413)


async def test_published_state_is_read_by_its_name(http: httpx2.AsyncClient, worker: Worker) -> None:
    await _watch(http, "p", "z")
    found = await http.get("/v1/executions/p/state/watching%2Fof")
    assert found.status_code == 200
    assert (found.json()["key"], found.json()["value"]) == ("watching/of", {"sku": "z"})
    assert found.json()["updated_at"].endswith("Z")
    problem(await http.get("/v1/executions/p/state/nothing"), 404)
    problem(await http.get("/v1/executions/nobody/state/nothing"), 404, "ZART-E002")
