"""Typed value <-> stored payload, which is UTF-8 JSON.

What a body receives is what the store gives back (L2): a value is decoded once when it is encoded, and one that does
not come back equal is refused with the annotation that would keep it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, Never, NoReturn, cast

import pydantic_core
from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import TypeAliasType

from zart_core.canonical import args_hash, canonical_json
from zart_core.comparison import Difference, annotation_for, difference, type_text
from zart_core.errors import ConfigurationError, PayloadInvalid, PayloadTooLarge

__all__ = [
    "CONFIG",
    "MAX_PAYLOAD",
    "MISSING",
    "Codec",
    "QuietJsonSchema",
    "args_hash",
    "canonical_json",
    "check_size",
    "explain",
]

MAX_PAYLOAD: Final = 16 * 2**20
"""Bytes that a payload may take unless configured otherwise."""

CONFIG: Final = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
"""How bytes and NaN are written; holds outside of users' own models, which have a configuration of their own."""

_WARN_ABOVE: Final = 2**20
_SHOWN_ERRORS: Final = 3
_JSON_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

_log = logging.getLogger(__name__)


class QuietJsonSchema(GenerateJsonSchema):
    """Leaves out what JSON Schema cannot say, without a Python warning about it."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - pydantic's form


class _Missing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Stands for an annotation that is not there: only JSON values are stored then, exactly."""


class _NotJsonError(Exception):
    """A value without annotation holds something else than JSON."""

    def __init__(self, path: str, value: object) -> None:
        super().__init__(f"{path or 'it'} is {type_text(type(value))}")


@dataclass(frozen=True, slots=True, eq=False)
class Codec:
    """Stores and restores values of one annotation. Made by `Codec.of`; may be shared between threads."""

    annotation: Any
    _to_json: Callable[..., bytes] = field(repr=False)
    _from_json: Callable[..., Any] = field(repr=False)
    _adapter: TypeAdapter[Any] | None = field(repr=False)

    @staticmethod
    def of(annotation: Any, *, what: str) -> Codec:
        """Return the codec of an annotation.

        Args:
            annotation: Any type that pydantic knows, or `MISSING`.
            what: What is stored, for the error's text: "result of step 'charge'".

        Raises:
            ConfigurationError: Values of that type cannot be stored.
        """
        if annotation in (MISSING, NoReturn, Never):
            return _JSON_ONLY
        try:
            return _build(annotation)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise ConfigurationError(
                f"the {what} is annotated {type_text(annotation)}, which cannot be stored: {reason}"
            ) from _cause(error)

    def encode(
        self, value: Any, what: str, limit: int = MAX_PAYLOAD, *, root: str | None = None
    ) -> tuple[bytes, Any]:
        """Return the payload of `value`, and the value as it will come back from the store.

        Args:
            value: What to store.
            what: How an error calls it: "result of step 'charge'".
            limit: Largest payload in bytes. Above 1 MiB a warning is logged.
            root: What the paths in an error begin with; given for values whose annotation is not theirs to change.

        Raises:
            PayloadInvalid: It cannot be stored, or would not come back equal.
            PayloadTooLarge: It takes more than `limit` bytes.
        """
        problem: Exception | Difference | None
        try:
            # No warnings: what does not fit does not come back equal, and telling pydantic to raise costs 3 us.
            payload = self._to_json(value, warnings=False, by_alias=False, round_trip=True)
            if len(payload) > _WARN_ABOVE or len(payload) > limit:
                check_size(payload, what, limit)
            decoded = self._from_json(payload, by_name=True, by_alias=True)
            if type(decoded) in _JSON_SCALARS and type(value) is type(decoded) and value == decoded:
                return payload, decoded
            problem = difference(value, decoded)
        except PayloadTooLarge:
            raise
        except Exception as error:
            problem = error
        if problem is None:
            return payload, decoded
        if (second := self._with_nan(value)) is None:
            raise self._refusal(value, what, problem, root) from _cause(problem)
        check_size(second[0], what, limit)
        return second

    def encode_given(
        self, value: Any, what: str, limit: int = MAX_PAYLOAD, *, root: str | None = None
    ) -> bytes:
        """Return the payload of `value` without the fields of models that nobody set, if that comes back equal.

        Raises:
            PayloadInvalid: It cannot be stored, or would not come back equal.
            PayloadTooLarge: It takes more than `limit` bytes.
        """
        payload, _ = self.encode(value, what, limit, root=root)
        if self._adapter is None:
            return payload
        try:
            brief = self._to_json(value, warnings=False, by_alias=False, round_trip=True, exclude_unset=True)
            return brief if difference(value, self._from_json(brief, by_name=True)) is None else payload
        except Exception:
            return payload

    def decode(self, payload: bytes, what: str) -> Any:
        """Return the value that `payload` holds.

        Raises:
            PayloadInvalid: It does not have the declared shape; the text names the path.
        """
        try:
            return self._from_json(payload, by_name=True, by_alias=True)
        except Exception as error:
            raise PayloadInvalid(f"the {what} is not {self._declared}: {explain(error)}") from error

    def json_schema(self, mode: Literal["validation", "serialization"] = "validation") -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the values; `{}`, which is anything, where they have none."""
        if self._adapter is None:
            return {}
        try:
            return self._adapter.json_schema(
                mode=mode, by_alias=mode == "validation", schema_generator=QuietJsonSchema
            )
        except PydanticInvalidForJsonSchema:
            return {}

    @property
    def _declared(self) -> str:
        return "JSON" if self._adapter is None else type_text(self.annotation)

    def _with_nan(self, value: Any) -> tuple[bytes, Any] | None:
        """Try once more with NaN as it is: users' models write null for it, whatever the adapter's configuration."""
        if self._adapter is None:
            return None
        try:
            python = self._adapter.serializer.to_python(
                value, warnings=False, by_alias=False, round_trip=True
            )
            payload = pydantic_core.to_json(python, inf_nan_mode="constants")
            decoded = self._from_json(payload, by_name=True, by_alias=True)
            return (payload, decoded) if difference(value, decoded) is None else None
        except Exception:
            return None

    def _refusal(
        self, value: Any, what: str, reason: Exception | Difference, root: str | None
    ) -> PayloadInvalid:
        """Say what the value is, why that cannot be stored as declared, and what to write instead."""
        actual = annotation_for(value)
        text = _lost(reason, root) if isinstance(reason, Difference) else explain(reason, root)
        if isinstance(reason, _NotJsonError):
            declared = "JSON (str, int, float, bool, None, list, str-keyed dict), which is all that can be without one"
            return PayloadInvalid(
                f"the {what} has no annotation and is not {declared}: {text}; annotate it, such as `{actual}`"
            )
        if "invalid utf-8" in text:
            text += "; models with bytes need ConfigDict(ser_json_bytes='base64', val_json_bytes='base64')"
        elif "serialize unknown type" in text:
            text += "; give plain data, a dataclass or a pydantic model instead"
        elif root is None and actual != self._declared:
            text += f"; annotate it `{actual}`"
        return PayloadInvalid(f"the {what} is `{actual}` and cannot be stored as `{self._declared}`: {text}")


def check_size(payload: bytes, what: str, limit: int = MAX_PAYLOAD) -> None:
    """Refuse a payload of more than `limit` bytes; log a warning above 1 MiB.

    Raises:
        PayloadTooLarge: It is larger.
    """
    if len(payload) > limit:
        raise PayloadTooLarge(what, len(payload), limit)
    if len(payload) > _WARN_ABOVE:
        _log.warning(
            "the %s takes %s bytes when stored; better to store a reference", what, f"{len(payload):,}"
        )


def explain(error: Exception, root: str | None = None) -> str:
    """Return the reason of a failed conversion in one line, each error of pydantic's with its path below `root`."""
    if not isinstance(error, ValidationError):
        return str(error).partition("\n")[0]
    details = error.errors(include_url=False, include_context=False, include_input=False)
    shown = []
    for detail in details[:_SHOWN_ERRORS]:
        path = (root or "") + "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]
        )
        shown.append(f"{path.lstrip('.')}: {detail['msg']}" if path else detail["msg"])
    if len(details) > _SHOWN_ERRORS:
        shown.append(f"and {len(details) - _SHOWN_ERRORS} more")
    return "; ".join(shown)


