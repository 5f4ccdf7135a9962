"""`zart migrate`: bring the database's schema up to this release."""

from __future__ import annotations

from typing import Annotated

import typer

from zart_cli import output, target
from zart_cli.reporting import say
from zart_cli.verbs import verb

_HEAD = "head"
_NOTHING = "base"


def register(app: typer.Typer) -> None:
    """Add the command."""
    verb(app, panel="Serve", examples=("zart migrate", "zart migrate --check && zart worker my_workflows"))(
        migrate
    )


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 3 if the schema is behind.")
    ] = False,
    print_sql: Annotated[
        bool, typer.Option("--print-sql", help="Change nothing; print the SQL of all migrations.")
    ] = False,
    to: Annotated[
        str, typer.Option("--to", metavar="REV", help="Stop at this revision.", show_default="the newest")
    ] = _HEAD,
    app_role: Annotated[
        str | None,
        typer.Option(
            "--app-role",
            metavar="ROLE",
            help="Let this role use the tables: what workers and clients need, no more.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Go through with what removes data (--to base).")
    ] = False,
) -> None:
    """Bring the database's schema up. Safe to repeat, and safe for many at once."""
    from zart_scheduler.migrate import check_schema, grant_app_role
    from zart_scheduler.migrate import migrate as bring_up
    from zart_scheduler.migrate import print_sql as sql

    if print_sql:
        output.write(sql().rstrip() + "\n")
        return
    url = target.libpq_url(target.database_url())
    if check:
        check_schema(url)
        say("the schema is up to date")
        return
    if to == _NOTHING and not yes:
        raise typer.BadParameter(
            "removes every table of Zart with its data: add --yes if that is meant", param_hint="--to"
        )
    bring_up(url, to=to)
    if app_role is not None:
        grant_app_role(app_role, url)
    say("the schema is up to date" if to == _HEAD else f"the schema is at revision {to}")
