"""The OpenAPI document is complete, valid and stays as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx2
import pytest
from fastapi.openapi.models import OpenAPI
from jsonschema import Draft202012Validator

from zart_api import create_app, openapi

ROUTES = """
GET  /livez                                            get_liveness
GET  /readyz                                           get_readiness
POST /v1/events/{name}                                broadcast_event
GET  /v1/executions                                    list_executions
POST /v1/executions                                    start_execution
GET  /v1/executions/{execution_id}                     get_execution
POST /v1/executions/{execution_id}/cancel              cancel_execution
GET  /v1/executions/{execution_id}/events              list_events
POST /v1/executions/{execution_id}/events/{name}       send_event
POST /v1/executions/{execution_id}/fork                fork_execution
POST /v1/executions/{execution_id}/rerun               rerun_execution
POST /v1/executions/{execution_id}/restart             restart_execution
GET  /v1/executions/{execution_id}/result              get_result
POST /v1/executions/{execution_id}/retry-step          retry_step
GET  /v1/executions/{execution_id}/runs                list_runs_of_execution
GET  /v1/executions/{execution_id}/state/{key}         get_state
GET  /v1/executions/{execution_id}/steps               list_steps
POST /v1/executions/{execution_id}/unblock             unblock_execution
GET  /v1/workflows                                     list_workflows
"""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document(create_app())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in sorted(document["paths"].items()):
        for method, operation in sorted(found.items()):
            yield method.upper(), path, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_routes_are_these(document: dict[str, Any]) -> None:
    found = [(method, path, operation["operationId"]) for method, path, operation in operations(document)]
    assert found == [tuple(line.split()) for line in ROUTES.strip().splitlines()]


def test_it_is_an_openapi_document(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPI.model_validate(document)


def test_it_is_the_same_each_time(document: dict[str, Any]) -> None:
    assert json.dumps(openapi.document(create_app())) == json.dumps(document)


def test_every_reference_leads_somewhere_and_every_schema_is_used_and_valid(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    used = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert used == schemas.keys()
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_every_parameter_of_a_path_is_described(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        described = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert described == set(re.findall(r"{(\w+)}", path))


def test_every_operation_says_what_it_does_takes_and_answers(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        assert operation["description"], path
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (path, parameter)
        for status, answer in operation["responses"].items():
            (kind, content), *others = answer["content"].items()
            assert not others
            assert content["schema"], (path, status)
            assert kind == ("application/json" if int(status) < 400 else "application/problem+json")
            if int(status) >= 400:
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        if method == "POST":
            assert operation["requestBody"]["content"]["application/json"]["schema"]
            assert {"400", "401", "403", "413", "415", "422", "500", "503"} <= operation["responses"].keys()


def test_everything_under_v1_names_the_security_scheme(document: dict[str, Any]) -> None:
    ((name, scheme),) = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for _, path, operation in operations(document):
        assert operation.get("security", []) == ([{name: []}] if path.startswith("/v1/") else [])


def test_fields_without_payloads_are_optional(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert not {"input", "result"} & set(schemas["ExecutionOut"]["required"])
    assert {"execution_id", "state", "waiting_for", "steps"} <= set(schemas["ExecutionOut"]["required"])
    assert schemas["StartIn"]["required"] == ["workflow"]


class Links(HTMLParser):
    """Collects what a page links to, loads and names."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.links, self.ids = set[str](), set[str](), set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.add(value or "")
            elif name == "id":
                self.ids.add(value or "")


@pytest.mark.anyio
async def test_the_page_shows_every_operation_and_needs_nothing_from_elsewhere(
    http: httpx2.AsyncClient, document: dict[str, Any]
) -> None:
    answer = await http.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    page = Links()
    page.feed(answer.text)
    assert {operation["operationId"] for _, _, operation in operations(document)} <= page.ids
    assert not page.tags & {"script", "img", "iframe", "link"}
    assert all(link == "openapi.json" or link.removeprefix("#") in page.ids for link in page.links)
