"""Exceptions: how they are recorded, and restored without pickle and without running `__init__` (L2).

Whether an exception comes back as its own type is decided once, when it is recorded, by doing it. One that does not
arrives as `StepFailed`, live and on replay alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from types import MemberDescriptorType
from typing import Any, Final, TypeAlias

from zart_core.errors import NonRetryable, StepFailed, ZartError
from zart_core.imports import Unrestorable, exception_class
from zart_core.packing import pack_all, unpack
from zart_core.records import Failure
from zart_core.traces import traceback_text

__all__ = ["Unrestorable", "failure", "record", "restore"]

Dump: TypeAlias = dict[str, Any]
Members: TypeAlias = tuple[tuple[str, Any, bool], ...]
Above: TypeAlias = tuple[BaseException, ...]

_MAX_MESSAGE: Final = 16 * 1024
_MAX_RECORD: Final = 2**20
_MAX_CAUSES: Final = 5
_MAX_GROUPS: Final = 20
_TEXT_ONLY: Final[Dump] = {
    "typed": False,
    "args": None,
    "state": {},
    "slots": {},
    "lost": [],
    "group": None,
    "notes": [],
    "cause": None,
}


def record(error: BaseException, *, kind: str | None = None) -> bytes:
    """Return the payload that `error` is recorded as.

    Args:
        error: What was raised. Only an `Exception` can come back as its own type.
        kind: What `Failure.kind` will be. None: `error`, or the name of the class if it is one of the engine's.
    """
    dump = _dump(error, ()) | {"kind": kind or _kind(error), "traceback": traceback_text(error)}
    payload = _encode(dump)
    if len(payload) > _MAX_RECORD:
        payload = _encode(dump | _TEXT_ONLY)
    return payload


def restore(payload: bytes) -> Exception:
    """Return the recorded exception, a new object each time: of its own type, or a `StepFailed`.

    Raises:
        Unrestorable: The class it had when it was recorded cannot be found any more; the run has to be blocked.
    """
    return _load(json.loads(payload))


def failure(payload: bytes) -> Failure:
    """Return what people read of a recorded exception; `exception` is None if its own type cannot be had here."""
    dump = json.loads(payload)
    try:
        exception = _load(dump) if dump["typed"] else None
    except Unrestorable:
        exception = None
    message, trace = _printable(dump["message"]), _printable(dump["traceback"])
    return Failure(dump["kind"], _qualname(dump), message, trace, exception)


def _kind(error: BaseException) -> str:
    if isinstance(error, StepFailed):
        return error.kind
    cls = type(error)
    is_engines = isinstance(error, ZartError) and cls.__module__ == ZartError.__module__
    return cls.__name__ if is_engines and cls is not NonRetryable else "error"


def _dump(error: BaseException, above: Above) -> Dump:
    cls = type(error)
    dump = {
        "type": f"{cls.__module__}:{cls.__qualname__}",
        "message": _text(error)[:_MAX_MESSAGE],
        **_TEXT_ONLY,
    }
    try:
        contents = dump | _contents(error, above)
        restored = _load({**contents, "typed": True})
        return contents | {"typed": _same(error, restored, contents)}
    except Exception:  # users' classes may do anything; then the text is all there is
        return dump


def _contents(error: BaseException, above: Above) -> Dump:
    lost: list[str] = []
    path = (*above, error)
    args = {} if isinstance(error, BaseExceptionGroup) else pack_all({"args": error.args}, lost)
    state = {name: value for name, value in vars(error).items() if name != "__notes__"}
    notes = [note[:_MAX_MESSAGE] for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    return {
        "args": args.get("args"),
        "state": pack_all(state, lost),
        "slots": pack_all(dict(_slots(error)), lost) | pack_all(dict(_builtin_fields(error)), []),
        "lost": lost,
        "group": _dump_group(error, path) if isinstance(error, BaseExceptionGroup) else None,
        "notes": notes,
        "cause": _dump_cause(error, path),
    }


def _dump_group(error: BaseExceptionGroup[Any], path: Above) -> list[Any]:
    if len(path) > _MAX_GROUPS:
        raise RecursionError("groups are nested too deep to be recorded")
    return [error.message, [_dump(member, path) for member in error.exceptions]]


def _dump_cause(error: BaseException, path: Above) -> Dump | None:
    cause = error.__cause__
    if cause is None or len(path) > _MAX_CAUSES or any(cause is known for known in path):
        return None
    return _dump(cause, path)


def _slots(error: BaseException) -> Iterator[tuple[str, Any]]:
    """Yield the filled `__slots__` of users' classes."""
    for name, slot, is_builtin in _members_of(error):
        if not is_builtin:
            try:
                yield name, slot.__get__(error)
            except AttributeError:
                continue


