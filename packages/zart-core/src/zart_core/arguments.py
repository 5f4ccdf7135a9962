"""A workflow's parameters, and how the arguments of a start are stored: one JSON object by parameter name.

Only what was given is in it, never a default, so that a new optional parameter changes nothing.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from inspect import Parameter
from typing import Any, Final, NotRequired

import pydantic_core
from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from typing_extensions import TypedDict

from zart_core.canonical import canonical_json
from zart_core.codec import CONFIG, MAX_PAYLOAD, MISSING, Codec, QuietJsonSchema, check_size, explain
from zart_core.errors import PayloadInvalid
from zart_core.hints import resolve_hints

_BY_POSITION: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_ALWAYS_OPTIONAL: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """The parameters of one workflow. Made by `Parameters.of`.

    Attributes:
        owner: Name of the function.
        names: All parameter names, in order.
        required: Those without a default.
    """

    owner: str
    names: tuple[str, ...]
    required: tuple[str, ...]
    _signature: inspect.Signature = field(repr=False)
    _codecs: Mapping[str, Codec] = field(repr=False)
    _object: TypeAdapter[dict[str, Any]] = field(repr=False)

    @staticmethod
    def of(
        fn: Callable[..., Any], localns: Mapping[str, Any] | None = None, skip: Collection[str] = ()
    ) -> Parameters:
        """Return the parameters of `fn`, without those named in `skip`.

        Raises:
            ConfigurationError: An annotation cannot be resolved, or values of its type cannot be stored.
        """
        owner = getattr(fn, "__name__", repr(fn))
        whole = inspect.signature(fn)
        kept = [parameter for parameter in whole.parameters.values() if parameter.name not in skip]
        annotations = _annotations(kept, resolve_hints(fn, localns))
        codecs = {
            name: Codec.of(annotation, what=f"parameter {name!r} of {owner}")
            for name, annotation in annotations.items()
        }
        required = tuple(p.name for p in kept if p.default is p.empty and p.kind not in _ALWAYS_OPTIONAL)
        return Parameters(
            owner,
            tuple(annotations),
            required,
            whole.replace(parameters=kept),
            codecs,
            _object_adapter(annotations, required),
        )

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is given, by parameter name.

        Raises:
            TypeError: The function cannot be called so.
        """
        try:
            return self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{self.owner}() {error}") from None

    def encode(self, args: Sequence[Any], kwargs: Mapping[str, Any], limit: int = MAX_PAYLOAD) -> bytes:
        """Return the canonical JSON object of what is given, by parameter name.

        Values must be what the annotations say: a model's instance, not a dict of its fields.

        Raises:
            TypeError: The function cannot be called so.
            PayloadInvalid: A value has the wrong shape; the text names the path.
            PayloadTooLarge: It all takes more than `limit` bytes.
        """
        given = self.bind(args, kwargs)
        stored = {name: self._stored(name, value, limit) for name, value in given.items()}
        payload = canonical_json(stored)
        check_size(payload, f"input of {self.owner}", limit)
        return payload

    def decode(self, payload: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments to call the function with.

        Raises:
            PayloadInvalid: The input does not fit the parameters; the text names the path, as in `order.amount`.
        """
        try:
            given = self._object.validator.validate_json(payload, by_name=True, by_alias=True)
        except Exception as error:
            raise PayloadInvalid(f"the input of {self.owner} does not fit: {explain(error)}") from error
        return self._call(given)

    def from_input(self, value: Any = MISSING) -> bytes:
        """Return the stored form of `input` as people give it; `MISSING` means that they gave none.

        Raises:
            PayloadInvalid: It does not fit the parameters.
        """
        payload = wrap_input(self.names, value)
        self.decode(payload)
        return payload

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of `input`: of the only parameter, else of an object by parameter name."""
        if not self.names:
            return {"type": "null"}
        if len(self.names) == 1:
            return self._codecs[self.names[0]].json_schema()
        try:
            return {**self._object.json_schema(schema_generator=QuietJsonSchema), "title": self.owner}
        except PydanticInvalidForJsonSchema:
            return {"type": "object", "required": list(self.required)}

    def _stored(self, name: str, value: Any, limit: int) -> Any:
        payload = self._codecs[name].encode_given(
            value, f"argument {name!r} of {self.owner}", limit, root=name
        )
        stored = pydantic_core.from_json(payload)
        return _with_sorted_sets(value, stored) if b"[" in payload else stored

    def _call(self, given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        parameters = self._signature.parameters.values()
        extra = next((given.get(p.name, ()) for p in parameters if p.kind is p.VAR_POSITIONAL), ())
        for parameter in parameters:
            by_position = parameter.kind is parameter.POSITIONAL_ONLY or (
                extra and parameter.kind in _BY_POSITION
            )
            if by_position:
                args.append(given.get(parameter.name, parameter.default))
            elif parameter.kind is parameter.VAR_KEYWORD:
                kwargs |= given.get(parameter.name, {})
            elif parameter.kind is not parameter.VAR_POSITIONAL and parameter.name in given:
                kwargs[parameter.name] = given[parameter.name]
        return (*args, *extra), kwargs


def wrap_input(names: Sequence[str], value: Any = MISSING) -> bytes:
    """Return the stored form of `input` as people give it, knowing only the workflow's parameter names.

    Args:
        names: All parameter names of the workflow.
        value: JSON: the only parameter's value, or an object by parameter name. `MISSING` if none was given.

    Raises:
        PayloadInvalid: The workflow takes no input, or takes an object by other names.
    """
    if value is MISSING or (value is None and not names):
        return b"{}"
    if len(names) == 1:
        return canonical_json({names[0]: value})
    if not isinstance(value, dict):
        wanted = f"an object by parameter name ({', '.join(names)})" if names else "no input"
        raise PayloadInvalid(f"the workflow takes {wanted}, not {type(value).__name__}")
    if unknown := [name for name in value if name not in names]:
        raise PayloadInvalid(
            f"{unknown[0]}: the workflow has no such parameter (it has: {', '.join(names) or 'none'})"
        )
    return canonical_json(value)


def input_hash(payload: bytes) -> bytes:
    """Return 16 bytes that are equal for equal stored inputs; `1.0` and `1` are one number in JSON."""
    value = json.loads(payload, parse_float=_number)
    return blake2b(canonical_json(value), digest_size=16).digest()


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _annotations(parameters: Iterable[Parameter], hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return by name how each parameter is stored: `*items` as a list, `**options` as an object."""
    found: dict[str, Any] = {}
    for parameter in parameters:
        annotation = hints.get(parameter.name, MISSING)
        if parameter.kind in _ALWAYS_OPTIONAL:
            item: Any = Any if annotation is MISSING else annotation
            annotation = dict[str, item] if parameter.kind is parameter.VAR_KEYWORD else tuple[item, ...]
        found[parameter.name] = annotation
    return found


def _object_adapter(annotations: Mapping[str, Any], required: Collection[str]) -> TypeAdapter[dict[str, Any]]:
    typed = {name: Any if annotation is MISSING else annotation for name, annotation in annotations.items()}
    make: Any = TypedDict  # by a name of its own: type checkers want to see the fields
    shape = make(
        "Input", {name: kind if name in required else NotRequired[kind] for name, kind in typed.items()}
    )
    shape.__pydantic_config__ = ConfigDict(**CONFIG, extra="forbid")
    return TypeAdapter(shape)


def _with_sorted_sets(value: Any, stored: Any) -> Any:
    """Return the JSON form of `value` with what was a set in a fixed order: Python's differs by process."""
    if isinstance(stored, list) and isinstance(value, list | tuple | set | frozenset):
        items = [_with_sorted_sets(*pair) for pair in zip(value, stored, strict=True)]
        return sorted(items, key=canonical_json) if isinstance(value, set | frozenset) else items
    if isinstance(stored, dict) and isinstance(value, dict):
        pairs = zip(stored.items(), value.values(), strict=True)
        return {key: _with_sorted_sets(before, item) for (key, item), before in pairs}
    if isinstance(stored, dict):
        return {key: _with_sorted_sets(getattr(value, key, None), item) for key, item in stored.items()}
    return stored
