"""Values without a declared type <-> stored payloads: starts by name, events, and what people read. Pure."""

from __future__ import annotations

from typing import Any

import pydantic_core

from zart_core import PayloadInvalid
from zart_core.spi import canonical_json, check_size


def encode_plain(value: Any, what: str) -> bytes:
    """Return any value as canonical JSON: JSON itself, pydantic models, dataclasses and what pydantic can write.

    Raises:
        PayloadInvalid: It cannot be written.
        PayloadTooLarge: It takes more than 16 MiB.
    """
    try:
        written = pydantic_core.to_json(
            value, inf_nan_mode="constants", bytes_mode="base64", by_alias=False, round_trip=True
        )
    except (ValueError, RecursionError) as error:
        raise PayloadInvalid(f"the {what} cannot be stored as JSON: {error}") from error
    payload = canonical_json(pydantic_core.from_json(written))
    check_size(payload, what)
    return payload


def plain(payload: bytes | None) -> Any:
    """Return a payload as plain JSON."""
    return None if payload is None else pydantic_core.from_json(payload)
