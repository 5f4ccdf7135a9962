"""Logs of the commands that serve: on stderr, for people (coloured on a terminal) or as one JSON object a line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
import typer

from zart_cli.target import without_passwords

LogFormat = Literal["text", "json"]

_NOISY = {
    "uvicorn.error": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "alembic": logging.WARNING,
    "asyncio": logging.WARNING,
}


def configure(*, level: int = logging.INFO) -> None:
    """Send all records of `logging` to stderr in the format of ZART_LOG_FORMAT.

    Raises:
        typer.BadParameter: ZART_LOG_FORMAT is neither text nor json.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(_format(), colors=_colours_welcome()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quieter in _NOISY.items():
        logging.getLogger(name).setLevel(quieter)
    logging.captureWarnings(capture=True)


def formatter(kind: LogFormat, *, colors: bool) -> logging.Formatter:
    """Return the formatter of one kind."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _hide_passwords,
    ]
    if kind == "json":
        shared.insert(0, structlog.stdlib.add_logger_name)  # it reads the record, which is removed below
        last: list[structlog.typing.Processor] = [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
        last = [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), renderer]
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return structlog.stdlib.ProcessorFormatter(processors=[remove, *last], foreign_pre_chain=shared)


def _format() -> LogFormat:
    chosen = os.environ.get("ZART_LOG_FORMAT", "").lower() or "text"
    if chosen == "json":
        return "json"
    if chosen == "text":
        return "text"
    raise typer.BadParameter(f"ZART_LOG_FORMAT must be text or json, not {chosen!r}")


def _colours_welcome() -> bool:
    return not os.environ.get("NO_COLOR") and sys.stderr.isatty()


def _hide_passwords(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    del logger, method
    event["event"] = without_passwords(str(event["event"]))
    return event
