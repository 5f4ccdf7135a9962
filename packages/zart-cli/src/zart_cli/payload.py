"""`-d`: JSON from the command line, a file or stdin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer


def read_json(data: str) -> Any:
    """Return the value of `-d`: JSON text, `@file`, or `-` for stdin.

    Raises:
        typer.BadParameter: The file cannot be read, or the text is not JSON; the text names line and column.
    """
    text, where = _read(data)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        hint = (
            "; strings need double quotes"
            if where == "-d" and not text.lstrip().startswith(("{", "[", '"'))
            else ""
        )
        raise typer.BadParameter(
            f"{where} is not JSON: {error.msg} at {place}{hint}", param_hint="-d"
        ) from None
    except RecursionError:
        raise typer.BadParameter(f"{where} is nested too deeply", param_hint="-d") from None


def _read(data: str) -> tuple[str, str]:
    try:
        if data == "-":
            return sys.stdin.read(), "stdin"
        if data.startswith("@"):
            return Path(data[1:]).read_text(encoding="utf-8-sig"), data[1:]
    except OSError as error:
        raise typer.BadParameter(
            f"cannot read {error.filename or data[1:]}: {error.strerror}", param_hint="-d"
        ) from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"{data.removeprefix('@')} is not UTF-8 (byte {error.start})", param_hint="-d"
        ) from None
    return data, "-d"