def _cause(problem: Exception | Difference) -> Exception | None:
    """Return what tells more than the refusal's own text, which quotes pydantic: an exception of users' code."""
    quoted = (_NotJsonError, ValidationError, PydanticUserError, pydantic_core.PydanticSerializationError)
    return None if isinstance(problem, (Difference, *quoted)) else problem


def _lost(found: Difference, root: str | None) -> str:
    path = f"{root or ''}{found.path}".lstrip(".") or "it"
    return (
        f"{path} is `{annotation_for(found.before)}` and would come back as `{annotation_for(found.after)}`"
    )


def _build(annotation: Any) -> Codec:
    try:
        # Equal annotations may differ in the order of a union, hence the text in the key.
        return _build_once(annotation, repr(annotation))
    except TypeError:
        return _build_once.__wrapped__(annotation, "")  # it cannot be hashed


@lru_cache(maxsize=1024)
def _build_once(annotation: Any, _text: str) -> Codec:
    adapter = _adapter(annotation)
    return Codec(annotation, adapter.serializer.to_json, adapter.validator.validate_json, adapter)


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=CONFIG)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
    if issubclass(annotation, BaseModel):
        return TypeAdapter(annotation)  # it has a configuration of its own, and only that counts
    named = cast("Any", TypeAliasType("Value", annotation))
    return TypeAdapter(named, config=CONFIG)  # a dataclass takes the configuration of what is around it


def _to_json(value: Any, **_options: Any) -> bytes:
    _check_json(value, "")
    return pydantic_core.to_json(value, inf_nan_mode="constants")


def _check_json(value: Any, path: str) -> None:
    kind = type(value)
    if kind in _JSON_SCALARS:
        return
    if kind is list:
        for index, item in enumerate(value):
            _check_json(item, f"{path}[{index}]")
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise _NotJsonError(f"the key {key!r}", key)
            _check_json(item, f"{path}[{key!r}]")
    else:
        raise _NotJsonError(path, value)


def _from_json(payload: bytes, **_options: Any) -> Any:
    return pydantic_core.from_json(payload)


_JSON_ONLY: Final = Codec(MISSING, _to_json, _from_json, None)
