"""Run plain SQL in a migration, as it stands in its file, online and with `--print-sql`."""

from __future__ import annotations

from importlib.resources import files

from alembic import context, op

VERSION_TABLE = "zart_schema_version"


def execute(sql: str) -> None:
    """Execute `sql`, which may be several statements; nothing in it is taken for a parameter."""
    if context.is_offline_mode():
        op.get_context().impl.static_output(sql.strip())
    else:
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def schema(name: str) -> str:
    """Return the text of `schema/<name>.sql`."""
    return files(__package__).joinpath(f"schema/{name}.sql").read_text(encoding="utf-8")
