"""Ids in URLs: what a client encodes is what a route gets."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_api import paths

ids = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)


def scope_of(raw: str, root: str = "") -> dict[str, object]:
    return {"path": unquote(raw), "raw_path": raw.encode(), "root_path": root}


@given(ids, ids)
def test_every_value_comes_back_from_its_one_segment(execution_id: str, name: str) -> None:
    raw = f"/v1/executions/{quote(execution_id, safe='')}/events/{quote(name, safe='')}"
    _, _, _, first, _, second = paths.route_path(scope_of(raw)).split("/")
    assert (paths.decoded_segment(first), paths.decoded_segment(second)) == (execution_id, name)


@given(ids)
def test_an_encoded_value_is_one_segment_and_comes_back(value: str) -> None:
    assert "/" not in paths.encoded_segment(value)
    assert paths.decoded_segment(paths.route_path(scope_of(f"/{paths.encoded_segment(value)}"))[1:]) == value


def test_an_encoded_slash_does_not_separate() -> None:
    assert paths.route_path(scope_of("/v1/executions/a%2Fresult")) == "/v1/executions/a%2Fresult"
    assert paths.route_path(scope_of("/v1/executions/a/result")) == "/v1/executions/a/result"


def test_an_id_that_looks_encoded_is_not_decoded_twice() -> None:
    routed = paths.route_path(scope_of("/v1/executions/a%252Fb"))
    assert paths.decoded_segment(routed.rpartition("/")[2]) == "a%2Fb"


@pytest.mark.parametrize(
    ("raw", "root"),
    [
        ("/zart/v1/executions/a%2Fb", "/zart"),
        ("/a%20b/c/v1/executions/a%2Fb", "/a b/c"),
        ("/x%2Fy/v1/executions/a%2Fb", "/x/y"),
    ],
)
def test_below_a_mount_point_only_the_rest_is_rewritten(raw: str, root: str) -> None:
    assert paths.route_path(scope_of(raw, root)) == f"{root}/v1/executions/a%2Fb"


def test_a_path_that_someone_rewrote_is_taken_as_it_is() -> None:
    scope = {"path": "/v1/executions/50%", "raw_path": b"/elsewhere", "root_path": ""}
    assert paths.route_path(scope) == "/v1/executions/50%25"


def test_a_server_that_gives_no_raw_path_still_routes() -> None:
    assert paths.route_path({"path": "/v1/executions/a b"}) == "/v1/executions/a b"


def test_the_instance_of_a_problem_is_the_path_as_sent_without_the_query() -> None:
    assert paths.instance({"path": "/a/b", "raw_path": b"/a%2Fb?secret=1"}) == "/a%2Fb"
    assert paths.instance({"path": "/a b"}) == "/a%20b"
