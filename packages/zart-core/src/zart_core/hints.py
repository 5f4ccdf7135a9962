"""Annotations of users' functions, resolved to types."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType
from typing import Any, get_type_hints

from zart_core.errors import ConfigurationError


def resolve_hints(fn: Callable[..., Any], localns: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the annotations of `fn` by parameter name, and `return`, with `Annotated` kept.

    A name that is defined further down cannot be resolved while a module is still being imported: whoever
    decorates a function asks once at decoration and once more at first use.

    Args:
        fn: A function, method, `functools.partial` or object with `__call__`.
        localns: The local names of the frame where `fn` was defined, for types that are local to a function.

    Raises:
        ConfigurationError: An annotation cannot be resolved; the text names function and missing name.
    """
    target = _with_annotations(fn)
    try:
        return get_type_hints(target, localns=dict(localns) if localns else None, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"{_name(fn)} has an annotation that uses the name {error.name!r}, which is not defined; "
            f"import it where the function can see it at run time (not only under TYPE_CHECKING)"
        ) from error
    except Exception as error:
        raise ConfigurationError(
            f"{_name(fn)} has an annotation that cannot be evaluated: {type(error).__name__}: {error}"
        ) from error


def _name(fn: Callable[..., Any]) -> str:
    target = _with_annotations(fn)
    return f"{getattr(target, '__module__', None) or '?'}.{getattr(target, '__qualname__', repr(target))}"


def _with_annotations(fn: Callable[..., Any]) -> Any:
    while isinstance(fn, functools.partial):
        fn = fn.func
    has_own = isinstance(fn, type | BuiltinFunctionType) or hasattr(fn, "__annotations__")
    return fn if has_own else getattr(fn, "__call__", fn)  # noqa: B004 - the method itself is wanted
