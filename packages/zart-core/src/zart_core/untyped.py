"""Values without a declared type <-> stored payloads: starts by name, events, what bodies publish, what people read."""

from __future__ import annotations

from typing import Any, Final

import pydantic_core
from pydantic import ConfigDict, TypeAdapter

from zart_core.canonical import canonical_json
from zart_core.codec import MAX_PAYLOAD, check_size
from zart_core.errors import PayloadInvalid

_ANYTHING: Final[TypeAdapter[Any]] = TypeAdapter(
    Any, config=ConfigDict(ser_json_bytes="base64", ser_json_inf_nan="constants")
)


def encode_plain(value: Any, what: str, *, limit: int = MAX_PAYLOAD, given_only: bool = False) -> bytes:
    """Return any value as canonical JSON: JSON itself, pydantic models, dataclasses and what pydantic can write.

    Args:
        value: What to store.
        what: How an error calls it.
        limit: Largest payload in bytes.
        given_only: Leave out fields of models that nobody set, as starts with the workflow at hand do.

    Raises:
        PayloadInvalid: It cannot be written.
        PayloadTooLarge: It takes more than `limit` bytes.
    """
    try:
        written = _ANYTHING.dump_json(value, by_alias=False, round_trip=True, exclude_unset=given_only)
    except (ValueError, RecursionError) as error:
        raise PayloadInvalid(f"the {what} cannot be stored as JSON: {error}") from error
    payload = canonical_json(pydantic_core.from_json(written))
    check_size(payload, what, limit)
    return payload


def plain(payload: bytes | None) -> Any:
    """Return a payload as plain JSON."""
    return None if payload is None else pydantic_core.from_json(payload)
