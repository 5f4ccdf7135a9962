"""The global options, as they stand before or after the verb; a later one wins."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Format(StrEnum):
    """How data is written to stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    ID = "id"


class TimeStyle(StrEnum):
    """How tables write moments: `3m ago`, or as ISO 8601 in UTC."""

    RELATIVE = "relative"
    ISO = "iso"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the global options say. `connect_timeout` is in seconds; None leaves it to the URL."""

    database_url: str | None = None
    output: Format = Format.TABLE
    time: TimeStyle = TimeStyle.RELATIVE
    connect_timeout: float | None = None


_current: ContextVar[Settings] = ContextVar("settings", default=Settings())  # noqa: B039 - it is frozen


def current() -> Settings:
    """Return the settings of the command that runs."""
    return _current.get()


def begin(*, output: Format = Format.TABLE) -> None:
    """Forget the settings of an earlier command of this process."""
    _current.set(Settings(output=output))


def update(**given: Any) -> None:
    """Take over the options that were given; None means not given."""
    _current.set(
        replace(_current.get(), **{name: value for name, value in given.items() if value is not None})
    )
