"""Annotations are resolved where the function was written."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from zart_core.errors import ConfigurationError
from zart_core.hints import resolve_hints

if TYPE_CHECKING:
    from somewhere import Hidden  # type: ignore[import-not-found] # never there


def plain(a: int, b: Annotated[str, "meta"]) -> Later: ...  # type: ignore[empty-body] # only its annotations matter


class Later:
    def __call__(self, x: int) -> str:
        return str(x)

    def method(self, x: float) -> None: ...


def hidden(a: Hidden) -> None: ...
def broken(a: Later.Missing) -> None: ...  # type: ignore[name-defined] # that is the point


def test_names_are_resolved_and_annotated_is_kept() -> None:
    assert resolve_hints(plain) == {"a": int, "b": Annotated[str, "meta"], "return": Later}


def test_a_class_local_to_a_function_is_found_in_the_frame_of_its_definition() -> None:
    class Local: ...

    def fn(a: Local) -> None: ...

    assert resolve_hints(fn, locals()) == {"a": Local, "return": type(None)}
    with pytest.raises(ConfigurationError, match=r"fn has an annotation that uses the name 'Local'"):
        resolve_hints(fn)


def test_partials_methods_and_callable_objects_have_annotations_too() -> None:
    assert resolve_hints(functools.partial(functools.partial(plain, 1), b="x"))["a"] is int
    assert resolve_hints(Later()) == {"x": int, "return": str}
    assert resolve_hints(Later().method) == {"x": float, "return": type(None)}
    assert resolve_hints(len) == {}


def test_a_missing_name_is_named_with_its_function() -> None:
    with pytest.raises(ConfigurationError, match=r"test_hints\.hidden .*'Hidden'.*TYPE_CHECKING"):
        resolve_hints(hidden)


def test_an_annotation_that_cannot_be_evaluated_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"broken has an annotation .* AttributeError"):
        resolve_hints(broken)


def test_something_without_a_name_is_shown_as_it_is() -> None:
    class Odd:
        __annotations__: Any = {"a": "Nowhere"}
        __module__ = ""

    with pytest.raises(ConfigurationError):
        resolve_hints(Odd())  # type: ignore[arg-type] # not even callable
