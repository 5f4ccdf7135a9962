"""Records as plain JSON values, with the field names of the records. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from pydantic_core import to_jsonable_python

from zart_cli.times import iso

_NEVER_SHOWN = frozenset({"exception"})  # a live object, of no use outside its process


def to_plain(value: Any) -> Any:
    """Return `value` built of dict, list, str, int, float, bool and None only."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value) if f.name not in _NEVER_SHOWN}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return to_plain(value._asdict())
    if isinstance(value, Enum):
        return to_plain(value.value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return to_jsonable_python(value, fallback=str)


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """Return `value` as JSON text; compact, on one line, if `indent` is None."""
    separators = None if indent else (", ", ": ")
    return json.dumps(to_plain(value), ensure_ascii=False, indent=indent, separators=separators)
