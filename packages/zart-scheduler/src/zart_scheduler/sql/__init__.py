"""The SQL text of this package: named queries for the store modules, and the functions that migrations create.

A query file is a list of `-- name: <name> :one|:many|:exec` headers, each followed by its statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

_COMMENT = re.compile(r"^--.*\n?", re.MULTILINE)
_HEADER = re.compile(r"^-- name: (\w+) :(?:one|many|exec)$", re.MULTILINE)


def queries(aggregate: str) -> Mapping[str, str]:
    """Return the queries of `<aggregate>.sql` by name.

    Bound once, when a store module is imported: a missing name is a `KeyError` there, not in production.
    """
    parts = _HEADER.split(_read(f"{aggregate}.sql"))
    found = dict(zip(parts[1::2], (_statement(part) for part in parts[2::2]), strict=True))
    if len(found) != len(parts) // 2:
        raise ValueError(f"{aggregate}.sql names a query twice")
    return MappingProxyType(found)


def function(name: str) -> str:
    """Return the text of `functions/<name>.sql`, for the migration that creates it."""
    return _read(f"functions/{name}.sql")


def _statement(text: str) -> str:
    """Return `text` without its comments, which need not travel with every call."""
    return _COMMENT.sub("", text).strip().removesuffix(";")


def _read(path: str) -> str:
    return files(__package__).joinpath(path).read_text(encoding="utf-8")
