"""Check input that arrives as JSON against the JSON Schema that workers have registered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry

from zart_core import PayloadInvalid
from zart_core.spi import MISSING, canonical_json, check_size, wrap_input
from zart_scheduler.store.workflows import RegisteredWorkflow


class InputInvalid(PayloadInvalid):
    """The input of a start does not fit the workflow. `path` names the field, as in `order.items[0]`; empty: all."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(path, message)
        self.path, self.message = path, message

    def __str__(self) -> str:
        return f"{self.path or 'input'}: {self.message}"


def stored_input(workflow: RegisteredWorkflow, value: Any) -> bytes:
    """Return the stored form of `value`, which is the only parameter's, or an object by parameter name.

    Args:
        workflow: What workers have registered.
        value: JSON as Python reads it, or `MISSING` if none was given.

    Raises:
        InputInvalid: It does not fit the registered schema.
        PayloadTooLarge: It takes more than 16 MiB.
    """
    if value is MISSING and workflow.required:
        raise InputInvalid(workflow.required[0], "is required, and no input was given")
    if value is not MISSING and workflow.parameters and workflow.input_schema is not None:
        root = workflow.parameters[0] if len(workflow.parameters) == 1 else ""
        _check(value, workflow.input_schema, root)
    return _stored(workflow.parameters, value)


def unchecked_input(value: Any) -> bytes:
    """Return the stored form of the input of a workflow that nobody has registered: an object by parameter name.

    Raises:
        InputInvalid: It is something else: without the workflow there is no telling which parameter it is for.
    """
    if not isinstance(value, Mapping) and value is not MISSING and value is not None:
        raise InputInvalid(
            "",
            f"must be an object by parameter name while no worker has registered the workflow, not {_kind(value)}",
        )
    return _stored(list(value) if isinstance(value, Mapping) else (), value, whole=True)


def _stored(parameters: Sequence[str], value: Any, *, whole: bool = False) -> bytes:
    try:
        payload = (
            canonical_json(dict(value or {}))
            if whole and value is not MISSING
            else wrap_input(parameters, value)
        )
    except PayloadInvalid as error:
        raise InputInvalid("", str(error)) from None
    check_size(payload, "input")
    return payload


def _check(value: Any, schema: Mapping[str, Any], root: str) -> None:
    # An empty registry: what a stored schema refers to is never fetched from a network.
    error = best_match(Draft202012Validator(schema, registry=Registry()).iter_errors(value))
    if error is not None:
        raise InputInvalid(_path(root, error.absolute_path, error), _text(error))


def _path(root: str, parts: Iterable[str | int], error: ValidationError) -> str:
    path = root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    if error.validator == "required":  # the error is the object's; people look for the field
        wanted: Any = error.validator_value
        instance: Any = error.instance
        missing = next((name for name in wanted if name not in instance), None)
        path += f".{missing}" if missing is not None else ""
    return path.lstrip(".")


def _text(error: ValidationError) -> str:
    if error.validator == "required":
        return "is required"
    return error.message if len(error.message) <= _LONGEST else f"{error.message[:_LONGEST]}..."


_LONGEST = 300


def _kind(value: Any) -> str:
    return {list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")
