"""Restart, rerun, fork and retry of a step over HTTP."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from tests.support.problems import problem

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("registered")]

ORDER = {"order_id": "A-1", "amount": 12.5}
START = {"workflow": "fulfil", "input": ORDER, "execution_id": "order/1"}
HERE = "/v1/executions/order%2F1"


async def started(http: httpx2.AsyncClient) -> None:
    assert (await http.post("/v1/executions", json=START)).status_code == 201


async def runs(http: httpx2.AsyncClient) -> list[tuple[int, str]]:
    items = (await http.get(f"{HERE}/runs")).json()["items"]
    return [(item["run_index"], item["state"]) for item in items]


async def test_a_restart_answers_with_the_new_run_and_a_key_makes_it_one(http: httpx2.AsyncClient) -> None:
    await started(http)
    key = {"Idempotency-Key": "k-1"}
    first = await http.post(f"{HERE}/restart", json={"reason": "again"}, headers=key)
    assert (first.status_code, first.json()["run_index"], first.json()["state"]) == (202, 1, "scheduled")
    again = await http.post(f"{HERE}/restart", json={"reason": "again"}, headers=key)
    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    problem(await http.post(f"{HERE}/restart", json={"reason": "other"}, headers=key), 422, "ZART-X003")
    problem(await http.post(f"{HERE}/rerun", headers=key), 422, "ZART-X003")
    assert await runs(http) == [(0, "cancelled"), (1, "scheduled")]
    assert (await http.post(f"{HERE}/restart")).json()["run_index"] == 2


async def test_a_start_may_restart(http: httpx2.AsyncClient) -> None:
    await started(http)
    changed = {**START, "input": {**ORDER, "amount": 99}, "on_conflict": "restart"}
    answer = await http.post("/v1/executions", json=changed)
    assert (answer.status_code, answer.headers["zart-existing"]) == (200, "true")
    assert await runs(http) == [(0, "cancelled"), (1, "scheduled")]
    assert (await http.get(f"{HERE}?include=payloads")).json()["input"]["order"]["amount"] == 99


@pytest.mark.usefixtures("worker")
async def test_a_rerun_and_a_fork_of_what_a_worker_has_recorded(http: httpx2.AsyncClient) -> None:
    await started(http)
    await http.post(f"{HERE}/events/shipped", json="T-1")
    assert (await http.get(f"{HERE}/result?wait=20s")).json()["result"] == "txn-A-1 T-1"
    rerun = await http.post(f"{HERE}/rerun", json={"steps": "char*", "keep": []})
    assert (rerun.status_code, rerun.json()["run_index"], rerun.json()["doubtful"]) == (202, 1, ["shipped"])
    assert (await http.get(f"{HERE}/result?wait=20s")).json()["state"] == "completed"
    wanted = {"from_step": "shipped", "execution_id": "copy", "input": ORDER}
    fork = await http.post(f"{HERE}/fork", json=wanted)
    assert (fork.status_code, fork.headers["location"]) == (202, "/v1/executions/copy")
    assert (fork.json()["execution_id"], fork.json()["run_index"]) == ("copy", 0)
    await http.post("/v1/executions/copy/events/shipped", json="T-2")
    assert (await http.get("/v1/executions/copy/result?wait=20s")).json()["result"] == "txn-A-1 T-2"


@pytest.mark.usefixtures("worker")
async def test_a_failed_run_is_tried_once_more(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/executions", json={**START, "input": {**ORDER, "amount": 5000}})
    assert (await http.get(f"{HERE}/result?wait=20s")).json()["state"] == "failed"
    retried = await http.post(f"{HERE}/retry-step", json={"name": "charge", "reason": "funds came"})
    assert (retried.status_code, retried.json()["run_index"]) == (202, 0)
    assert (await http.get(f"{HERE}/result?wait=20s")).json()["state"] == "failed"
    (charge,) = (await http.get(f"{HERE}/steps")).json()["items"]
    assert (charge["attempt"], [each["number"] for each in charge["attempts"]]) == (2, [1, 2])


async def test_what_cannot_be_is_told(http: httpx2.AsyncClient) -> None:
    await started(http)
    cases: list[tuple[str, Any, int, str | None]] = [
        ("rerun", {"steps": ["nope*"]}, 422, "ZART-U001"),
        ("rerun", {"steps": [7]}, 422, None),
        ("fork", {"from_step": "nope"}, 422, "ZART-U001"),
        ("fork", {}, 422, None),
        ("fork", {"from_step": "x", "execution_id": "a~b"}, 422, "ZART-U001"),
        ("retry-step", {}, 409, "ZART-E008"),
        ("retry-step", {"name": ""}, 422, None),
        ("restart", {"colour": "red"}, 422, None),
        ("restart", [], 422, None),
    ]
    for verb, body, status, code in cases:
        problem(await http.post(f"{HERE}/{verb}", json=body), status, code)
    for verb in ("restart", "rerun", "retry-step"):
        problem(await http.post(f"/v1/executions/nobody/{verb}"), 404, "ZART-E002")
    problem(await http.post("/v1/executions/nobody/fork", json={"from_step": "x"}), 404, "ZART-E002")
    assert await runs(http) == [(0, "scheduled")]
