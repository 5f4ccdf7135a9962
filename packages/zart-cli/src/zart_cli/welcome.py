"""What `zart dev` says first: what is served where, and how to start a run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any

from rich.console import Group
from rich.text import Text

from zart_cli.sample import sample_input
from zart_cli.terminal import printable
from zart_core import Workflow
from zart_core.errors import ZartError

_DIM = "bright_black"


def welcome(
    workflows: Iterable[Workflow[Any, Any]], *, database: str, api: str | None, name_database: str | None
) -> Group:
    """Return the greeting. `name_database` is the URL that other terminals must be told, None if they know it."""
    known = sorted({workflow.name: workflow for workflow in workflows if workflow.current}.items())
    lines = [
        _fact("workflows", ", ".join(name for name, _ in known)),
        _fact("database", database),
        _fact("API", f"{api}/docs" if api else 'not installed: pip install "zart-cli[api]"'),
        Text(),
        Text("start a run from another terminal:"),
    ]
    if name_database is not None:
        lines.append(_command(f"export ZART_DATABASE_URL={shlex.quote(name_database)}"))
    lines += [_command(start_command(workflow)) for _, workflow in known[:3]]
    return Group(Text("Zart is ready", style="bold green"), *lines, Text("Ctrl-C stops it", style=_DIM))


def start_command(workflow: Workflow[Any, Any]) -> str:
    """Return the command that starts `workflow`, with an input made up from its schema."""
    command = f"zart runs start {shlex.quote(workflow.name)}"
    try:
        schema = workflow.input_schema()
    except ZartError:
        return command
    if schema.get("type") == "null":
        return command
    return f"{command} -d {shlex.quote(json.dumps(sample_input(schema), ensure_ascii=False))}"


def _fact(name: str, value: str) -> Text:
    return Text.assemble((f"  {name:<10} ", _DIM), printable(value))


def _command(text: str) -> Text:
    return Text.assemble("  ", (printable(text), "bold"))
