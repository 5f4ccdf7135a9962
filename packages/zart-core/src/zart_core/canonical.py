"""One text for one value, the same in every process: what inputs and arguments are compared by. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from json import JSONEncoder
from json.encoder import encode_basestring_ascii
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from zart_core.errors import PayloadInvalid

_BIG: Final = 10**4000  # Python refuses to write longer ints in decimal
_COMPACT: Final = (",", ":")
_BLANK: Final = blake2b(digest_size=16)
_SCALARS: Final = (str, int, float, type(None))
_BY_TEXT: Final = (date, time, timedelta, UUID, Decimal, PurePath)
_CONTAINERS: Final = (list, dict, set, tuple, frozenset)


def canonical_json(value: Any) -> bytes:
    """Return a JSON value as compact UTF-8 with sorted keys; tuples as lists, sets as sorted lists.

    NaN and the infinities are written as the constants that Python reads.

    Raises:
        PayloadInvalid: It holds something that JSON has no form for.
    """
    try:
        return _JSON.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadInvalid(f"the value cannot be written as JSON: {error}") from error


def args_hash(arguments: Mapping[str, Any]) -> bytes:
    """Return 16 bytes that are equal for equal arguments, in every process.

    Args:
        arguments: What was given, by parameter name. Fields of models and dataclasses that hold their default are
            left out, so that a new optional field changes nothing (L10); keys and sets are sorted; what has no
            text of its own takes part by the name of its type.
    """
    parts = []
    for name in sorted(arguments):
        value = arguments[name]
        parts.append(name)
        parts.append(_WRITERS.get(type(value), _write)(value))
    digest = _BLANK.copy()
    digest.update("\n".join(parts).encode())
    return digest.digest()


def _write_int(value: int) -> str:
    return repr(value) if -_BIG < value < _BIG else hex(value)


def _write(value: Any) -> str:
    """Return the text of any value. Text in it is escaped to ASCII, so the parts of a hash cannot run together."""
    for attempt in (
        _FAST.encode,
        _encode_simplified,
    ):  # the second knows keys that are no text, or of several types
        with suppress(Exception):
            return attempt(value)
    return _type_name(value)


def _encode_simplified(value: Any) -> str:
    return _FAST.encode(_simplify(value))


def _simplify(value: Any) -> Any:
    if isinstance(value, _SCALARS) and not isinstance(value, Enum):
        return _write_int(value) if isinstance(value, int) else value
    if isinstance(value, dict):
        return {_write(key): _simplify(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_simplify(item) for item in value]
    return _simplify(_plain(value))


def _plain(value: Any) -> Any:
    """Return something simpler for a value that JSON has no form for; in the end a text."""
    if isinstance(value, BaseModel):
        return _given_in_model(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _given_in_dataclass(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(_write(item) for item in value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return value.hex()
    return str(value) if isinstance(value, _BY_TEXT) else _type_name(value)


def _given_in_model(model: BaseModel) -> dict[str, Any]:
    fields, given = type(model).model_fields, model.model_fields_set
    found = {
        name: value
        for name, value in vars(model).items()
        if name in fields and not _is_default(fields[name], name in given, value)
    }
    return found | (model.__pydantic_extra__ or {})


def _is_default(field: FieldInfo, given: bool, value: Any) -> bool:  # noqa: FBT001 - private
    if field.default_factory is None:
        return _equal(value, field.default)
    if field.default_factory in _CONTAINERS:
        return isinstance(value, _CONTAINERS) and not value
    return not given


def _given_in_dataclass(instance: Any) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        empty = field.default_factory in _CONTAINERS and not value
        if not empty and not _equal(value, field.default):
            found[field.name] = value
    return found


def _equal(value: Any, default: Any) -> bool:
    try:
        return type(value) is type(default) and bool(value == default)
    except Exception:
        return False


def _type_name(value: Any) -> str:
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _sorted_set(value: Any) -> list[Any]:
    if isinstance(value, set | frozenset):
        return sorted(value, key=_JSON.encode)
    raise TypeError(f"{type(value).__qualname__} is no JSON type")


_JSON: Final = JSONEncoder(ensure_ascii=False, sort_keys=True, separators=_COMPACT, default=_sorted_set)
_FAST: Final = JSONEncoder(sort_keys=True, separators=_COMPACT, default=_plain)
_WRITERS: Final[dict[type, Any]] = {
    str: encode_basestring_ascii,
    int: _write_int,
    float: float.__repr__,
    bool: repr,
    type(None): repr,
}
