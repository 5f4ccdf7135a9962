"""The page on Python has every public name with its signature or fields, and the page on errors every error."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from types import ModuleType
from typing import Any

import pytest
from tests.docs.markdown import codes, read, rows, sections

import zart_api
import zart_core
import zart_core.testing
import zart_decorators
import zart_scheduler
from zart_api.problems import status_of
from zart_cli.problems import problem_of
from zart_core import errors
from zart_core.errors import ZartError
from zart_core.spi import ListOptions
from zart_scheduler.options import StartOptions

PAGE = read("docs/reference/python.md")
DOCUMENTED = (zart_core, zart_core.testing, zart_decorators, zart_scheduler, zart_api)
MODULES = {module.__name__: module for module in DOCUMENTED}
TOPICS = sections(PAGE, 2)
PARTS = sections(PAGE, 3)


def _entries() -> list[tuple[str, str]]:
    """Return the calls that stand first in the rows of each module's tables."""
    cells = [(name, code) for name in MODULES for row in rows(TOPICS[name]) for code in codes(row[0])]
    return [(name, code) for name, code in cells if code.endswith(")")]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_told(name: str) -> None:
    module: ModuleType = MODULES[name]
    told = {re.split(r"[.(]", code)[0] for code in codes(TOPICS[name])}
    assert set(module.__all__) <= told


@pytest.mark.parametrize(("module", "entry"), _entries())
def test_a_signature_is_the_one_there_is(module: str, entry: str) -> None:
    name, _, parameters = entry.partition("(")
    target: Any = MODULES[module]
    for part in name.split("."):
        target = getattr(target, part)
    written = ast.parse(f"def f({parameters[:-1]}): ...").body[0]
    assert isinstance(written, ast.FunctionDef)
    assert _written(written.args) == _real(inspect.signature(target))


def _real(signature: inspect.Signature) -> list[tuple[str, bool]]:
    """Return the parameters' names, and whether they may be left out."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        (p.name, p.default is not p.empty or p.kind in variable)
        for p in signature.parameters.values()
        if p.name not in {"self", "cls"}
    ]


def _written(arguments: ast.arguments) -> list[tuple[str, bool]]:
    required = len(arguments.args) - len(arguments.defaults)
    found = [(arg.arg, at >= required) for at, arg in enumerate(arguments.args)]
    found += [(arguments.vararg.arg, True)] if arguments.vararg else []
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    found += [(arg.arg, default is not None) for arg, default in keywords]
    return found + ([(arguments.kwarg.arg, True)] if arguments.kwarg else [])


def test_the_fields_of_records_are_told() -> None:
    for name, told in rows(PARTS["Records"])[2:]:
        fields = [field.name for field in dataclasses.fields(getattr(zart_core, name.strip("`")))]
        assert [code for code in codes(told) if code in fields] == fields, name


def test_the_options_of_starts_and_lists_are_told() -> None:
    of_starts, _, of_lists = PARTS["Client"].partition("Options of `list_runs`:")
    table = rows(of_starts.partition("Options of a start:")[2])[2:]
    assert {code for row in table for code in codes(row[0])} == set(StartOptions.__annotations__)
    assert set(codes(of_lists.partition("\n\n")[0])) == set(ListOptions.__annotations__)


def test_every_error_is_told_with_code_status_and_exit_code() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ZartError)]
    there = {(kind.code, kind.__name__, status_of(kind), _exit_code(kind)) for kind in kinds}
    table = rows(read("docs/reference/errors.md").partition("Codes that have no class:")[0])[2:]
    assert {(row[0].strip("`"), row[1].strip("`"), int(row[3]), int(row[4])) for row in table} == there


def _exit_code(kind: type[ZartError]) -> int:
    """Return what the command line leaves with, whatever facts the error has."""
    shown: Any = type(kind.__name__, (kind,), {"__init__": lambda self: None, "__str__": lambda self: ""})
    error = shown()
    error.execution_id, error.seconds = "an-id", 1.0
    return int(problem_of(error).exit_code)
