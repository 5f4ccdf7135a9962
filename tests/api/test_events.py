"""Events over HTTP."""

from __future__ import annotations

import httpx2
import pytest
from tests.support.problems import problem

from zart_scheduler import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("registered")]

HERE = "/v1/executions/e/events/shipped"
KEY = {"Idempotency-Key": "shipment 7"}


@pytest.fixture(autouse=True)
async def started(http: httpx2.AsyncClient, registered: None) -> None:
    body = {"workflow": "fulfil", "input": {"order_id": "A", "amount": 1}, "execution_id": "e"}
    assert (await http.post("/v1/executions", json=body)).status_code == 201


async def test_an_event_before_its_wait_is_accepted_and_says_so(http: httpx2.AsyncClient) -> None:
    answer = await http.post(HERE, json="TRK")
    assert answer.status_code == 202
    receipt = answer.json()
    assert receipt == {"event_id": receipt["event_id"], "duplicate": False, "waiting": False}
    (event,) = (await http.get("/v1/executions/e/events")).json()["items"]
    assert (event["event_id"], event["name"], event["state"]) == (receipt["event_id"], "shipped", "pending")


async def test_a_key_is_accepted_once_and_the_replay_says_so(http: httpx2.AsyncClient) -> None:
    first = await http.post(HERE, json={"a": 1, "b": 2}, headers=KEY)
    again = await http.post(
        HERE, content=b'{"b": 2, "a": 1}', headers={**KEY, "Content-Type": "application/json"}
    )
    assert (first.status_code, again.status_code) == (202, 202)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["event_id"] == first.json()["event_id"]
    assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    assert len((await http.get("/v1/executions/e/events")).json()["items"]) == 1


async def test_a_key_with_another_payload_is_422(http: httpx2.AsyncClient) -> None:
    await http.post(HERE, json=1, headers=KEY)
    problem(await http.post(HERE, json=2, headers=KEY), 422, "ZART-X003")
    assert len((await http.get("/v1/executions/e/events")).json()["items"]) == 1


async def test_a_key_or_name_that_cannot_be_is_422(http: httpx2.AsyncClient) -> None:
    problem(await http.post(HERE, json=1, headers={"Idempotency-Key": ""}), 422)
    problem(await http.post(HERE, json=1, headers={"Idempotency-Key": "k" * 256}), 422)
    problem(await http.post("/v1/executions/e/events/a%00b", json=1), 422)
    problem(await http.post(f"/v1/executions/e/events/{'n' * 256}", json=1), 422)
    assert (await http.get("/v1/executions/e/events")).json()["items"] == []


async def test_an_event_for_nobody_is_404(http: httpx2.AsyncClient) -> None:
    problem(await http.post("/v1/executions/nobody/events/shipped", json=1), 404, "ZART-E002")


async def test_an_event_for_a_finished_execution_is_a_conflict_but_its_replay_is_answered(
    http: httpx2.AsyncClient,
) -> None:
    first = await http.post(HERE, json=1, headers=KEY)
    await http.post("/v1/executions/e/cancel")
    problem(await http.post(HERE, json=1), 409, "ZART-E007")
    again = await http.post(HERE, json=1, headers=KEY)
    assert (again.status_code, again.json()["event_id"]) == (202, first.json()["event_id"])
    assert again.headers["idempotency-replayed"] == "true"


async def test_an_event_that_was_waited_for_ends_the_wait(http: httpx2.AsyncClient, worker: Worker) -> None:
    while (await http.get("/v1/executions/e")).json()["state"] != "waiting":
        assert (await http.get("/v1/executions/e/result?wait=50ms")).status_code == 202
    (wait,) = (await http.get("/v1/executions/e")).json()["waiting_for"]
    assert (wait["kind"], wait["name"]) == ("event", "shipped")
    assert (await http.post(HERE, json="TRK-1")).json()["waiting"] is True
    assert (await http.get("/v1/executions/e/result?wait=25s")).json()["result"] == "txn-A TRK-1"
    (event,) = (await http.get("/v1/executions/e/events")).json()["items"]
    assert (event["state"], event["consumed_by"]) == ("consumed", "shipped")
