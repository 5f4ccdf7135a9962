"""What ids, keys, names, tags and reasons may be. Pure."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from zart_core.errors import ConfigurationError, UsageError
from zart_core.identity import check_name

MAX_ID: Final = 255
"""Longest id of an execution, and longest idempotency key, in characters."""

MAX_TAGS: Final = 8192
"""Bytes that all tags of an execution may take as JSON."""

MAX_REASON: Final = 1000
"""Longest reason of a cancel, in characters."""

_CONTROL: Final = ("Cc", "Cs")


def check_id(what: str, text: object, *, tilde: bool = False) -> str:
    """Return `text` if it can be an execution's id or a key; `~` only where it is allowed.

    Raises:
        UsageError: It cannot.
    """
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_ID:
        size = f"has {len(text)}" if isinstance(text, str) else f"is {type(text).__name__}"
        raise UsageError(f"{what} must be a text of 1 to {MAX_ID} characters; this one {size}")
    if not _is_text(text):
        raise UsageError(f"{what} must not have control characters: {text!r}")
    if not tilde and "~" in text:
        raise UsageError(f"{what} must not contain `~`, which ids of child executions use: {text!r}")
    return text


def check_word(kind: str, name: object) -> str:
    """Return `name` if it can be the name of a workflow, queue or event.

    Raises:
        UsageError: It cannot.
    """
    try:
        return check_name(kind, name)
    except ConfigurationError as error:
        raise UsageError(str(error)) from None


def check_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """Return a copy of `tags`.

    Raises:
        UsageError: They are not texts by name, hold what PostgreSQL cannot, or are too long.
    """
    if tags is None:
        return {}
    if not isinstance(tags, Mapping) or not all(_is_text(item) for pair in tags.items() for item in pair):
        raise UsageError(f"tags must be a mapping of text to text without control characters, not {tags!r}")
    if (size := len(json.dumps(dict(tags)))) > MAX_TAGS:
        raise UsageError(f"the tags take {size:,} bytes, the limit is {MAX_TAGS:,}; put data into the input")
    return dict(tags)


def check_reason(reason: str | None) -> str | None:
    """Return `reason` if it can be kept.

    Raises:
        UsageError: It cannot.
    """
    if reason is None or (isinstance(reason, str) and len(reason) <= MAX_REASON and "\0" not in reason):
        return reason
    raise UsageError(f"a reason must be a text of at most {MAX_REASON:,} characters, without NUL")


def aware(what: str, moment: datetime) -> datetime:
    """Return `moment` if it names its time zone.

    Raises:
        UsageError: It does not, or is no datetime.
    """
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise UsageError(
            f"{what} must be a datetime with a time zone, such as datetime.now(UTC), not {moment!r}"
        )
    return moment


def _is_text(text: object) -> bool:
    if not isinstance(text, str):
        return False
    return text.isprintable() or not any(unicodedata.category(character) in _CONTROL for character in text)
