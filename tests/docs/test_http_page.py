"""The page on HTTP has every route and parameter, and no other."""

from __future__ import annotations

from typing import Any

from tests.docs.markdown import codes, read, rows, sections

from zart_api import create_app, openapi
from zart_api.schemas import StartIn

PAGE = read("docs/reference/http.md")
ROUTES = sections(PAGE, 2)["Routes"].partition("###")[0]
PARTS = sections(PAGE, 3)
RESULT = "/v1/executions/{execution_id}/result"


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = openapi.document(create_app(database_url="postgresql://nobody@127.0.0.1:1/none"))[
        "paths"
    ]
    return paths


def _query(operation: Any) -> set[str]:
    return {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}


def test_every_route_is_told_and_no_other() -> None:
    told = {row[0].strip("`") for row in rows(ROUTES)[2:]}
    assert told == {f"{method.upper()} {path}" for path, methods in _paths().items() for method in methods}


def test_every_parameter_is_told() -> None:
    paths = _paths()
    assert _query(paths["/v1/executions"]["get"]) <= set(codes(PARTS["Query of GET /v1/executions"]))
    assert _query(paths[RESULT]["get"]) == {codes(PARTS[f"Query of GET {RESULT}"])[0]}


def test_every_field_of_a_start_is_told() -> None:
    table = rows(PARTS["Fields of POST /v1/executions"])[2:]
    assert {code for row in table for code in codes(row[0])} == set(StartIn.model_fields)
