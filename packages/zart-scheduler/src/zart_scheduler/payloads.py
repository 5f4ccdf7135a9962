"""Stored payloads -> what people read. Pure."""

from __future__ import annotations

from typing import Any

import pydantic_core


def plain(payload: bytes | None) -> Any:
    """Return a payload as plain JSON."""
    return None if payload is None else pydantic_core.from_json(payload)
