"""Finding an exception class again by its recorded path, without letting a payload import what it likes."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class Unrestorable(LookupError):
    """A recorded exception's class cannot be had; `path` is its `module:qualname`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"the recorded exception {self.path} cannot be restored: {self.reason}; "
            f"bring the class back under that name, or import its module in the worker"
        )


def exception_class(path: str) -> type[Exception]:
    """Return the class recorded as `module:qualname`.

    A module is imported only if its top package is already loaded or part of the standard library: importing runs
    code, and what is stored must not choose it.

    Raises:
        Unrestorable: There is no such class, it is no `Exception`, or its module may not be imported.
    """
    module, _, qualname = path.partition(":")
    if "<locals>" in qualname:
        raise Unrestorable(path, "it is defined inside a function")
    target: Any = sys.modules.get(module) or _import(module, path)
    for name in qualname.split("."):
        try:
            target = getattr(target, name)
        except Exception as error:
            raise Unrestorable(path, f"there is no {name!r} any more") from error
    if isinstance(target, type) and issubclass(target, Exception):
        return target
    raise Unrestorable(path, "it is not an exception class")


def _import(module: str, path: str) -> ModuleType:
    top = module.partition(".")[0]
    if top not in sys.modules and top not in sys.stdlib_module_names:
        raise Unrestorable(path, f"this process has imported nothing of {top!r}")
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise Unrestorable(path, f"its module fails to import: {error}") from error
