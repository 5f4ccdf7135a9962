"""Exact JSON for the plain values that exceptions carry.

These are scalars, lists, tuples, bytes, dicts by text, and of Zart's records `Failure` and `DivergenceDetails`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import Any, Final

from pydantic import TypeAdapter

from zart_core.records import DivergenceDetails, Failure

_SCALARS: Final = frozenset({str, float, bool, type(None)})
_MAX_BITS: Final = 10_000  # Python refuses to write longer ints in decimal
_MAX_DEPTH: Final = 100
_DIVERGENCE: Final = TypeAdapter(DivergenceDetails)


def pack(value: Any, depth: int = 0) -> Any:
    """Return JSON that `unpack` turns into a value of the same type and content.

    Raises:
        TypeError: It is, or holds, something else than a plain value, or is nested deeper than 100 levels.
    """
    kind, below = type(value), depth + 1
    if kind in _SCALARS or (kind is int and value.bit_length() <= _MAX_BITS):
        return value
    if depth < _MAX_DEPTH:
        if kind is list:
            return [pack(item, below) for item in value]
        if kind is tuple:
            return {"$tuple": [pack(item, below) for item in value]}
        if kind is bytes:
            return {"$bytes": value.hex()}
        if kind is Failure:
            return {"$failure": [value.kind, value.type, value.message, value.traceback]}
        if kind is DivergenceDetails:
            return {"$divergence": _DIVERGENCE.dump_python(value, mode="json")}
        if kind is dict and all(type(key) is str for key in value):
            packed = {key: pack(item, below) for key, item in value.items()}
            return {"$dict": packed} if any(key.startswith("$") for key in packed) else packed
    raise TypeError(f"{kind.__qualname__} is not recorded")


def unpack(value: Any) -> Any:
    """Return what was packed."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tuple" in value:
        return tuple(unpack(item) for item in value["$tuple"])
    if "$bytes" in value:
        return bytes.fromhex(value["$bytes"])
    if "$failure" in value:
        return Failure(*value["$failure"])
    if "$divergence" in value:
        return divergence_of(value["$divergence"])
    return {key: unpack(item) for key, item in value.get("$dict", value).items()}


def divergence_of(value: Any) -> DivergenceDetails:
    """Return the details that plain JSON stands for; times in UTC."""
    details = _DIVERGENCE.validate_python(value)
    recorded = details.recorded
    if recorded is None or recorded.completed_at is None:
        return details
    return replace(details, recorded=replace(recorded, completed_at=recorded.completed_at.astimezone(UTC)))


def pack_all(values: dict[str, Any], lost: list[str]) -> dict[str, Any]:
    """Return what of `values` can be packed, and add the names of the others to `lost`."""
    packed = {}
    for name, value in values.items():
        try:
            packed[name] = pack(value)
        except TypeError:
            lost.append(name)
    return packed
