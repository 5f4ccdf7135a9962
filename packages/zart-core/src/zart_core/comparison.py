"""Whether a value came back from the store as it went in, and if not, where it changed. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from types import MemberDescriptorType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel

_PLAIN: Final = (str, int, float)
_SHOWN: Final = 4
_CONTAINERS: Final = frozenset({list, tuple, dict, set, frozenset})


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two values differ; `path` is like `.items[0]`, or "" if they differ as a whole."""

    path: str
    before: Any
    after: Any


def difference(value: Any, decoded: Any) -> Difference | None:
    """Return None if `decoded` stands for `value`.

    Equality decides; NaN equals NaN, and objects without an equality of their own are compared field by field. The
    whole value must keep its type, except that an int may become a float and a subclass of str, int or float its base.
    """
    if type(value) is type(decoded):
        return _inside(value, decoded, "")
    if _is_plainer(decoded, value) and _equal(value, decoded):
        return None
    return Difference("", value, decoded)


def type_text(annotation: Any) -> str:
    """Return an annotation as a person would write it: `list[Receipt]`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in (None, type(None)):
        return "None"
    if annotation is Ellipsis:
        return "..."
    if origin in {Union, UnionType}:
        return " | ".join(type_text(arg) for arg in args)
    if origin is Annotated:
        return type_text(args[0])
    if origin is not None:
        shown = [repr(arg) if origin is Literal else type_text(arg) for arg in args]
        return f"{type_text(origin)}[{', '.join(shown)}]"
    name = (
        getattr(annotation, "__qualname__", None) or getattr(annotation, "__name__", None) or str(annotation)
    )
    return str(name).rpartition("<locals>.")[2]


def annotation_for(value: Any, depth: int = 2) -> str:
    """Return an annotation under which `value` could be stored."""
    name = type_text(type(value))
    if type(value) not in _CONTAINERS or not value or not depth:
        return name
    if type(value) in {list, set, frozenset}:
        return f"{name}[{_union(value, depth)}]"
    if type(value) is dict:
        return f"dict[{_union(value.keys(), depth)}, {_union(value.values(), depth)}]"
    if len(value) > _SHOWN:
        return f"tuple[{_union(value, depth)}, ...]"
    return f"tuple[{', '.join(annotation_for(item, depth - 1) for item in value)}]"


def _union(values: Iterable[Any], depth: int) -> str:
    kinds = sorted({annotation_for(value, depth - 1) for value in values})
    return " | ".join(kinds) if len(kinds) <= _SHOWN else "Any"


def _is_plainer(decoded: Any, value: Any) -> bool:
    kind = type(decoded)
    return kind in _PLAIN and (isinstance(value, kind) or (kind is float and type(value) is int))


def _equal(value: Any, decoded: Any) -> bool:
    try:
        return bool(value == decoded)
    except Exception:  # users' own equality
        return False


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _inside(value: Any, decoded: Any, path: str) -> Difference | None:
    if _equal(value, decoded) or (_is_nan(value) and _is_nan(decoded)):
        return None
    if type(value) is not type(decoded):
        return Difference(path, value, decoded)
    if isinstance(value, list | tuple) and len(value) == len(decoded):
        pairs = [(f"{path}[{index}]", *pair) for index, pair in enumerate(zip(value, decoded, strict=True))]
    elif isinstance(value, dict) and value.keys() == decoded.keys():
        pairs = [(f"{path}[{key!r}]", item, decoded[key]) for key, item in value.items()]
    elif _has_fields(value):
        before, after = _fields(value), _fields(decoded)
        pairs = [(f"{path}.{key}", before.get(key), after.get(key)) for key in before | after]
    else:
        return Difference(path, value, decoded)
    return next((found for at, old, new in pairs if (found := _inside(old, new, at)) is not None), None)


def _has_fields(value: Any) -> bool:
    """Return whether a value's fields are all there is to it."""
    kind: Any = type(value)
    return issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind) or kind.__eq__ is object.__eq__


def _fields(value: Any) -> dict[str, Any]:
    fields = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        for name, slot in vars(kind).items():
            if (
                isinstance(slot, MemberDescriptorType)
                and name != "__pydantic_fields_set__"
                and hasattr(value, name)
            ):
                fields[name] = getattr(value, name)
    return fields