def _builtin_fields(error: BaseException) -> Iterator[tuple[str, Any]]:
    """Yield what C code keeps beside `args`, such as `errno` and `filename`; None would change an OSError's text."""
    for name, slot, is_builtin in _members_of(error):
        if is_builtin and (value := slot.__get__(error)) is not None:
            yield name, value


def _members_of(error: BaseException) -> Members:
    cls: Any = type(error)
    return _members(cls)


@lru_cache(maxsize=256)
def _members(cls: Any) -> Members:
    """Return the slots of a class and its bases: name, descriptor, whether it belongs to a builtin."""
    return tuple(
        (name, member, owner.__module__ == "builtins")
        for owner in cls.__mro__
        if owner is not BaseExceptionGroup
        for name, member in vars(owner).items()
        if isinstance(member, MemberDescriptorType) and not name.startswith("__")
    )


def _same(error: BaseException, restored: Exception, dump: Dump) -> bool:
    same_args = "args" in dump["lost"] or dump["group"] or repr(restored.args) == repr(error.args)
    return type(restored) is type(error) and _text(restored) == _text(error) and bool(same_args)


def _load(dump: Dump) -> Exception:
    if dump["typed"]:
        error = _rebuild(exception_class(dump["type"]), dump)
        _add_notes(error, [f"not recorded: {', '.join(dump['lost'])}"] if dump["lost"] else [])
    else:
        error = StepFailed(
            _qualname(dump),
            _printable(dump["message"]),
            _printable(dump.get("traceback", "")),
            dump.get("kind", "error"),
        )
    _add_notes(error, dump["notes"])
    if dump["cause"] is not None:
        BaseException.__setattr__(error, "__cause__", _load(dump["cause"]))
    return error


def _add_notes(error: Exception, notes: list[str]) -> None:
    """Add notes past a `__setattr__` of the user's, such as that of a frozen dataclass."""
    if notes:
        vars(error).setdefault("__notes__", []).extend(notes)


def _rebuild(cls: type[Exception], dump: Dump) -> Exception:
    error = _blank(cls, dump)
    vars(error).update({name: unpack(value) for name, value in dump["state"].items()})
    if dump["slots"]:
        slots = {name: slot for name, slot, _ in reversed(_members_of(error))}
        for name, value in dump["slots"].items():
            slots[name].__set__(error, unpack(value))
    return error


def _blank(cls: type[Exception], dump: Dump) -> Exception:
    """Return an instance with its `args`. Of users' code neither `__new__` nor `__init__` runs."""
    if dump["group"] is not None:
        message, members = dump["group"]
        make: Any = ExceptionGroup.__new__
        group: Exception = make(cls, message, [_load(member) for member in members])
        return group
    args = (dump["message"],) if dump["args"] is None else unpack(dump["args"])
    if cls.__module__ == "builtins":
        return cls(*args)
    base = next(owner for owner in cls.__mro__ if owner.__module__ == "builtins")
    error: Exception = base.__new__(cls, *args)
    BaseException.__setattr__(error, "args", args)  # OSError's own __new__ keeps some of them back
    return error


def _encode(dump: Dump) -> bytes:
    return json.dumps(dump, separators=(",", ":")).encode()


def _qualname(dump: Dump) -> str:
    return str(dump["type"]).partition(":")[2]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failed:
        return f"<str() failed: {type(failed).__name__}>"


def _printable(text: str) -> str:
    """Return `text` with halves of surrogate pairs replaced: nothing can write them."""
    return text.encode(errors="replace").decode()
