"""Finding a recorded class again, or saying that it is gone."""

from __future__ import annotations

import sys
import types

import pytest

from zart_core.faults import Unrestorable, failure, record, restore
from zart_core.imports import exception_class
from zart_core.records import Failure


def gone_class() -> bytes:
    module = types.ModuleType("test_imports_gone")
    sys.modules[module.__name__] = module
    module.Gone = type("Gone", (Exception,), {"__module__": module.__name__})  # type: ignore[attr-defined] # made here
    try:
        return record(module.Gone("x"))
    finally:
        del sys.modules[module.__name__]


def test_a_class_that_is_gone_is_not_guessed() -> None:
    payload = gone_class()
    with pytest.raises(Unrestorable, match="test_imports_gone:Gone") as caught:
        restore(payload)
    assert isinstance(caught.value, LookupError)
    assert caught.value.path == "test_imports_gone:Gone"
    assert failure(payload) == Failure("error", "Gone", "x", "test_imports_gone.Gone: x\n")
    assert failure(payload).exception is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("os:system", "not an exception class"),
        ("builtins:eval", "not an exception class"),
        ("builtins:SystemExit", "not an exception class"),
        ("builtins:Nothing", "no 'Nothing' any more"),
        ("zart_core.errors:f.<locals>.E", "inside a function"),
        ("somebody_elses.module:Error", "imported nothing of 'somebody_elses'"),
        ("zart_core.nowhere:Error", "fails to import"),
    ],
)
def test_a_payload_cannot_name_what_it_likes(path: str, reason: str) -> None:
    with pytest.raises(Unrestorable, match=reason):
        exception_class(path)


def test_a_module_of_the_standard_library_or_of_a_loaded_package_is_imported() -> None:
    assert exception_class("configparser:NoSectionError").__name__ == "NoSectionError"
    assert issubclass(exception_class("xml.parsers.expat:ExpatError"), Exception)
