"""Executions over HTTP: start, list, look at, cancel, unblock."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from tests.support.histories import block, execute
from tests.support.problems import problem

from zart_core import CurrentCall
from zart_scheduler import Client, Worker

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("registered")]

ORDER = {"order_id": "A-1", "amount": 12.5}
START = {"workflow": "fulfil", "input": ORDER, "execution_id": "order-A-1"}


async def test_a_start_answers_201_and_where_the_execution_is(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/v1/executions", json=START)
    assert answer.status_code == 201
    assert answer.json() == {"execution_id": "order-A-1", "existing": False}
    found = await http.get(answer.headers["location"])
    assert found.json()["execution_id"] == "order-A-1"
    assert found.json()["state"] == "scheduled"


async def test_the_same_start_again_answers_200_and_starts_nothing(http: httpx2.AsyncClient) -> None:
    first = await http.post("/v1/executions", json=START)
    again = await http.post("/v1/executions", json={**START, "input": {"amount": 12.5, "order_id": "A-1"}})
    assert again.status_code == 200
    assert again.headers["zart-existing"] == "true"
    assert "zart-existing" not in first.headers
    assert again.headers["location"] == first.headers["location"]
    assert again.json() == {"execution_id": "order-A-1", "existing": True}
    assert len((await http.get("/v1/executions/order-A-1/runs")).json()["items"]) == 1


async def test_the_same_id_with_another_input_is_a_conflict(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/executions", json=START)
    other = await http.post("/v1/executions", json={**START, "input": {**ORDER, "amount": 99}})
    problem(other, 409, "ZART-E003")
    problem(await http.post("/v1/executions", json={**START, "on_conflict": "reject"}), 409, "ZART-E003")


async def test_an_id_is_made_up_if_none_is_given(http: httpx2.AsyncClient) -> None:
    ids = {
        (await http.post("/v1/executions", json={"workflow": "fulfil", "input": ORDER})).json()[
            "execution_id"
        ]
        for _ in range(3)
    }
    assert len(ids) == 3


async def test_several_parameters_come_as_an_object_by_name(http: httpx2.AsyncClient) -> None:
    body = {"workflow": "transfer", "input": {"source": "a", "target": "b"}, "execution_id": "t"}
    assert (await http.post("/v1/executions", json=body)).status_code == 201
    shown = (await http.get("/v1/executions/t?include=payloads")).json()
    assert shown["input"] == {"source": "a", "target": "b"}


async def test_options_of_a_start_are_kept(http: httpx2.AsyncClient) -> None:
    options = {"queue": "slow", "priority": 7, "tags": {"shop": "berlin"}, "delay": "1h"}
    assert (await http.post("/v1/executions", json={**START, **options})).status_code == 201
    shown = (await http.get("/v1/executions/order-A-1")).json()
    assert shown["run"]["queue"] == "slow"
    assert shown["tags"] == {"shop": "berlin"}
    assert [wait["kind"] for wait in shown["waiting_for"]][:1] == ["timer"]


async def test_a_workflow_that_nobody_registered_is_404_and_names_those_that_are(
    http: httpx2.AsyncClient,
) -> None:
    answer = await http.post("/v1/executions", json={**START, "workflow": "fulfill"})
    assert "fulfil, transfer" in problem(answer, 404, "ZART-C003")["detail"]
    allowed = {**START, "workflow": "later", "input": {"order": ORDER}, "allow_unknown": True}
    assert (await http.post("/v1/executions", json=allowed)).status_code == 201


async def test_an_input_of_the_wrong_shape_is_422_with_its_path_and_starts_nothing(
    http: httpx2.AsyncClient,
) -> None:
    cases: list[tuple[object, str]] = [
        ({"order_id": "A-1"}, "order.amount"),
        ({"order_id": "A-1", "amount": "many"}, "order.amount"),
        ({"order_id": 7, "amount": 1}, "order.order_id"),
        ("A-1", "order"),
        (None, "order"),
    ]
    for given, path in cases:
        body = problem(await http.post("/v1/executions", json={**START, "input": given}), 422, "ZART-P002")
        assert body["errors"][0]["path"] == path
        assert body["errors"][0]["message"]
    missing = {"workflow": "fulfil", "execution_id": "x"}
    assert problem(await http.post("/v1/executions", json=missing), 422)["errors"][0]["path"] == "order"
    assert (await http.get("/v1/executions")).json()["items"] == []


async def test_a_field_of_the_wrong_shape_is_422_with_its_path(http: httpx2.AsyncClient) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"workflow": None}, "workflow"),
        ({"workflow": ""}, "workflow"),
        ({"workflow": "a\0b"}, "workflow"),
        ({"priority": "high"}, "priority"),
        ({"priority": 40000}, "priority"),
        ({"tags": {"shop": 7}}, "tags.shop"),
        ({"at": "tomorrow"}, "at"),
        ({"at": "2030-01-01T00:00:00"}, "at"),
        ({"on_conflict": "explode"}, "on_conflict"),
        ({"allow_unknown": "yes"}, "allow_unknown"),
        ({"delay": True}, "delay"),
        ({"exectuion_id": "x"}, "exectuion_id"),
    ]
    for change, path in cases:
        body = problem(await http.post("/v1/executions", json={**START, **change}), 422)
        assert any(error["path"].startswith(path) for error in body["errors"]), body


async def test_what_zart_refuses_is_422_and_starts_nothing(http: httpx2.AsyncClient) -> None:
    cases: list[dict[str, object]] = [
        {"execution_id": ""},
        {"execution_id": "x" * 256},
        {"execution_id": "a~b"},
        {"execution_id": "a\nb"},
        {"delay": "abc"},
        {"delay": "1h", "at": "2030-01-01T00:00:00Z"},
        {"queue": ""},
        {"tags": {"shop": "a\0b"}},
    ]
    for change in cases:
        assert problem(await http.post("/v1/executions", json={**START, **change}), 422)["detail"]
    assert (await http.get("/v1/executions")).json()["items"] == []


async def test_an_idempotency_key_stands_for_an_id_that_is_not_given(http: httpx2.AsyncClient) -> None:
    key, body = {"Idempotency-Key": "k-1"}, {"workflow": "fulfil", "input": ORDER}
    first = await http.post("/v1/executions", json=body, headers=key)
    again = await http.post("/v1/executions", json={**body, "on_conflict": "reject"}, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json() == {"execution_id": first.json()["execution_id"], "existing": False}
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    other = await http.post("/v1/executions", json=body, headers={"Idempotency-Key": "k-2"})
    assert other.json()["execution_id"] != first.json()["execution_id"]


async def test_an_idempotency_key_belongs_to_one_start(http: httpx2.AsyncClient) -> None:
    key, body = {"Idempotency-Key": "k-1"}, {"workflow": "fulfil", "input": ORDER}
    await http.post("/v1/executions", json=body, headers=key)
    changed = {**body, "input": {**ORDER, "amount": 99}}
    problem(await http.post("/v1/executions", json=changed, headers=key), 422, "ZART-X003")
    problem(await http.post("/v1/executions", json=body, headers={"Idempotency-Key": ""}), 422)


async def test_an_id_of_ones_own_is_the_key_of_a_start(http: httpx2.AsyncClient) -> None:
    key = {"Idempotency-Key": "k-1"}
    assert (await http.post("/v1/executions", json=START, headers=key)).status_code == 201
    assert (await http.post("/v1/executions", json=START, headers=key)).headers["zart-existing"] == "true"


async def test_any_id_routes_when_it_is_percent_encoded(http: httpx2.AsyncClient) -> None:
    odd = [
        "a/b",
        "a/result",
        "result",
        "a/b/events/c",
        "%2F",
        "a%2Fb",
        "50%",
        "ä ö/ü?x=1#y",
        "a;b,c",
        "..a",
        "+",
        "日本",
    ]
    for execution_id in odd:
        started = await http.post("/v1/executions", json={**START, "execution_id": execution_id})
        assert started.status_code == 201
        here = f"/v1/executions/{quote(execution_id, safe='')}"
        assert started.headers["location"] == here
        for below in ("", "/runs", "/steps", "/events"):
            assert (await http.get(here + below)).status_code == 200
        assert (await http.get(here)).json()["execution_id"] == execution_id
        assert (await http.get(f"{here}/result")).status_code == 202
        assert (await http.post(f"{here}/events/{quote('a/b', safe='')}", json=1)).status_code == 202
        assert (await http.get(f"{here}/events")).json()["items"][0]["name"] == "a/b"
        cancelled = await http.post(f"{here}/cancel", json={"reason": "no"})
        assert cancelled.json() == {"execution_id": execution_id, "state": "cancelled"}


async def test_the_list_is_newest_first_and_goes_on_by_cursor(http: httpx2.AsyncClient) -> None:
    for number in range(5):
        await http.post("/v1/executions", json={**START, "execution_id": f"e{number}"})
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = (
            await http.get("/v1/executions", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [item["execution_id"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == ["e4", "e3", "e2", "e1", "e0"]


async def test_the_list_filters(http: httpx2.AsyncClient) -> None:
    await http.post(
        "/v1/executions", json={**START, "execution_id": "a", "tags": {"shop": "berlin", "vip": "yes"}}
    )
    await http.post("/v1/executions", json={**START, "execution_id": "b", "queue": "slow"})
    body = {"workflow": "transfer", "input": {"source": "a", "target": "b"}, "execution_id": "c"}
    await http.post("/v1/executions", json=body)
    await http.post("/v1/executions/b/cancel")
    cases: list[tuple[Any, list[str]]] = [
        ({"state": "scheduled"}, ["c", "a"]),
        ({"state": "cancelled"}, ["b"]),
        ({"workflow": "transfer"}, ["c"]),
        ({"queue": "slow"}, ["b"]),
        ({"tag": ["shop=berlin", "vip=yes"]}, ["a"]),
        ({"tag": ["shop=berlin", "vip=no"]}, []),
        ({"search": "fulf"}, ["b", "a"]),
        ({"since": "2001-01-01T00:00:00Z"}, ["c", "b", "a"]),
        ({"until": "2001-01-01T00:00:00+01:00"}, []),
    ]
    for params, expected in cases:
        answer = await http.get("/v1/executions", params=params)
        assert [item["execution_id"] for item in answer.json()["items"]] == expected, params


async def test_a_filter_that_cannot_be_is_422_with_its_name(http: httpx2.AsyncClient) -> None:
    cases = [
        ({"limit": "201"}, "limit"),
        ({"limit": "0"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"state": "asleep"}, "state"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2030-01-01T00:00:00"}, "since"),
        ({"workflow": "a\0"}, "workflow"),
    ]
    for params, path in cases:
        assert problem(await http.get("/v1/executions", params=params), 422)["errors"][0]["path"] == path
    for params in ({"cursor": "abc"}, {"tag": "shop"}, {"tag": "=x"}):
        problem(await http.get("/v1/executions", params=params), 422)


async def test_payloads_are_shown_only_when_asked_for(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/executions", json=START)
    await http.post("/v1/executions/order-A-1/events/shipped", json={"secret": 1})
    plain = (await http.get("/v1/executions/order-A-1")).json()
    assert "input" not in plain
    assert "result" not in plain
    assert "payload" not in plain["events"][0]
    full = (await http.get("/v1/executions/order-A-1?include=payloads")).json()
    assert full["input"] in ({"order": ORDER}, ORDER)
    assert full["events"][0]["payload"] == {"secret": 1}
    assert "payload" not in (await http.get("/v1/executions/order-A-1/events")).json()["items"][0]
    events = await http.get("/v1/executions/order-A-1/events?include=payloads")
    assert events.json()["items"][0]["payload"] == {"secret": 1}
    assert events.json()["next_cursor"] is None


async def test_an_unknown_execution_is_404(http: httpx2.AsyncClient) -> None:
    for below in ("", "/runs", "/steps", "/events", "/result"):
        body = problem(await http.get(f"/v1/executions/no%2Fone{below}"), 404, "ZART-E002")
        assert body["instance"] == f"/v1/executions/no%2Fone{below}"
        assert "no/one" in body["detail"]


async def test_cancel_is_safe_to_repeat_and_its_reason_is_the_outcome(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/executions", json=START)
    for reason in ({"reason": "ordered twice"}, {}, {"reason": "again"}):
        answer = await http.post("/v1/executions/order-A-1/cancel", json=reason)
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    ended = await http.get("/v1/executions/order-A-1/result?wait=25s")
    assert ended.status_code == 200
    assert ended.json()["state"] == "cancelled"
    failure = ended.json()["failure"]
    assert (failure["kind"], failure["message"]) == ("cancelled", "ordered twice")
    shown = (await http.get("/v1/executions/order-A-1")).json()
    assert (shown["failure"]["type"], shown["failure"]["message"]) == (failure["type"], failure["message"])


async def test_cancel_without_a_body_and_of_nobody(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/executions", json=START)
    assert (await http.post("/v1/executions/order-A-1/cancel")).status_code == 202
    problem(await http.post("/v1/executions/nobody/cancel"), 404, "ZART-E002")


async def test_a_cancel_of_the_wrong_shape_is_422(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/executions", json=START)
    bodies: list[object] = [{"reasn": "x"}, {"reason": 7}, ["x"], {"reason": "x" * 1001}, {"reason": "\0"}]
    for body in bodies:
        problem(await http.post("/v1/executions/order-A-1/cancel", json=body), 422)
    assert (await http.get("/v1/executions/order-A-1")).json()["state"] == "scheduled"


async def test_workflows_are_listed_with_their_schemas(http: httpx2.AsyncClient) -> None:
    items = (await http.get("/v1/workflows")).json()["items"]
    assert [item["workflow"] for item in items] == ["fulfil", "transfer", "watch"]
    assert items[0]["parameters"] == ["order"]
    assert items[0]["input_schema"]["required"] == ["order_id", "amount"]
    assert items[1]["required"] == ["source", "target"]


async def test_cancel_of_a_completed_execution_is_a_conflict(
    http: httpx2.AsyncClient, client: Client, worker: Worker
) -> None:
    await http.post("/v1/executions", json=START)
    await http.post("/v1/executions/order-A-1/events/shipped", json="TRK-1")
    ended = await http.get("/v1/executions/order-A-1/result?wait=25s")
    assert ended.json() == {"state": "completed", "result": "txn-A-1 TRK-1"}
    problem(await http.post("/v1/executions/order-A-1/cancel"), 409, "ZART-E008")
    steps = (await http.get("/v1/executions/order-A-1/steps?include=payloads")).json()["items"]
    assert [(step["name"], step["state"], step["result"]) for step in steps] == [
        ("charge", "completed", "txn-A-1"),
        ("shipped", "completed", "TRK-1"),
    ]
    assert "result" not in (await http.get("/v1/executions/order-A-1/steps")).json()["items"][0]


async def test_a_blocked_execution_tells_both_sides_and_is_unblocked_by_an_accepted_call(
    http: httpx2.AsyncClient, database_url: str
) -> None:
    here = "/v1/executions/order-A-1"
    await http.post("/v1/executions", json=START)
    assert (await http.get(here)).json()["divergence"] is None
    current = CurrentCall("pay", "", ":pay#0", "step", None, "('A-1')", "flows.py:9 in fulfil")
    block(database_url, "order-A-1", "the code changed", current)
    told = (await http.get(here)).json()["divergence"]
    assert (told["code"], told["reason"], told["recorded"]) == ("ZART-D005", "the code changed", None)
    assert told["current"]["where"] == "flows.py:9 in fulfil"
    assert told["remedies"][0]["command"] == "zart runs unblock order-A-1"

    body: Any
    for body in ({"accept": "ship"}, {"reset": "ship"}, {"accept": "pay", "reset": "pay"}, {"other": 1}, []):
        problem(await http.post(f"{here}/unblock", json=body), 422)
    answer = await http.post(f"{here}/unblock", json={"accept": "pay", "reason": "it is new"})
    assert (answer.status_code, answer.json()) == (202, {"execution_id": "order-A-1", "state": "scheduled"})
    ((actor, reason),) = execute(database_url, "SELECT actor, detail ->> 'reason' FROM zart_audit")
    assert (str(actor).split()[0], reason) == ("http", "it is new")


async def test_unblock_of_what_is_not_blocked_or_not_there(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/executions", json=START)
    problem(await http.post("/v1/executions/order-A-1/unblock"), 409, "ZART-E008")
    problem(await http.post("/v1/executions/nobody/unblock", json={}), 404, "ZART-E002")
