"""`zart workflows`: what workers have registered in the database."""

from __future__ import annotations

from typing import Any

from zart_cli import columns, output
from zart_cli.output import Column
from zart_cli.session import run
from zart_cli.verbs import noun, verb

group = noun("workflows", "See which workflows there are.")

_COLUMNS: tuple[Column[Any], ...] = (
    Column("WORKFLOW", lambda found: found.workflow),
    Column("VERSION", lambda found: found.version + ("" if found.current else " (older runs only)")),
    Column("PARAMETERS", lambda found: ", ".join(_marked(found))),
    Column("LAST SEEN", lambda found: columns.moment(found.last_seen_at)),
)


@verb(group, "list", examples=("zart workflows list", "zart workflows list -o json | jq '.[].input_schema'"))
def list_() -> None:
    """List the workflows that workers have registered in this database."""
    found = run(lambda client: client.workflows())
    nothing = "no worker has registered a workflow yet; zart worker MODULE  starts one"
    output.show_list(list(found), _COLUMNS, lambda workflow: str(workflow.workflow), nothing=nothing)


def _marked(found: Any) -> list[str]:
    return [name if name in found.required else f"{name}?" for name in found.parameters]
